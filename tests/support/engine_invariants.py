"""What must hold at every arrival at a venue and whenever a position rests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from services.engine.events import EntryIntended, Event, OrderIntended
from services.engine.instruments import InstrumentKind
from services.engine.order_ids import KEY_LENGTH
from services.engine.orders import OrderClass, OrderPlan, OrderSide
from services.engine.pricing import is_within
from services.engine.views import PositionStatus
from tests.support.engine_rig import EngineRig
from tests.support.fake_venue import FakeVenue


def is_journaled(durable: Iterable[Event], plan: OrderPlan) -> bool:
    """Tell whether durable events allow exactly this order: by its own row or by the entry's."""
    for event in durable:
        if isinstance(event, OrderIntended) and event.plan == plan:
            return True
        if (
            isinstance(event, EntryIntended)
            and plan.order_class is OrderClass.HEDGE
            and event.position_id == plan.client_order_id[:KEY_LENGTH]
        ):
            bounds = event.hedge
            assert plan.worst_price is not None
            assert bounds.widest_price is not None
            return (
                plan.leg is bounds.leg
                and plan.side is bounds.side
                and plan.quantity <= bounds.largest_quantity
                and is_within(plan.side, plan.worst_price, bounds.widest_price)
            )
    return False


def watch_arrivals(rig: EngineRig, durable: Callable[[], Iterable[Event]]) -> list[str]:
    """Check every order as it arrives; returns the list that violations are added to."""
    problems: list[str] = []

    def check(venue: FakeVenue, other: FakeVenue, plan: OrderPlan) -> None:
        if not is_journaled(durable(), plan):
            problems.append(f"sent without a durable intent: {plan}")
        net = plan.quantity
        if plan.side is OrderSide.BUY:
            net *= 1 - venue.instrument.base_fee_ratio
        if plan.order_class in (OrderClass.EXIT, OrderClass.UNWIND) and net > abs(venue.filled()):
            problems.append(f"would touch what is not the position's: {plan}")
        if plan.order_class is OrderClass.HEDGE:
            # A late hedge may arrive when the lead is gone already: what counts is the entry.
            hedged = abs(venue.filled(OrderClass.HEDGE)) + net
            if hedged > abs(other.filled(OrderClass.ENTRY, OrderClass.UNWIND)):
                problems.append(f"hedges more than the lead filled: {plan}")

    first, second = rig.venues
    first.on_arrival = lambda plan: check(first, second, plan)
    second.on_arrival = lambda plan: check(second, first, plan)
    return problems


def check_rest(rig: EngineRig, problems: list[str]) -> None:
    """Assert the invariants of positions at rest against the venues' books."""
    assert problems == []
    rig.check_books()
    lots = [venue.instrument.lot_size for venue in rig.venues]
    positions = rig.engine.positions()
    dust = sum((abs(view.dust_quantity) for view in positions), Decimal(0))
    assert abs(rig.net_delta()) < max(lots) * max(len(positions), 1) + dust
    for view in positions:
        assert abs(view.residual_quantity) < max(lots) + abs(view.dust_quantity), view


def check_closed(rig: EngineRig, problems: list[str]) -> None:
    """Assert that nothing is left but rests no venue trades."""
    check_rest(rig, problems)
    for view in rig.engine.positions():
        assert view.status in (PositionStatus.CLOSED, PositionStatus.FLAT)
        for leg in (view.long_leg, view.short_leg):
            venue = next(v for v in rig.venues if v.name == leg.instrument.exchange)
            rules = venue.instrument
            rest = abs(leg.quantity)
            if leg.instrument.kind is InstrumentKind.PERPETUAL:
                assert rest < max(rules.min_quantity, rules.lot_size), view
            else:
                too_small = rest * venue.price < rules.min_notional * Decimal("1.05")
                assert rest < rules.lot_size or too_small, view
