"""Venues that behave otherwise than their rules say: fees elsewhere, fallen prices, odd answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import pytest

from services.engine.commands import CloseCommand
from services.engine.instruments import InstrumentKind, LegSide
from services.engine.orders import OrderClass, OrderOutcome, OrderPlan
from services.engine.ports import FundingPayment
from services.engine.position_view import VIEW_ORDERS
from services.engine.views import PositionStatus
from tests.support.engine_rig import EngineRig, MemoryJournal, make_rules
from tests.support.fake_venue import FakeVenue, Fault
from tests.support.virtual_clock import VirtualClock

D = Decimal
SPOT, PERP = InstrumentKind.SPOT, InstrumentKind.PERPETUAL


async def test_a_hedge_that_paid_no_fee_in_base_is_given_back_to_the_need() -> None:
    """An account that pays fees in another coin gets more than was needed: the rest is sold."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    rig.long_venue.fee_coin = "BNB"
    await rig.start()
    view = await rig.open("80", lead_leg=LegSide.SHORT)
    assert view.status is PositionStatus.OPEN
    assert [o.order_class for o in view.orders][-1] is OrderClass.UNWIND
    assert abs(rig.net_delta()) < D("0.001")
    assert (await rig.close(view.position_id)).status is PositionStatus.CLOSED
    assert rig.long_venue.filled() == rig.short_venue.filled() == 0
    rig.check_books()
    await rig.close_rig()


async def test_a_hedge_above_the_need_that_cannot_be_sold_is_booked_as_dust() -> None:
    """Below the venue's minimum it stays, is named, and goes with the exit."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    rig.long_venue.fee_coin = "BNB"
    await rig.start()
    view = await rig.open("5", lead_leg=LegSide.SHORT)
    assert view.status is PositionStatus.OPEN
    assert view.dust_quantity == view.residual_quantity == D("0.005")
    assert (await rig.close(view.position_id)).status is PositionStatus.CLOSED
    assert rig.long_venue.filled() == rig.short_venue.filled() == 0
    rig.check_books()
    await rig.close_rig()


async def test_a_margin_short_bought_back_with_no_fee_in_base_is_bought_back_once() -> None:
    """What the buy brought beyond zero is dust: buying more would run away from zero."""
    perp = make_rules("perp", PERP)
    spot = make_rules("spot", SPOT, use_margin=True, margin_allowed=True)
    rig = EngineRig(VirtualClock(), MemoryJournal(), long_rules=perp, short_rules=spot)
    rig.short_venue.fee_coin = "BNB"
    await rig.start()
    opened = await rig.open("80")
    closed = await rig.close(opened.position_id)
    assert closed.status is PositionStatus.CLOSED
    assert len(rig.short_venue.arrivals) == 2
    assert rig.short_venue.filled() == closed.dust_quantity == D("0.080")
    rig.check_books()
    await rig.close_rig()


async def test_a_rest_that_fell_below_the_minimum_with_the_price_is_given_up() -> None:
    """The venue judges a rest at today's price; a position must not close for ever."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    rig.long_venue.instrument = replace(rig.long_venue.instrument, base_fee_ratio=D(0))
    await rig.start()
    opened = await rig.open("1")
    rig.long_venue.price = rig.short_venue.price = D(60)

    def choose(plan: OrderPlan) -> Fault:
        price = plan.worst_price or rig.long_venue.price
        too_small = plan.quantity * price < rig.long_venue.instrument.min_notional
        return Fault(reject=True) if too_small else Fault(fill_ratio=D("0.93"))

    rig.long_venue.choose = choose
    closed = await rig.close(opened.position_id)
    assert closed.status is PositionStatus.CLOSED
    assert closed.dust_quantity == closed.residual_quantity == D("0.070")
    rig.check_books()
    await rig.close_rig()


async def test_a_watcher_is_told_of_positions_of_an_earlier_run() -> None:
    """After a restart a resting position changes nothing, and is shown all the same."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    opened = await rig.open("1")
    await rig.kill()
    rig.recorder.statuses.clear()
    rig.new_engine()
    await rig.start()
    assert rig.recorder.statuses == {opened.position_id: PositionStatus.OPEN}
    await rig.close_rig()


async def test_an_exit_refused_for_long_stays_a_message_of_bounded_size() -> None:
    """A venue that refuses for a day leaves more orders than a watcher can be sent."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    opened = await rig.open("1")
    rig.short_venue.choose = lambda _: Fault(reject=True)
    await rig.call(rig.engine.close(CloseCommand("close", opened.position_id)))
    await rig.clock.pass_time((VIEW_ORDERS + 20) * 5.1)
    view = rig.engine.get(opened.position_id)
    assert len(rig.short_venue.arrivals) > VIEW_ORDERS
    assert len(view.orders) == VIEW_ORDERS
    assert view.orders[-1].client_order_id == rig.short_venue.arrivals[-1]
    rig.short_venue.choose = None
    assert (await rig.settled(opened.position_id)).status is PositionStatus.CLOSED
    await rig.close_rig()


async def test_an_exit_whose_answers_we_lost_hold_of_is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the sends run, a venue that does not know the ids proves nothing."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    rig.long_venue.foreign = D(7)
    await rig.start()
    opened = await rig.open("1")
    await rig.clock.pass_time(60)
    for venue in rig.venues:
        venue.choose = lambda _: Fault(latency=4.0)
    failures = [RuntimeError("a bug of ours, after the send")]

    async def lose(*_: object) -> None:
        if failures:
            raise failures.pop()

    monkeypatch.setattr("services.engine.exit_drive.note_skew", lose)
    closed = await rig.close(opened.position_id)
    assert closed.status is PositionStatus.CLOSED
    assert [len(venue.arrivals) for venue in rig.venues] == [2, 2]
    assert "DRIVE_TROUBLE" in rig.engine.status().reason
    rig.check_books()
    await rig.close_rig()


async def test_funding_in_two_coins_is_unknown_and_not_zero() -> None:
    """What cannot be added up is not told as nothing received."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    opened = await rig.open("1")
    rig.short_venue.payments += [
        FundingPayment("USDT", D("0.5"), rig.clock.now(), "one"),
        FundingPayment("BNB", D("0.001"), rig.clock.now(), "two"),
    ]
    before = rig.engine.get(opened.position_id).funding_received
    await rig.clock.pass_time(60)
    assert rig.engine.get(opened.position_id).funding_received == before
    await rig.close_rig()


@pytest.mark.parametrize("named", ["average_price", "cumulative_quote"])
async def test_money_adds_up_where_a_venue_names_only_one_of_price_and_quote(
    monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """Fees in the coin and dust are valued by whichever of the two the venue names."""
    views = []
    for hidden in ({}, {"average_price": None, "cumulative_quote": None}):
        hidden.pop(named, None)
        rig = EngineRig(VirtualClock(), MemoryJournal())
        inner = FakeVenue.place

        async def place(
            self: FakeVenue,
            plan: OrderPlan,
            hidden: dict[str, None] = hidden,
            inner: Callable[[FakeVenue, OrderPlan], Awaitable[OrderOutcome]] = inner,
        ) -> OrderOutcome:
            return replace(await inner(self, plan), **hidden)  # type: ignore[arg-type]  # None

        with monkeypatch.context() as patch:
            patch.setattr(FakeVenue, "place", place)
            await rig.start()
            opened = await rig.open("1")
            views.append(await rig.close(opened.position_id))
            await rig.close_rig()
    assert views[1].trading_pnl == views[0].trading_pnl != 0
    assert views[1].fees_paid == views[0].fees_paid != 0


async def test_a_venue_that_breaks_the_reading_of_funding_does_not_end_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error nobody thought of is logged, and the next reading comes all the same."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    opened = await rig.open("1")
    inner, failures = FakeVenue.funding_payments, [ZeroDivisionError("odd")]

    async def read(self: FakeVenue, symbol: str, since: datetime) -> Sequence[FundingPayment]:
        if failures:
            raise failures.pop()
        return await inner(self, symbol, since)

    monkeypatch.setattr(FakeVenue, "funding_payments", read)
    rig.short_venue.payments.append(FundingPayment("USDT", D("0.5"), rig.clock.now(), "one"))
    await rig.clock.pass_time(60)
    assert rig.engine.get(opened.position_id).funding_received == D("0.5")
    await rig.close_rig()
