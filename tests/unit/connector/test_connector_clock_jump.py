"""A wall clock that jumps under a connector: requests are stamped rightly again in a moment."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, cast

import pytest

from services.common.clock import Clock
from services.connector.venue_upkeep import VenueUpkeep
from tests.support.hand_venue import venue
from tests.support.stepping_clock import NOW, SteppingClock

AHEAD = timedelta(seconds=3)
LONG = timedelta(seconds=2)


class VenueClock:
    """A venue that is always the same three seconds ahead of true time; counts its answers."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.answers = 0

    async def fetch_time(self) -> int:
        """Return its time, which no jump of ours changes."""
        self.answers += 1
        return round((NOW + AHEAD).timestamp() * 1000)


class SlowFirst(VenueClock):
    """Its first answer comes long after it was stamped."""

    clock: SteppingClock

    async def fetch_time(self) -> int:
        """Return its time."""
        stamp = await super().fetch_time()
        if self.answers == 1:
            self.clock.step(LONG)
        return stamp


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(minutes=-1)])
async def test_a_jump_is_measured_at_once(jump: timedelta) -> None:
    """Once, and not again while nothing jumps."""
    clock, giver = SteppingClock(), VenueClock()
    held = venue(trading=giver, exchange=giver, clock=cast("Clock", clock))
    upkeep = VenueUpkeep(held, cast("Any", None), reload_seconds=900, clock_seconds=60)
    await upkeep.measure_clock()
    watching = asyncio.create_task(upkeep.watch_clock())
    await _turns()
    assert giver.answers == 1
    clock.step(jump)
    await _turns()
    watching.cancel()
    assert giver.answers == 2
    assert held.clock_skew == AHEAD - jump
    assert giver.options["timeDifference"] == -round((AHEAD - jump).total_seconds() * 1000)


async def test_a_first_answer_that_took_long_is_measured_again_soon() -> None:
    """Read across a pause it may be off by half of it: the next replaces it, a minute early."""
    clock, giver = SteppingClock(), SlowFirst()
    giver.clock = clock
    held = venue(trading=giver, exchange=giver, clock=cast("Clock", clock))
    upkeep = VenueUpkeep(held, cast("Any", None), reload_seconds=900, clock_seconds=60)
    await upkeep.measure_clock()
    assert held.clock_skew != AHEAD - LONG
    keeping = asyncio.create_task(upkeep.keep_clock())
    await _turns()
    keeping.cancel()
    assert giver.answers > 1
    assert held.clock_skew == AHEAD - LONG


async def _turns() -> None:
    for _ in range(50):
        await asyncio.sleep(0)
