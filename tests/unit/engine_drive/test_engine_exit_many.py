"""Exits and parts of a hundred positions: one departure, bounded at each venue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from services.engine.commands import CloseAllCommand, ReduceAllCommand
from services.engine.policy import EngineLimits, EnginePolicy
from services.engine.views import PositionStatus
from tests.support.engine_rig import EngineRig, MemoryJournal
from tests.support.fake_venue import FakeVenue, Fault
from tests.support.virtual_clock import VirtualClock

D = Decimal
COUNT = 100
HOUR = timedelta(hours=1)


def symbols(count: int) -> tuple[str, ...]:
    """Return so many symbols."""
    return tuple(f"C{index}USDT" for index in range(count))


async def open_many(policy: EnginePolicy | None = None, count: int = COUNT) -> EngineRig:
    """Return a rig with so many positions open, one per symbol."""
    limits = EngineLimits(max_open_positions=count)
    # Bounds of calls are real seconds, in which nothing passes here but the machine's own work.
    patient = replace(policy or EnginePolicy(), call_timeout=HOUR, place_timeout=HOUR)
    patient = replace(patient, touch_timeout=HOUR)
    rig = EngineRig(VirtualClock(), MemoryJournal(), policy=patient, limits=limits)
    await rig.start()
    commands = [
        rig.engine.open(
            rig.open_command(
                long_leg=replace(rig.long_venue.instrument.ref, symbol=symbol),
                short_leg=replace(rig.short_venue.instrument.ref, symbol=symbol),
            )
        )
        for symbol in symbols(count)
    ]
    opening = asyncio.gather(*commands)
    await rig.clock.run_until(opening.done)
    statuses = rig.recorder.statuses
    await rig.clock.run_until(lambda: list(statuses.values()) == [PositionStatus.OPEN] * count)
    return rig


def all_closed(rig: EngineRig) -> bool:
    """Tell whether every position is closed, as watchers were told."""
    return set(rig.recorder.statuses.values()) == {PositionStatus.CLOSED}


async def test_a_hundred_positions_leave_in_one_departure() -> None:
    """Two hundred orders leave together and close-all takes as long as one exit does."""
    rig = await open_many()
    asked = rig.clock.monotonic()
    await rig.call(rig.engine.close_all(CloseAllCommand("all")))
    await rig.clock.run_until(lambda: all_closed(rig))
    # A read of the price of a millisecond, an order of ten, and the rests that are too small.
    assert rig.clock.monotonic() - asked < 0.02
    assert rig.recorder.skews == [0.0]
    assert {view.dispatch_skew for view in rig.engine.positions()} == {timedelta(0)}
    assert [len(venue.arrivals) for venue in rig.venues] == [2 * COUNT] * 2
    rig.check_books()
    await rig.close_rig()


def most_at_once(venue: FakeVenue, clock: VirtualClock) -> Callable[[], int]:
    """Count the orders at one venue that are under way in the same instant."""
    arrivals: list[float] = []
    venue.on_arrival = lambda _: arrivals.append(clock.monotonic())
    return lambda: max(arrivals.count(at) for at in arrivals)


async def test_exits_are_bounded_at_each_venue_and_a_slow_one_holds_up_no_other() -> None:
    """With ten at once, a hundred exits take ten turns at a venue, whatever the other one does."""
    rig = await open_many(EnginePolicy(exits_at_once=10))
    rig.short_venue.choose = lambda _: Fault(latency=1.0)
    most = most_at_once(rig.long_venue, rig.clock), most_at_once(rig.short_venue, rig.clock)
    asked = rig.clock.monotonic()
    await rig.call(rig.engine.close_all(CloseAllCommand("all")))
    await rig.clock.run_until(lambda: rig.long_venue.filled() < D("0.1"))
    assert rig.clock.monotonic() - asked < 0.2
    await rig.clock.run_until(lambda: all_closed(rig))
    assert rig.clock.monotonic() - asked == pytest.approx(10, abs=0.1)
    assert [count() for count in most] == [10, 10]
    assert rig.recorder.skews[-1] == pytest.approx(9, abs=0.1)
    rig.check_books()
    await rig.close_rig()


async def test_a_share_of_a_hundred_positions_leaves_together() -> None:
    """Halving many is one departure, and each position is as well matched as before."""
    rig = await open_many()
    rig.recorder.skews.clear()
    command = ReduceAllCommand("half", D("0.5"), "MARGIN")
    views = await rig.call(rig.engine.reduce_all(command))
    assert len(views) == COUNT
    for view in views:
        reduced = await rig.settled(view.position_id)
        assert (reduced.status, reduced.state_reason) == (PositionStatus.OPEN, "REDUCE_ALL MARGIN")
        assert abs(reduced.residual_quantity) < D("0.001")
        assert reduced.short_leg.quantity == D("-0.500")
    assert len(rig.recorder.skews) == 1
    repeated = await rig.call(rig.engine.reduce_all(command))
    assert {view.short_leg.quantity for view in repeated} == {D("-0.500")}
    rig.check_books()
    await rig.close_rig()
