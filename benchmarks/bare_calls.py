"""What the machine and grpc.aio cost without us: bare calls beside an engine at work."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc

from benchmarks.echo_server import METHOD
from opensqt.market_maker.v1 import engine_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.engine_stage import RunningEngine

_PAUSE_SECONDS: Final = 0.04
"""About what lies between two orders of a position: a call back to back finds warm caches."""


# Not frozen: calls are added as they are made. All in seconds.
@dataclass(slots=True)
class BareFigures:
    """Bare calls, one at a time and two at once, in one stretch of time."""

    calls: list[float] = field(default_factory=list)
    skews: list[float] = field(default_factory=list)
    """Between two calls made at once being handed to gRPC."""


@asynccontextmanager
async def bare_calls(address: str) -> AsyncIterator[BareFigures]:
    """Make bare calls to an echo while the block lasts."""
    figures = BareFigures()
    left: list[float] = []

    def encode(message: bytes) -> bytes:
        left.append(time.perf_counter())
        return message

    async with grpc.aio.insecure_channel(address) as channel, asyncio.TaskGroup() as group:
        echo: Any = channel.unary_unary(METHOD, encode)

        async def repeat() -> None:
            while True:
                await asyncio.sleep(_PAUSE_SECONDS)
                begun = time.perf_counter()
                await echo(b"")
                figures.calls.append(time.perf_counter() - begun)
                await asyncio.sleep(_PAUSE_SECONDS)
                left.clear()
                await asyncio.gather(echo(b""), echo(b""))
                figures.skews.append(left[1] - left[0])

        task = group.create_task(repeat())
        try:
            yield figures
        finally:
            task.cancel()


@asynccontextmanager
async def background_calls(engine: RunningEngine, per_second: int) -> AsyncIterator[None]:
    """Ask an engine for its status so often while the block lasts, whether or not it answers."""

    async def ask() -> None:
        await engine.stub.GetStatus(engine_pb2.GetStatusRequest())

    async def repeat(group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            # By the clock and not by pauses: timers of the loop have whole milliseconds.
            while due <= loop.time():
                due += 1 / per_second
                group.create_task(ask())
            await asyncio.sleep(1 / per_second)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(repeat(group))
        try:
            yield
        finally:
            task.cancel()
