"""Streams of a venue that takes connections and says nothing."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.simulator.mirror.addresses import Addresses
from services.simulator.mirror.streams import PublicStreams


async def test_a_venue_that_does_not_answer_is_told_as_away() -> None:
    """Soon, not after the minutes that a connection may take by default."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    host, port = silent.sockets[0].getsockname()[:2]
    application = web.Application()
    async with silent, aiohttp.ClientSession() as session:
        streams = PublicStreams(Addresses.of(f"http://{host}:{port}"), session, 0.2)
        streams.register(application)
        async with TestServer(application) as server, asyncio.timeout(5):
            with pytest.raises(aiohttp.WSServerHandshakeError) as away:
                await session.ws_connect(server.make_url("/market/ws"))
    assert away.value.status == 502
