"""Collecting garbage between orders."""

from __future__ import annotations

import asyncio
import gc

import pytest

from services.common.garbage_keeper import (
    EVERYTHING,
    YOUNG,
    GarbageKeeper,
    GarbagePace,
    choose_generation,
)
from tests.support.virtual_clock import VirtualClock

PACE = GarbagePace(look_seconds=1, most_young=1_000, full_seconds=60, most_full_seconds=600)


@pytest.mark.parametrize(
    ("idle", "young", "age", "expected"),
    [
        (True, 0, 0.0, YOUNG),
        (True, 0, 60.0, EVERYTHING),
        (False, 0, 60.0, None),
        (False, 999, 599.0, None),
        (False, 1_000, 599.0, YOUNG),
        (False, 0, 600.0, EVERYTHING),
    ],
)
def test_what_is_collected_when(
    idle: bool,
    young: int,
    age: float,
    expected: int | None,
) -> None:
    """Orders under way put a collection off, but not for ever and not at any price."""
    chosen = choose_generation(PACE, is_idle=idle, young_count=young, full_age_seconds=age)
    assert chosen == expected


async def test_keeper_takes_the_collector_over_and_gives_it_back() -> None:
    """While it runs nothing is collected of itself; afterwards all is as before."""
    clock = VirtualClock()
    busy = True
    keeper = GarbageKeeper(lambda: not busy, clock, PACE)
    hooks = len(gc.callbacks)
    task = asyncio.get_running_loop().create_task(keeper.run())
    try:
        await clock.run_until(lambda: clock.monotonic() > 5)
        assert not gc.isenabled()
        assert keeper.longest_seconds == 0
        busy = False
        await clock.run_until(lambda: keeper.longest_seconds > 0)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    assert len(gc.callbacks) == hooks
