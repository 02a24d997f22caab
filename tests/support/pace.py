"""How much slower this machine is, now, than the idle one that the tests' bounds of time are for.

A bound says what the system takes by itself. On slower or busier processors it takes longer, and so
does a fixed piece of work that is done again and again beside what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

_TURNS, _NOMINAL_SECONDS = 300_000, 0.03
"""The work, and what it takes on an idle processor of the machine that the bounds were set on."""
_PAUSE_SECONDS = 0.4
MOST = 8.0
"""A system that keeps the processors busy itself would else stretch the bound it is held to."""


# Mutable: it collects while something else is measured.
@dataclass(slots=True)
class Pace:
    """What the piece of work has taken so far, in seconds."""

    taken: list[float] = field(default_factory=list)

    @property
    def factor(self) -> float:
        """By what to multiply a bound of time: 1 on an idle machine, never less; at most `MOST`."""
        return min(MOST, max(1.0, statistics.fmean(self.taken or [0.0]) / _NOMINAL_SECONDS))

    def measure(self) -> None:
        """Do the piece of work once."""
        began, total = time.perf_counter(), 0
        for turn in range(_TURNS):
            total += turn * turn & 255
        self.taken.append(time.perf_counter() - began)


@contextlib.asynccontextmanager
async def measured_pace() -> AsyncIterator[Pace]:
    """Measure the pace beside what is in the block; there is a first figure at once."""
    pace = Pace()
    pace.measure()

    async def go_on() -> None:
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            pace.measure()

    task = asyncio.create_task(go_on())
    try:
        yield pace
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
