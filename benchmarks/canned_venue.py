"""A venue that answers from memory: as little time in the venue as a server can have.

Speaks what a connector of `binanceusdm` needs, over bare asyncio: HTTP/1.1 kept alive, and the user
stream. `GET /connections` tells how many connections it has accepted.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import sys
from collections import Counter
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

from benchmarks.canned_rows import exchange_info, fill_event, kline, now_millis, order_reply
from benchmarks.processes import write_address
from services.common.run import run_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455: what a server adds to the client's key."""

_ANSWERS: Final[dict[str, bytes]] = {
    "/fapi/v1/listenKey": b'{"listenKey":"canned"}',
    # Nothing of the past: an account that has never traded.
    "/fapi/v1/allOrders": b"[]",
    "/fapi/v1/openOrders": b"[]",
    "/fapi/v1/userTrades": b"[]",
    "/fapi/v3/positionRisk": b"[]",
    "/sapi/v1/account/apiRestrictions": (
        b'{"ipRestrict":true,"enableReading":true,"enableWithdrawals":false,"enableFutures":true}'
    ),
}

_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA


class CannedVenue:
    """Orders, markets and time of one venue; `streams` are the open user streams.

    With `idle_seconds` a connection without a request for so long is closed, as venues do. `asked`
    counts requests by path.
    """

    def __init__(self, symbol_count: int, idle_seconds: float | None = None) -> None:
        self.idle_seconds = idle_seconds
        self.asked: Counter[str] = Counter()
        self._markets = exchange_info(symbol_count)
        self._order_ids = count(1)
        self.streams: set[asyncio.Transport] = set()
        self.connection_count = 0

    def answer(self, method: str, path: str, text: str) -> tuple[int, bytes]:
        """Return status and body for a request; `text` is its query or form."""
        self.asked[path] += 1
        if method == "POST" and path == "/fapi/v1/order":
            return 200, self._take_order(dict(parse_qsl(text)))
        if path == "/fapi/v1/exchangeInfo":
            return 200, self._markets
        if path in ("/fapi/v1/time", "/fapi/v1/ping"):
            return 200, b'{"serverTime":%d}' % now_millis()
        if path == "/fapi/v1/klines":
            return 200, kline(now_millis())
        if path == "/connections":
            return 200, b'{"count":%d}' % self.connection_count
        if path == "/fapi/v1/order":
            return 400, b'{"code":-2013,"msg":"Order does not exist."}'
        body = _ANSWERS.get(path)
        if body is not None:
            return 200, body
        return 404, json.dumps({"code": -1102, "msg": f"not canned: {method} {path}"}).encode()

    def _take_order(self, order: dict[str, str]) -> bytes:
        order_id = next(self._order_ids)
        if order["type"] == "MARKET":
            frame = _frame(_TEXT, fill_event(order, order_id))
            for stream in self.streams:
                stream.write(frame)
        return order_reply(order, order_id)


class CannedConnection(asyncio.Protocol):
    """One connection: requests one after the other, or a stream after its upgrade."""

    def __init__(self, venue: CannedVenue) -> None:
        self._venue = venue
        self._held = b""
        self._transport: asyncio.Transport | None = None
        self._is_stream = False
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection."""
        self._venue.connection_count += 1
        # The loop hands out a transport that writes; the base type says less.
        self._transport = transport  # type: ignore[assignment]  # a TCP transport always is one

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget the stream, if it was one."""
        self._set_idle(None)
        if self._transport is not None:
            self._venue.streams.discard(self._transport)

    def data_received(self, received: bytes) -> None:
        """Answer what is whole, keep the rest."""
        self._set_idle(None if self._is_stream else self._venue.idle_seconds)
        self._held += received
        while self._take_frame() if self._is_stream else self._take_request():
            pass

    def _set_idle(self, seconds: float | None) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if seconds is not None and self._transport is not None:
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(seconds, self._transport.close)

    def _take_request(self) -> bool:
        head, end, rest = self._held.partition(b"\r\n\r\n")
        if not end or self._transport is None:
            return False
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)
        }
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return False
        self._held = rest[length:]
        method, target, _ = first.split(" ", 2)
        if "sec-websocket-key" in headers:
            self._open_stream(headers["sec-websocket-key"])
            return True
        parts = urlsplit(target)
        text = parts.query or rest[:length].decode()
        status, body = self._venue.answer(method, parts.path, text)
        self._transport.write(
            b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (status, len(body), body)
        )
        return True

    def _open_stream(self, key: str) -> None:
        digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
        if self._transport is not None:
            self._transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: "
                + base64.b64encode(digest)
                + b"\r\n\r\n"
            )
            self._is_stream = True
            self._set_idle(None)
            self._venue.streams.add(self._transport)

    def _take_frame(self) -> bool:
        # Clients send short masked frames here: pings and the close.
        if len(self._held) < 6 or self._transport is None:
            return False
        length = self._held[1] & 0x7F
        if len(self._held) < 6 + length:
            return False
        mask, masked = self._held[2:6], self._held[6 : 6 + length]
        kind = self._held[0] & 0x0F
        self._held = self._held[6 + length :]
        body = bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked))
        if kind == _PING:
            self._transport.write(_frame(_PONG, body))
        elif kind == _CLOSE:
            self._transport.write(_frame(_CLOSE, body))
            self._transport.close()
        return True


def _frame(kind: int, body: bytes) -> bytes:
    if len(body) < 126:
        return bytes((0x80 | kind, len(body))) + body
    return bytes((0x80 | kind, 126)) + len(body).to_bytes(2, "big") + body


@contextlib.asynccontextmanager
async def serving(venue: CannedVenue) -> AsyncIterator[str]:
    """Serve on a free port of loopback while the block lasts; yields `host:port`."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: CannedConnection(venue), "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def serve_venue(stop: asyncio.Event, ready: Path, symbol_count: int) -> None:
    """Serve on a free port of loopback until `stop` is set; the port goes into `ready`."""
    async with serving(CannedVenue(symbol_count)) as address:
        write_address(ready, address)
        await stop.wait()


def main() -> int:
    """Run the venue until it is told to stop; return the exit code."""
    parser = argparse.ArgumentParser(description="A venue that answers from memory.")
    parser.add_argument("--ready", type=Path, required=True)
    parser.add_argument("--symbols", type=int, default=600)
    chosen = parser.parse_args()
    return run_service(lambda stop: serve_venue(stop, chosen.ready, chosen.symbols))


if __name__ == "__main__":
    sys.exit(main())
