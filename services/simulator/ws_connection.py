"""One WebSocket of the simulator: a bounded outbox, and a way to break it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from aiohttp import web

from services.simulator.dialects.market_streams import Subscription


class Connection:
    """One WebSocket: a bounded outbox, its subscriptions, and a way to break it."""

    def __init__(self, request: web.Request, outbox_size: int) -> None:
        self.request = request
        # pings are answered past the outbox: a full one must not look like a dead venue
        self.socket = web.WebSocketResponse(autoping=True)
        self.subscriptions: dict[str, Subscription] = {}
        self._outbox: asyncio.Queue[str] = asyncio.Queue(outbox_size)

    def send(self, message: Any) -> None:
        """Queue a message; a reader that is too slow is cut, as by the venue."""
        self.send_text(json.dumps(message, separators=(",", ":")))

    def send_text(self, text: str) -> None:
        """Queue a message that is no JSON."""
        try:
            self._outbox.put_nowait(text)
        except asyncio.QueueFull:
            self.cut()

    def cut(self) -> None:
        """Break the connection without a closing handshake."""
        if self.request.transport is not None:
            self.request.transport.abort()

    async def write(self) -> None:
        """Send the outbox until the connection ends."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self.socket.send_str(await self._outbox.get())
