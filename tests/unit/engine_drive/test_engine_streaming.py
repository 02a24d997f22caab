"""Fills told by the order stream while the order's call is open, against the venues' own books."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from services.engine.commands import CloseCommand
from services.engine.orders import OrderClass, OrderState
from services.engine.ports import OrderEvent
from services.engine.views import PositionStatus, PositionView
from tests.support.engine_rig import EngineRig, MemoryJournal
from tests.support.fake_venue import Fault
from tests.support.virtual_clock import VirtualClock

D = Decimal
# Three tenths at once, the rest five seconds later; only then does the call come back.
SLOW_LEAD = Fault(fill_ratio=D("0.3"), late_ratio=D("0.7"), late_after=5, answers_closed=True)


@pytest.fixture
async def rig() -> AsyncIterator[EngineRig]:
    """Give a started engine whose venues tell of fills as they happen."""
    made = EngineRig(VirtualClock(), MemoryJournal())
    made.stream_orders()
    await made.start()
    yield made
    await made.close_rig()


async def entering(rig: EngineRig) -> str:
    """Start an entry and return its id once the first hedge has been answered."""
    view = await rig.call(rig.engine.open(rig.open_command("1")))
    await rig.clock.run_until(lambda: hedged(rig, view.position_id) > 0, limit=1)
    return view.position_id


def hedged(rig: EngineRig, position_id: str) -> Decimal:
    """Return what the ledger has of hedges."""
    return rig.engine.get(position_id).hedge_executed_quantity


def hedges(view: PositionView) -> list[Decimal]:
    """Return how much each hedge filled."""
    return [o.executed_quantity for o in view.orders if o.order_class is OrderClass.HEDGE]


async def test_fills_are_hedged_while_the_leads_call_is_open(rig: EngineRig) -> None:
    """The first hedge leaves seconds before the lead is answered, the second when it is full."""
    rig.long_venue.script.append(SLOW_LEAD)
    position_id = await entering(rig)
    assert rig.clock.monotonic() < 1
    assert -rig.short_venue.filled() == D("0.299")
    view = await rig.settled(position_id)
    assert view.status is PositionStatus.OPEN
    assert hedges(view) == [D("0.299"), D("0.7")]
    assert view.unhedged_time < timedelta(seconds=0.1)
    rig.check_books()


async def test_nothing_durable_is_written_between_fill_and_hedge() -> None:
    """What the journal held durably when the lead arrived is what it holds when hedges do."""
    journal = MemoryJournal()
    rig = EngineRig(VirtualClock(), journal)
    rig.stream_orders()
    await rig.start()
    rig.long_venue.script.append(SLOW_LEAD)
    durable: list[int] = []
    for venue in rig.venues:
        venue.on_arrival = lambda _: durable.append(len(journal.durable_events()))
    await rig.open("1")
    assert len(durable) == 3
    assert len(set(durable)) == 1
    await rig.close_rig()


async def test_a_lead_whose_answer_is_lost_is_hedged_by_the_stream(rig: EngineRig) -> None:
    """The venue's own word is evidence: nobody waits for a question to be answered."""
    rig.long_venue.script.append(Fault(reply_lost=True))
    view = await rig.open("1")
    assert view.status is PositionStatus.OPEN
    assert hedges(view) == [D("0.999")]
    assert view.unhedged_time < timedelta(seconds=0.1)
    rig.check_books()


async def test_a_hedge_whose_answer_is_lost_is_known_by_the_stream(rig: EngineRig) -> None:
    """It is neither asked for nor sent again."""
    rig.short_venue.script.append(Fault(fill_ratio=D("0.5"), reply_lost=True))
    view = await rig.open("1")
    assert hedges(view) == [D("0.499"), D("0.5")]
    rig.check_books()


async def test_an_exit_overtakes_a_lead_whose_call_is_open(rig: EngineRig) -> None:
    """The hedge leg leaves at once; the lead's leg once its order is known to have ended."""
    rig.long_venue.script.append(SLOW_LEAD)
    position_id = await entering(rig)
    await rig.call(rig.engine.close(CloseCommand(rig.request_id(), position_id)))
    await rig.clock.run_until(lambda: rig.short_venue.filled() == 0, limit=1)
    view = await rig.settled(position_id)
    assert view.status is PositionStatus.CLOSED
    assert 0 <= rig.long_venue.filled() < D("0.001")
    rig.check_books()


async def test_events_join_in_any_order_and_number(rig: EngineRig) -> None:
    """Late repeats and other orders under our id change nothing."""
    told: list[OrderEvent] = []
    for venue in rig.venues:
        venue.tell = told.append
    view = await rig.open("1")
    assert told
    for event in [*told, *reversed(told)]:
        larger = replace(event.outcome, executed=D("0.9999"), net=D("0.9999"))
        rig.order_events.tell(event)
        rig.order_events.tell(OrderEvent("elsewhere", event.symbol, larger))
        rig.order_events.tell(OrderEvent(event.exchange, "ETHUSDT", larger))
        beyond = replace(event.outcome, executed=D(7), net=D(7))
        rig.order_events.tell(OrderEvent(event.exchange, event.symbol, beyond))
    assert rig.engine.get(view.position_id).orders == view.orders
    rig.check_books()


async def test_a_hedge_in_flight_past_the_budget_alarms(rig: EngineRig) -> None:
    """Its call may take longer than anybody may be naked: entries stop, the order is kept."""
    rig.short_venue.script.append(Fault(latency=6))
    view = await rig.open("1")
    assert view.status is PositionStatus.OPEN
    assert rig.recorder.alarms == ["perp"]
    assert [o.state for o in view.orders] == [OrderState.ENDED] * 2
    rig.check_books()


async def test_a_crash_between_streamed_hedges_ends_matched(rig: EngineRig) -> None:
    """No row of the hedges was durable: they are asked for one by one."""
    rig.long_venue.script.append(SLOW_LEAD)
    position_id = await entering(rig)
    await rig.kill()
    await rig.clock.pass_time(6)
    rig.new_engine()
    await rig.start()
    view = await rig.settled(position_id)
    assert view.status is PositionStatus.OPEN
    assert abs(rig.net_delta()) < D("0.001")
    rig.check_books()
