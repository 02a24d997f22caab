"""A lead that rests and is quoted anew, against the venues' own books."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from services.engine.commands import CloseCommand, HaltCommand
from services.engine.orders import OrderClass
from services.engine.policy import EnginePolicy
from services.engine.views import PositionStatus, PositionView
from tests.support.engine_rig import EngineRig, MemoryJournal
from tests.support.fake_venue import Fault
from tests.support.virtual_clock import VirtualClock

D = Decimal


@pytest.fixture
async def rig() -> AsyncIterator[EngineRig]:
    """Give a started engine that enters passively, with order streams."""
    made = EngineRig(VirtualClock(), MemoryJournal(), policy=EnginePolicy(passive_entry=True))
    made.stream_orders()
    await made.start()
    yield made
    await made.close_rig()


async def quoting(rig: EngineRig) -> str:
    """Start an entry and return its id once its lead rests and both books were looked at."""
    view = await rig.call(rig.engine.open(rig.open_command("1")))
    await rig.clock.run_until(lambda: bool(rig.long_venue.resting), limit=1)
    await rig.clock.pass_time(0.1)
    return view.position_id


async def requoted(rig: EngineRig, count: int) -> None:
    """Wait until this many quotes have arrived and the last one rests."""
    venue = rig.long_venue
    await rig.clock.run_until(
        lambda: len(venue.arrivals) == count and bool(venue.resting), limit=30
    )
    await rig.clock.pass_time(0.1)


def quotes(view: PositionView) -> list[tuple[Decimal | None, Decimal]]:
    """Return price and fill of each quote."""
    return [
        (o.worst_price, o.executed_quantity)
        for o in view.orders
        if o.order_class is OrderClass.ENTRY
    ]


async def test_each_fill_of_the_resting_lead_is_hedged(rig: EngineRig) -> None:
    """The lead rests at the best bid and its fills are hedged as they come."""
    position_id = await quoting(rig)
    assert rig.short_venue.arrivals == []
    rig.long_venue.fill_resting(D("0.3"))
    await rig.clock.run_until(lambda: -rig.short_venue.filled() == D("0.299"), limit=0.1)
    await rig.clock.pass_time(3)
    rig.long_venue.fill_resting(D("0.7"))
    view = await rig.settled(position_id)
    assert view.status is PositionStatus.OPEN
    assert quotes(view) == [(D(100), D(1))]
    assert abs(rig.net_delta()) < D("0.001")
    rig.check_books()


async def test_without_a_stream_fills_are_found_by_looking(rig: EngineRig) -> None:
    """A stream that is down costs an interval, not a naked leg."""
    rig.long_venue.tell = lambda _: None
    position_id = await quoting(rig)
    rig.long_venue.fill_resting(D(1))
    await rig.clock.run_until(lambda: -rig.short_venue.filled() == D("0.999"), limit=1.5)
    assert (await rig.settled(position_id)).status is PositionStatus.OPEN
    rig.check_books()


async def test_the_quote_follows_the_best_price_at_a_bounded_rate(rig: EngineRig) -> None:
    """A moving price is followed once an interval; two leads never live at the same time."""
    position_id = await quoting(rig)
    for step in range(1, 101):
        rig.long_venue.price = D(100) + D(step % 7) / 100
        await rig.clock.pass_time(0.1)
    assert 5 <= len(rig.long_venue.arrivals) <= 11
    await rig.clock.pass_time(3)
    assert rig.long_venue.resting[0].price == rig.long_venue.price
    rig.long_venue.fill_resting(D(1))
    view = await rig.settled(position_id)
    assert view.lead_executed_quantity == 1
    rig.check_books()


@pytest.mark.parametrize("lost", [False, True])
async def test_a_fill_that_crosses_its_cancel_counts(rig: EngineRig, *, lost: bool) -> None:
    """It is hedged, and the next quote asks for that much less; so it is with a lost answer."""
    position_id = await quoting(rig)
    rig.long_venue.fills_in_cancel = D("0.2")
    rig.long_venue.cancel_reply_lost = lost
    if lost:
        rig.long_venue.tell = lambda _: None
    rig.long_venue.price = D("100.05")
    await requoted(rig, 2)
    assert -rig.short_venue.filled() == D("0.199")
    assert rig.long_venue.resting[0].plan.quantity == D("0.8")
    rig.long_venue.fill_resting(D("0.8"))
    view = await rig.settled(position_id)
    assert quotes(view) == [(D(100), D("0.2")), (D("100.05"), D("0.8"))]
    assert abs(rig.net_delta()) < D("0.001")
    rig.check_books()


async def test_quoting_ends_with_what_has_filled(rig: EngineRig) -> None:
    """After its time the lead is taken back; what is on is matched, or nothing is."""
    first = await quoting(rig)
    view = await rig.settled(first)
    assert (view.status, view.state_reason) == (PositionStatus.FLAT, "LEAD_NOT_FILLED")
    second = await quoting(rig)
    rig.long_venue.fill_resting(D("0.4"))
    view = await rig.settled(second)
    assert view.status is PositionStatus.OPEN
    assert view.hedge_executed_quantity == D("0.399")
    assert rig.long_venue.resting == ()
    rig.check_books()


async def test_a_quote_whose_hedge_became_too_dear_is_taken_back(rig: EngineRig) -> None:
    """Its fill would only be handed back; it returns with the price."""
    position_id = await quoting(rig)
    rig.short_venue.price = D(99)
    await rig.clock.run_until(lambda: not rig.long_venue.resting, limit=2)
    await rig.clock.pass_time(5)
    assert len(rig.long_venue.arrivals) == 1
    rig.short_venue.price = D(100)
    await requoted(rig, 2)
    rig.long_venue.fill_resting(D(1))
    assert (await rig.settled(position_id)).status is PositionStatus.OPEN
    rig.check_books()


async def test_a_hedge_in_doubt_takes_the_lead_back(rig: EngineRig) -> None:
    """What rests would go on filling while nobody knows what is hedged."""
    position_id = await quoting(rig)
    rig.short_venue.script.append(Fault(lost=True))
    rig.long_venue.fill_resting(D("0.5"))
    await rig.clock.run_until(lambda: not rig.long_venue.resting, limit=0.5)
    view = await rig.settled(position_id)
    assert view.status in {PositionStatus.OPEN, PositionStatus.FLAT}
    assert abs(rig.net_delta()) < D("0.001")
    rig.check_books()


async def test_an_exit_takes_the_resting_lead_back(rig: EngineRig) -> None:
    """Both legs close; what filled as the lead was taken back is sold again."""
    position_id = await quoting(rig)
    rig.long_venue.fill_resting(D("0.5"))
    await rig.clock.pass_time(0.1)
    rig.long_venue.fills_in_cancel = D("0.1")
    await rig.call(rig.engine.close(CloseCommand(rig.request_id(), position_id)))
    view = await rig.settled(position_id, limit=5)
    assert view.status is PositionStatus.CLOSED
    assert rig.short_venue.filled() == 0
    assert 0 <= rig.long_venue.filled() < D("0.001")
    rig.check_books()


async def test_a_restart_takes_the_resting_lead_back(rig: EngineRig) -> None:
    """An earlier run's lead is ended by evidence, what it filled is hedged, nothing is opened."""
    position_id = await quoting(rig)
    await rig.kill()
    rig.long_venue.fill_resting(D("0.6"))
    rig.new_engine()
    await rig.start()
    view = await rig.settled(position_id)
    assert view.status is PositionStatus.OPEN
    assert view.hedge_executed_quantity == D("0.599")
    assert rig.long_venue.resting == ()
    assert len(rig.long_venue.arrivals) == 1
    rig.check_books()


async def test_refused_quotes_end_the_entry(rig: EngineRig) -> None:
    """A venue that refuses three in a row means it."""
    rig.long_venue.script.extend([Fault(reject=True)] * 5)
    view = await rig.open("1")
    assert view.status is PositionStatus.FLAT
    assert len(rig.long_venue.arrivals) == 3


async def test_a_halt_takes_the_resting_lead_back_at_once(rig: EngineRig) -> None:
    """Within 50 ms nothing rests any more that could open, however long it was to be let be."""
    position_id = await quoting(rig)
    await rig.call(rig.engine.halt(HaltCommand(rig.request_id(), "by hand")))
    await rig.clock.run_until(lambda: not rig.long_venue.resting, limit=0.05)
    assert (await rig.settled(position_id)).status is PositionStatus.FLAT
    rig.check_books()
