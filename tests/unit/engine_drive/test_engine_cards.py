"""Cards of entry and exit, one fault each, against the venues' own books."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from services.engine.instruments import InstrumentKind, LegSide
from services.engine.orders import OrderClass, OrderState
from services.engine.policy import EnginePolicy
from services.engine.views import PositionStatus
from tests.support.engine_rig import EngineRig, MemoryJournal, make_rules
from tests.support.fake_venue import Fault
from tests.support.virtual_clock import VirtualClock

D = Decimal


@pytest.fixture
async def rig() -> AsyncIterator[EngineRig]:
    """Give a started engine: long spot with its fee in base, short perpetual."""
    made = EngineRig(VirtualClock(), MemoryJournal())
    await made.start()
    yield made
    await made.close_rig()


async def test_full_fill_opens_matched(rig: EngineRig) -> None:
    """A full lead is hedged by its net quantity, rounded down to the hedge's lot."""
    view = await rig.open("1")
    assert view.status is PositionStatus.OPEN
    assert (view.lead_executed_quantity, view.lead_net_quantity) == (D(1), D("0.999"))
    assert view.hedge_executed_quantity == D("0.999")
    assert view.residual_quantity == 0
    rig.check_books()


async def test_partial_lead_is_hedged_by_its_net_fill(rig: EngineRig) -> None:
    """The hedge follows what was filled, not what was asked."""
    rig.long_venue.script.append(Fault(fill_ratio=D("0.37")))
    view = await rig.open("1")
    assert view.status is PositionStatus.OPEN
    assert view.lead_executed_quantity == D("0.37")
    assert view.lead_net_quantity == D("0.36963")
    assert view.hedge_executed_quantity == D("0.369")
    assert view.residual_quantity == D("0.00063")
    assert view.unhedged_time.total_seconds() == pytest.approx(0.01, abs=0.005)
    assert view.max_unhedged_notional == D("0.36963") * D("100.01")
    rig.check_books()


async def test_zero_fill_ends_flat_at_no_cost(rig: EngineRig) -> None:
    """A lead that fills nothing sends no hedge."""
    rig.long_venue.script.append(Fault(fill_ratio=D(0)))
    view = await rig.open("1")
    assert (view.status, view.state_reason) == (PositionStatus.FLAT, "LEAD_NOT_FILLED")
    assert rig.short_venue.arrivals == []
    assert view.fees_paid == 0


async def test_short_hedge_is_topped_up(rig: EngineRig) -> None:
    """What a hedge lacks is sent again under a new id with a wider bound."""
    rig.short_venue.script.extend([Fault(fill_ratio=D("0.4")), Fault(fill_ratio=D("0.5"))])
    view = await rig.open("1")
    hedges = [o for o in view.orders if o.order_class is OrderClass.HEDGE]
    assert view.status is PositionStatus.OPEN
    assert len(hedges) == 3
    assert hedges[0].worst_price > hedges[1].worst_price > hedges[2].worst_price  # type: ignore[operator]  # all have prices
    assert abs(rig.net_delta()) < D("0.001")
    rig.check_books()


async def test_hedge_that_stays_short_is_unwound(rig: EngineRig) -> None:
    """After the attempts of the budget the rest of the lead is sold back."""
    rig.short_venue.script.extend([Fault(fill_ratio=D("0.5"))] + [Fault(fill_ratio=D(0))] * 3)
    view = await rig.open("1")
    assert view.status is PositionStatus.OPEN
    assert view.state_reason == "HEDGE_SHORT_REST_UNWOUND"
    assert abs(rig.net_delta()) < D("0.001")
    assert view.hedge_executed_quantity == D("0.499")
    rig.check_books()


async def test_rejected_hedge_unwinds_the_lead(rig: EngineRig) -> None:
    """A definite refusal of the hedge is not tried again: the lead goes back."""
    rig.short_venue.script.append(Fault(reject=True))
    view = await rig.open("1")
    assert view.status is PositionStatus.FLAT
    assert view.state_reason == "HEDGE_FAILED_LEAD_UNWOUND ORDER_REJECTED"
    assert len(rig.short_venue.arrivals) == 1
    assert rig.long_venue.filled() == view.dust_quantity < D("0.001")
    rig.check_books()


async def test_rate_limited_hedge_is_sent_again(rig: EngineRig) -> None:
    """A retryable refusal is tried again within the budget."""
    rig.short_venue.script.append(Fault(reject=True, retryable=True))
    view = await rig.open("1")
    assert view.status is PositionStatus.OPEN
    assert len(rig.short_venue.arrivals) == 2


async def test_fill_below_the_minimum_becomes_dust(rig: EngineRig) -> None:
    """A fill that neither venue trades is booked as dust and the position is flat."""
    rig.long_venue.script.append(Fault(fill_ratio=D("0.04")))
    view = await rig.open("1")
    assert (view.status, view.state_reason) == (PositionStatus.FLAT, "FILL_BELOW_MINIMUM")
    assert view.dust_quantity == D("0.03996")
    assert rig.short_venue.arrivals == []


async def test_fill_below_the_hedges_minimum_is_unwound() -> None:
    """A fill the hedge's venue does not take is traded back where the lead's venue does."""
    perp = make_rules("perp", InstrumentKind.PERPETUAL, min_notional=D(50))
    rig = EngineRig(VirtualClock(), MemoryJournal(), short_rules=perp)
    await rig.start()
    rig.long_venue.script.append(Fault(fill_ratio=D("0.4")))
    view = await rig.open("1")
    assert view.status is PositionStatus.FLAT
    assert rig.short_venue.arrivals == []
    assert rig.long_venue.filled() < D("0.001")
    await rig.close_rig()


@pytest.mark.parametrize("lost", [True, False], ids=["request lost", "reply lost"])
@pytest.mark.parametrize("leg", ["lead", "hedge"])
async def test_unknown_in_entry_is_asked_about(rig: EngineRig, leg: str, *, lost: bool) -> None:
    """An unknown order is neither sent again nor unwound before the venue has answered."""
    venue = rig.long_venue if leg == "lead" else rig.short_venue
    venue.script.append(Fault(lost=True) if lost else Fault(reply_lost=True))
    view = await rig.open("1")
    # A hedge proven lost comes too late for the budget of 2 s: the lead has been unwound.
    assert view.status is (PositionStatus.FLAT if lost else PositionStatus.OPEN)
    states = {o.client_order_id: o.state for o in view.orders}
    assert (OrderState.NOT_SENT in states.values()) == lost
    assert abs(rig.net_delta()) < D("0.001")
    rig.check_books()


async def test_order_that_arrives_after_its_call_failed_is_adopted(rig: EngineRig) -> None:
    """Absence before the fence proves nothing: the hedge that arrives late is the hedge."""
    rig.short_venue.script.append(Fault(arrives_after=2.5))
    view = await rig.open("1")
    assert view.status is PositionStatus.OPEN
    assert len(rig.short_venue.arrivals) == 1
    assert rig.recorder.alarms == ["perp"]
    assert rig.engine.status().reason.startswith("no entries in BTCUSDT")
    rig.check_books()


async def test_late_fills_count(rig: EngineRig) -> None:
    """An order that is not closed is watched until it is; what fills late is hedged too."""
    rig.long_venue.script.append(Fault(fill_ratio=D("0.3"), late_ratio=D("0.3")))
    view = await rig.open("1")
    assert view.lead_executed_quantity == D("0.6")
    hedges = [o for o in view.orders if o.order_class is OrderClass.HEDGE]
    assert [h.executed_quantity for h in hedges] == [D("0.299"), D("0.3")]
    rig.check_books()


async def test_slices_are_hedged_one_by_one() -> None:
    """A large lead goes in slices and none leaves before the one before it is hedged."""
    policy = EnginePolicy(max_slice_notional=D(30))
    rig = EngineRig(VirtualClock(), MemoryJournal(), policy=policy)
    await rig.start()
    seen: list[Decimal] = []
    rig.long_venue.on_arrival = lambda _: seen.append(abs(rig.net_delta()))
    view = await rig.open("1")
    assert view.lead_executed_quantity == 1
    assert len(seen) == 4
    assert max(seen) < D("0.001")
    await rig.close_rig()


async def test_exit_closes_both_legs_at_once(rig: EngineRig) -> None:
    """Both legs leave together and what is left of the coins is less than a lot."""
    opened = await rig.open("1")
    rig.long_venue.foreign = D(5)
    view = await rig.close(opened.position_id)
    assert view.status is PositionStatus.CLOSED
    assert rig.short_venue.filled() == 0
    assert 0 <= rig.long_venue.filled() < D("0.001")
    assert rig.recorder.skews == [0.0]
    assert view.dispatch_skew is not None
    assert view.trading_pnl is not None
    assert view.fees_paid is not None
    rig.check_books()


@pytest.mark.parametrize(
    "fault",
    [
        Fault(lost=True),
        Fault(reply_lost=True),
        Fault(arrives_after=2.0),
        Fault(fill_ratio=D("0.2")),
        Fault(fill_ratio=D(0)),
        Fault(reject=True),
        Fault(fill_ratio=D("0.1"), late_ratio=D("0.2")),
    ],
    ids=["lost", "reply lost", "arrives late", "partial", "zero", "reject", "late fill"],
)
@pytest.mark.parametrize("leg", [LegSide.LONG, LegSide.SHORT])
async def test_exit_survives_a_fault_on_either_leg(
    rig: EngineRig, leg: LegSide, fault: Fault
) -> None:
    """A fault of one leg's exit delays that leg alone, and both end closed."""
    opened = await rig.open("1")
    venue = rig.long_venue if leg is LegSide.LONG else rig.short_venue
    other = rig.short_venue if leg is LegSide.LONG else rig.long_venue
    venue.script.append(fault)
    before = len(other.arrivals)
    view = await rig.close(opened.position_id)
    assert view.status is PositionStatus.CLOSED
    assert len(other.arrivals) == before + 1
    assert rig.short_venue.filled() == 0
    assert 0 <= rig.long_venue.filled() < D("0.001")
    rig.check_books()


async def test_exit_escalates_to_a_market_order(rig: EngineRig) -> None:
    """Attempts that fill nothing widen the bound and end in a market order."""
    opened = await rig.open("1")
    rig.short_venue.script.extend([Fault(fill_ratio=D(0))] * 3)
    view = await rig.close(opened.position_id)
    exits = [o for o in view.orders if o.order_class is OrderClass.EXIT]
    prices = [o.worst_price for o in exits if o.leg is LegSide.SHORT]
    assert len(prices) == 4
    assert prices[0] < prices[1] < prices[2]  # type: ignore[operator]  # prices
    assert prices[3] is None


async def test_exit_leaves_without_a_price(rig: EngineRig) -> None:
    """A venue whose book cannot be read is still exited."""
    opened = await rig.open("1")
    reads = iter([True] * 1)
    rig.long_venue.reads_fail = lambda: next(reads, False)
    view = await rig.close(opened.position_id)
    assert view.status is PositionStatus.CLOSED


async def test_unknown_unwind_is_not_sent_twice(rig: EngineRig) -> None:
    """An unwind whose reply is lost is asked about, not repeated."""
    rig.short_venue.script.append(Fault(reject=True))
    rig.long_venue.script.extend([Fault(), Fault(reply_lost=True)])
    view = await rig.open("1")
    assert view.status is PositionStatus.FLAT
    assert len(rig.long_venue.arrivals) == 2
    rig.check_books()


async def test_short_lead_on_the_perpetual_grosses_the_spot_hedge_up(rig: EngineRig) -> None:
    """A hedge whose fee is taken in base buys more, so that its net covers the lead."""
    view = await rig.open("1", lead_leg=LegSide.SHORT)
    assert view.hedge_executed_quantity == D("1.001")
    assert rig.long_venue.filled() == D("1.001") * D("0.999")
    assert abs(rig.net_delta()) < D("0.001")
    rig.check_books()


@pytest.mark.parametrize("lead", list(LegSide))
async def test_an_entry_above_the_largest_order_goes_in_slices_that_are_all_hedged(
    lead: LegSide,
) -> None:
    """The venue's largest order bounds each hedge and not their sum."""
    rules = make_rules("perp", InstrumentKind.PERPETUAL, max_quantity=D("0.4"))
    rig = EngineRig(VirtualClock(), MemoryJournal(), short_rules=rules)
    await rig.start()
    view = await rig.open("1", lead_leg=lead)
    assert (view.status, view.lead_executed_quantity) == (PositionStatus.OPEN, D(1))
    assert not [o for o in view.orders if o.order_class is OrderClass.UNWIND]
    assert abs(rig.net_delta()) < D("0.001")
    rig.check_books()
    await rig.close_rig()


async def test_a_breaker_of_the_symbol_stops_the_slices_that_are_left() -> None:
    """What has filled is hedged, and nothing more of the entry is opened."""
    policy = EnginePolicy(max_slice_notional=D(30))
    rig = EngineRig(VirtualClock(), MemoryJournal(), policy=policy)
    await rig.start()
    view = await rig.call(rig.engine.open(rig.open_command("1")))
    await rig.clock.run_until(lambda: len(rig.long_venue.arrivals) == 1)
    await rig.call(rig.engine.risk.open_breaker(view.symbol, "by hand"))
    view = await rig.settled(view.position_id)
    assert view.status is PositionStatus.OPEN
    assert view.lead_executed_quantity < D("0.6")
    assert abs(rig.net_delta()) < D("0.001")
    rig.check_books()
    await rig.close_rig()
