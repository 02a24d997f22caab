"""A clock the test moves: time jumps to the next sleeper once nothing else can run."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
_MOST_THREADS = 64


class VirtualClock:
    """Implements `services.common.clock.Clock`; `run_until` is what makes time pass."""

    def __init__(self, busy: Callable[[], bool] = lambda: False) -> None:
        self._now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0
        self._busy = busy

    def now(self) -> datetime:
        """Return the virtual instant."""
        return START + timedelta(seconds=self._now)

    def monotonic(self) -> float:
        """Return virtual seconds since the start."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait in virtual time."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._now + seconds, self._count, future))
        await future

    async def run_until(self, holds: Callable[[], bool], limit: float = 600.0) -> None:
        """Let virtual time pass until the condition holds.

        Raises AssertionError after `limit` virtual seconds, or when nothing is left to wait for.
        """
        end = self._now + limit
        while True:
            await self._settle()
            if holds():
                return
            while self._sleepers and self._sleepers[0][2].done():
                heapq.heappop(self._sleepers)
            if not self._sleepers or self._sleepers[0][0] > end:
                raise AssertionError(f"condition not reached by {self._now} s")
            self._now, _, future = heapq.heappop(self._sleepers)
            future.set_result(None)

    async def pass_time(self, seconds: float) -> None:
        """Let this much virtual time pass."""
        waiting = asyncio.ensure_future(self.sleep(seconds))  # noqa: TID251 - awaited below
        await self.run_until(waiting.done, limit=seconds + 1)

    async def _settle(self) -> None:
        """Run the loop until nothing is ready and no thread owes an answer."""
        loop = asyncio.get_running_loop()
        ready = loop._ready  # type: ignore[attr-defined]  # asyncio's queue
        if loop._default_executor is None:  # type: ignore[attr-defined]  # set lazily by asyncio
            # Where work waits for a thread, Python 3.11 counts more threads as idle than there are.
            loop.set_default_executor(ThreadPoolExecutor(_MOST_THREADS))
        while True:
            await asyncio.sleep(0)
            # Asked first: what ends after this has its answer among what is ready.
            is_owed = self._busy() or _is_thread_at_work(loop)
            if ready:
                continue
            if not is_owed:
                return
            await asyncio.sleep(0.0002)


def _is_thread_at_work(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether something given to the loop's own threads has not ended; time waits for it."""
    executor = loop._default_executor  # type: ignore[attr-defined]  # where to_thread gives work
    # A thread counts as idle again only after its result was handed to the loop.
    return executor is not None and len(executor._threads) > executor._idle_semaphore._value
