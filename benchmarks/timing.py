"""Rounds of calls and the figures drawn from them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Call = Callable[[], Awaitable[object]]


# Not frozen: rounds are added as they are run.
@dataclass(slots=True)
class Sample:
    """Times of one thing over all rounds, in seconds, and how long the rounds took."""

    times: list[float] = field(default_factory=list)
    round_seconds: list[float] = field(default_factory=list)
    round_medians: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Return the time that half of the calls stayed under."""
        return quantile(self.times, 0.5)

    @property
    def p99(self) -> float:
        """Return the time that ninety-nine of a hundred calls stayed under."""
        return quantile(self.times, 0.99)

    @property
    def rate(self) -> float:
        """Return calls per second."""
        return len(self.times) / sum(self.round_seconds)


def quantile(values: list[float], share: float) -> float:
    """Return the value that `share` of the values stay under."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def run_round(sample: Sample, call: Call, count: int, at_once: int) -> None:
    """Make `count` calls, `at_once` under way at any time, and add their times to `sample`."""
    left = count

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            begun = time.perf_counter()
            await call()
            sample.times.append(time.perf_counter() - begun)

    begun, before = time.perf_counter(), len(sample.times)
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
    sample.round_seconds.append(time.perf_counter() - begun)
    sample.round_medians.append(quantile(sample.times[before:], 0.5))
