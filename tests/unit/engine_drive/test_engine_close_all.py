"""Close-all: the first exit orders of every position at rest leave in one dispatch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from services.engine.commands import CloseAllCommand, CloseCommand
from services.engine.executor import Dispatch, ParallelExecutor
from services.engine.instruments import Book
from services.engine.orders import OrderClass, OrderPlan, OrderState
from services.engine.policy import EngineLimits, EnginePolicy
from services.engine.views import PositionStatus
from tests.support.engine_rig import EngineRig, MemoryJournal
from tests.support.fake_venue import FakeVenue, Fault
from tests.support.virtual_clock import VirtualClock

COUNT = 10
SYMBOLS = tuple(f"C{index}USDT" for index in range(COUNT))


async def open_all(rig: EngineRig) -> dict[str, str]:
    """Open one position per symbol and return their ids by symbol."""
    await rig.start()
    ids: dict[str, str] = {}
    for symbol in SYMBOLS:
        legs = {
            "long_leg": replace(rig.long_venue.instrument.ref, symbol=symbol),
            "short_leg": replace(rig.short_venue.instrument.ref, symbol=symbol),
        }
        ids[symbol] = (await rig.open("1", **legs)).position_id
    return ids


def make_rig(
    policy: EnginePolicy | None = None, busy: Callable[[], bool] | None = None
) -> EngineRig:
    """Return a rig on which all positions fit."""
    clock = VirtualClock(busy) if busy else VirtualClock()
    limits = EngineLimits(max_open_positions=COUNT)
    return EngineRig(clock, MemoryJournal(), policy=policy, limits=limits)


@pytest.fixture
def dispatches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect how many orders each dispatch had."""
    sizes: list[int] = []
    inner = ParallelExecutor.dispatch

    def counted(self: ParallelExecutor, plans: Sequence[OrderPlan]) -> Dispatch:
        sizes.append(len(plans))
        return inner(self, plans)

    monkeypatch.setattr(ParallelExecutor, "dispatch", counted)
    return sizes


def exit_states(rig: EngineRig) -> list[OrderState]:
    """Return what the engine knows of all exit orders."""
    orders = [order for view in rig.engine.positions() for order in view.orders]
    return [order.state for order in orders if order.order_class is OrderClass.EXIT]


async def test_all_first_exit_orders_are_under_way_before_any_answer(dispatches: list[int]) -> None:
    """Twenty orders of ten positions arrive from one dispatch while none is answered."""
    rig = make_rig()
    ids = await open_all(rig)
    dispatches.clear()
    seen: list[tuple[float, list[OrderState]]] = []
    for venue in rig.venues:
        venue.on_arrival = lambda _: seen.append((rig.clock.monotonic(), exit_states(rig)))
    views = await rig.call(rig.engine.close_all(CloseAllCommand("all")))
    assert {view.position_id for view in views} == set(ids.values())
    for key in ids.values():
        view = await rig.settled(key)
        assert view.status is PositionStatus.CLOSED
        assert view.dispatch_skew == timedelta(0)
    assert dispatches == [2 * COUNT]
    assert len(seen) == 2 * COUNT
    assert {at for at, _ in seen} == {seen[0][0]}
    assert seen[-1][1] == [OrderState.PENDING] * 2 * COUNT
    assert len(rig.recorder.skews) == 1
    rig.check_books()
    await rig.close_rig()


async def test_one_failing_exit_holds_up_no_other(dispatches: list[int]) -> None:
    """A leg that is refused and one that is lost are worked on alone; eight close at once."""
    rig = make_rig()
    ids = await open_all(rig)
    dispatches.clear()
    faults = {SYMBOLS[3]: Fault(reject=True), SYMBOLS[6]: Fault(lost=True)}

    def choose(plan: OrderPlan) -> Fault:
        return faults.pop(plan.instrument.symbol, Fault())

    rig.short_venue.choose = choose
    await rig.call(rig.engine.close_all(CloseAllCommand("all")))
    await rig.clock.pass_time(0.05)
    late = {ids[SYMBOLS[3]], ids[SYMBOLS[6]]}
    statuses = {v.position_id: v.status for v in rig.engine.positions()}
    assert {key for key, status in statuses.items() if not status.is_final} == late
    assert rig.long_venue.filled(symbol=SYMBOLS[3]) < Decimal("0.001")
    for key in ids.values():
        assert (await rig.settled(key)).status is PositionStatus.CLOSED
    assert dispatches == [2 * COUNT, 1, 1]
    rig.check_books()
    await rig.close_rig()


async def test_a_price_that_cannot_be_read_holds_up_the_others_only_so_long(
    monkeypatch: pytest.MonkeyPatch, dispatches: list[int]
) -> None:
    """A venue that says nothing of one book costs all of them the bound of that reading."""
    # Real time: long enough for the nine others to be read on a busy machine.
    policy = EnginePolicy(touch_timeout=timedelta(milliseconds=400))
    hanging: list[str] = []
    rig = make_rig(policy, lambda: bool(hanging))
    ids = await open_all(rig)
    inner = FakeVenue.book

    async def book(self: FakeVenue, symbol: str, depth: int) -> Book:
        if self is rig.short_venue or symbol != SYMBOLS[0]:
            return await inner(self, symbol, depth)
        hanging.append(symbol)
        try:
            await asyncio.Event().wait()
        finally:
            hanging.clear()
        raise AssertionError("never set")

    monkeypatch.setattr(FakeVenue, "book", book)
    dispatches.clear()
    await rig.call(rig.engine.close_all(CloseAllCommand("all")))
    for key in ids.values():
        assert (await rig.settled(key)).status is PositionStatus.CLOSED
    assert dispatches == [2 * COUNT]
    rig.check_books()
    await rig.close_rig()


async def test_a_position_that_moves_is_left_to_its_own_drive(dispatches: list[int]) -> None:
    """Close-all while one position is being entered and one is closing already ends all."""
    rig = make_rig()
    ids = await open_all(rig)
    rig.short_venue.choose = lambda plan: Fault(
        arrives_after=0.5 if plan.instrument.symbol == SYMBOLS[0] else 0.0
    )
    await rig.call(rig.engine.close(CloseCommand("one", ids[SYMBOLS[0]])))
    await rig.clock.pass_time(0.02)
    dispatches.clear()
    await rig.call(rig.engine.close_all(CloseAllCommand("all")))
    for key in ids.values():
        assert (await rig.settled(key)).status is PositionStatus.CLOSED
    assert dispatches[0] == 2 * (COUNT - 1)
    rig.check_books()
    await rig.close_rig()


async def test_a_journal_that_fails_at_the_departure_delays_it(dispatches: list[int]) -> None:
    """Without a durable intent no order leaves; every drive then goes on alone."""
    journal = MemoryJournal()
    rig = make_rig()
    rig.journal = journal
    rig.new_engine()
    ids = await open_all(rig)
    dispatches.clear()
    await rig.call(rig.engine.close_all(CloseAllCommand("all")))
    journal.fails = True
    await rig.clock.pass_time(2)
    assert dispatches == []
    journal.fails = False
    for key in ids.values():
        assert (await rig.settled(key)).status is PositionStatus.CLOSED
    rig.check_books()
    await rig.close_rig()
