"""Public streams of the real venue, passed on: its messages down, subscriptions up, no more."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Final

import aiohttp
from aiohttp import WSMsgType, web

from services.common.logs import get_logger
from services.simulator.mirror.addresses import PERPETUAL_STREAMS, SPOT_STREAMS, Addresses

_logger = get_logger(__name__)
METHODS: Final = frozenset({"SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS"})
# Public streams are a symbol and a channel, or begin with "!"; a listen key has no "@".
STREAM: Final = re.compile(r"![A-Za-z0-9]+(@[A-Za-z0-9]+)*|[^\s@!/?&]+(@[A-Za-z0-9_+:]+)+")
HEARTBEAT_SECONDS: Final = 20.0
MOST_CONNECTIONS: Final = 64
MOST_BYTES: Final = 16 * 1024 * 1024


def may_pass(text: str) -> bool:
    """Tell whether a client's message only asks for public streams."""
    try:
        message = json.loads(text)
    except ValueError:
        return False
    if not isinstance(message, dict) or message.get("method") not in METHODS:
        return False
    if not set(message) <= {"method", "params", "id"}:
        return False
    names = message.get("params") or []
    return isinstance(names, list) and all(
        isinstance(name, str) and STREAM.fullmatch(name) for name in names
    )


class PublicStreams:
    """Joins each connection of a client with one of its own to the venue."""

    def __init__(
        self, addresses: Addresses, session: aiohttp.ClientSession, timeout_seconds: float
    ) -> None:
        self._addresses = addresses
        self._session = session
        self._timeout_seconds = timeout_seconds
        self._open = 0

    def register(self, application: web.Application) -> None:
        """Add the routes; ccxt numbers its connections behind the path."""
        for path in (*SPOT_STREAMS, *PERPETUAL_STREAMS):
            application.router.add_get(path + r"{number:(/\d+)?}", self.serve)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until either end closes."""
        if self._open >= MOST_CONNECTIONS:
            return web.Response(status=503, text="too many streams")
        self._open += 1
        try:
            # the venue first: a client must see that it is away, not a stream that stays silent
            async with await self._connect(request.path) as venue:
                client = web.WebSocketResponse(heartbeat=HEARTBEAT_SECONDS)
                await client.prepare(request)
                await _join(client, venue)
                return client
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            _logger.warning("venue_stream_away", problem=str(error))
            return web.Response(status=502, text="the venue's streams are away")
        finally:
            self._open -= 1

    async def _connect(self, path: str) -> aiohttp.ClientWebSocketResponse:
        # clients give up sooner than aiohttp: what they left would take their places for minutes
        async with asyncio.timeout(self._timeout_seconds):
            return await self._session.ws_connect(
                self._addresses.of_stream(path),
                heartbeat=HEARTBEAT_SECONDS,
                max_msg_size=MOST_BYTES,
            )


async def _join(client: web.WebSocketResponse, venue: aiohttp.ClientWebSocketResponse) -> None:
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(_down(client, venue)), loop.create_task(_up(client, venue))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await venue.close()
        await client.close()


async def _down(client: web.WebSocketResponse, venue: aiohttp.ClientWebSocketResponse) -> None:
    async for message in venue:
        if message.type is WSMsgType.TEXT:
            # a slow client holds the venue's messages back in its own socket: nothing piles up
            await client.send_str(message.data)


async def _up(client: web.WebSocketResponse, venue: aiohttp.ClientWebSocketResponse) -> None:
    async for message in client:
        if message.type is WSMsgType.TEXT and may_pass(message.data):
            await venue.send_str(message.data)
