"""The edges of an exit's rules: rests, market orders, refusals, the caller's bound, how it ends."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from services.engine import events as ev
from services.engine.exit import next_exit_step, settle_exit
from services.engine.instruments import InstrumentKind, InstrumentRules, LegSide
from services.engine.order_ids import client_order_id
from services.engine.orders import OrderClass, OrderOutcome, OrderPlan, OrderSide
from services.engine.policy import EnginePolicy
from services.engine.position import Position, begin, fold, opening_side
from services.engine.reduction import reduction_plan
from services.engine.risk_exposure import worst_case_quantity
from services.engine.steps import BookDust, LegDone, WorkDown
from services.engine.views import PositionStatus
from tests.support.engine_rig import make_rules
from tests.support.virtual_clock import START

D = Decimal
POLICY = EnginePolicy()
KEY = "p000000000000000"
SPOT = make_rules("spot", InstrumentKind.SPOT, base_fee_ratio=D(0))
PERP = make_rules("perp", InstrumentKind.PERPETUAL)
LONG, SHORT, PRICE = LegSide.LONG, LegSide.SHORT, D(100)


def new_position(short_rules: InstrumentRules = PERP) -> Position:
    """Return a position that is to be entered: the long spot leg leads."""
    allowance = ev.OrderAllowance(SHORT, OrderSide.SELL, D(9), D(90))
    return begin(
        ev.EntryIntended(
            KEY, START, SPOT, short_rules, LONG, D(9), D(9), D(100), D(101), D(100), allowance
        )
    )


def worked(
    position: Position,
    leg: LegSide,
    order_class: OrderClass,
    quantity: str,
    executed: str | None = None,
    price: Decimal | None = PRICE,
) -> Position:
    """Return the position after an order; `executed` None fills it whole, "refused" refuses it."""
    side = opening_side(leg)
    if order_class in (OrderClass.EXIT, OrderClass.UNWIND):
        side = side.opposite
    key = client_order_id(KEY, leg, order_class, position.next_attempt(leg, order_class))
    plan = OrderPlan(key, position.rules(leg).ref, leg, order_class, side, D(quantity), price)
    position = fold(position, ev.OrderIntended(KEY, START, plan))
    if executed == "refused":
        return fold(position, ev.OrderRejected(KEY, START, key, "REFUSED", retryable=False))
    done = D(executed or quantity)
    outcome = OrderOutcome(key, True, done, done, D(100))
    return fold(position, ev.OrderObserved(KEY, START, leg, outcome))


def opened(quantity: str = "1", short_rules: InstrumentRules = PERP) -> Position:
    """Return an open position of so much on both legs."""
    position = worked(new_position(short_rules), LONG, OrderClass.ENTRY, quantity)
    position = worked(position, SHORT, OrderClass.HEDGE, quantity)
    return fold(position, ev.PositionSettled(KEY, START, PositionStatus.OPEN, ""))


def closing(position: Position, bound: Decimal | None = None) -> Position:
    """Return the position once its exit was asked for."""
    return fold(position, ev.ExitRequested(KEY, START, "TEST", bound))


def test_what_is_beyond_zero_is_booked_and_never_traded_further() -> None:
    """An exit that took more than there was leaves a rest no order of its side can mend."""
    position = worked(closing(opened()), LONG, OrderClass.EXIT, "1.002")
    step = next_exit_step(position, LONG, POLICY)
    assert step == BookDust(LONG, D("-0.002"), "BEYOND_ZERO")


def test_a_close_books_its_rest_and_a_reduce_leaves_it_on() -> None:
    """A rest below a lot goes with the close; a reduce has a close after it."""
    long = worked(closing(opened()), LONG, OrderClass.EXIT, "0.9995")
    assert next_exit_step(long, LONG, POLICY) == BookDust(LONG, D("0.0005"), "REST_BELOW_MINIMUM")
    reduce = ev.ReduceRequested(KEY, START, D("0.5"), D("0.5"), D("0.5"))
    reduced = worked(fold(opened(), reduce), LONG, OrderClass.EXIT, "0.4995")
    assert next_exit_step(reduced, LONG, POLICY) == LegDone()


@pytest.mark.parametrize(
    ("hedges", "was_open", "ended"),
    [
        ((), False, PositionStatus.FLAT),
        (("0.0",), False, PositionStatus.FLAT),
        (("0.0", "0.4"), False, PositionStatus.CLOSED),
        (("0.0",), True, PositionStatus.CLOSED),
    ],
)
def test_an_exit_ends_closed_where_there_was_a_pair(
    hedges: tuple[str, ...], was_open: bool, ended: PositionStatus
) -> None:
    """Flat is what never was a pair: no hedge filled and it never rested open."""
    position = worked(new_position(), LONG, OrderClass.ENTRY, "1")
    for executed in hedges:
        position = worked(position, SHORT, OrderClass.HEDGE, "1", executed)
    if was_open:
        position = fold(position, ev.PositionSettled(KEY, START, PositionStatus.OPEN, ""))
    assert settle_exit(closing(position)).status is ended


def test_market_orders_are_bounded_by_their_own_maximum() -> None:
    """From the attempt that goes at market on, an order is no larger than the venue takes."""
    position = closing(opened(short_rules=replace(PERP, max_market_quantity=D("0.3"))))
    for attempt in range(len(POLICY.exit_bound_ratios)):
        step = next_exit_step(position, SHORT, POLICY)
        assert isinstance(step, WorkDown)
        assert (step.quantity, step.failed_count) == (D(1), attempt)
        position = worked(position, SHORT, OrderClass.EXIT, "1", "0")
    step = next_exit_step(position, SHORT, POLICY)
    assert isinstance(step, WorkDown)
    assert step.quantity == D("0.3")
    assert reduction_plan(position, step, OrderClass.EXIT, D(100), POLICY).worst_price is None
    without = replace(POLICY, exit_market_fallback=False)
    step = next_exit_step(position, SHORT, without)
    assert isinstance(step, WorkDown)
    assert step.quantity == 1


def test_a_small_rest_of_a_perpetual_is_closed_and_one_of_spot_is_not() -> None:
    """Reduce-only orders have no minimum notional, so a rest of 0.03 goes; of spot it is dust."""
    position = closing(opened("0.03"))
    step = next_exit_step(position, SHORT, POLICY)
    assert isinstance(step, WorkDown)
    assert step.quantity == D("0.03")
    assert next_exit_step(position, LONG, POLICY) == BookDust(LONG, D("0.03"), "REST_BELOW_MINIMUM")


@pytest.mark.parametrize(
    ("quantity", "refusals", "gives_up"),
    [("0.03", 1, False), ("0.03", 2, True), ("0.05", 2, False), ("1", 2, False)],
)
def test_a_rest_is_given_up_once_it_was_refused_twice_below_the_minimum(
    quantity: str, refusals: int, gives_up: bool
) -> None:
    """A venue that refuses what its rules allow is believed, but only of what is worth little."""
    position = closing(opened(quantity))
    for _ in range(refusals):
        position = worked(position, SHORT, OrderClass.EXIT, quantity, "refused")
    step = next_exit_step(position, SHORT, POLICY)
    assert isinstance(step, BookDust) is gives_up


def test_the_minimum_is_judged_at_the_price_of_the_last_order() -> None:
    """Where the price has fallen far below the entry's, what was worth enough is not any more."""
    position = closing(opened("0.1"))
    for _ in range(2):
        position = worked(position, SHORT, OrderClass.EXIT, "0.1", "refused", price=D(40))
    assert isinstance(next_exit_step(position, SHORT, POLICY), BookDust)


@pytest.mark.parametrize(
    ("asked", "failed", "price"),
    [
        (None, 0, "100.30"),
        (None, 1, "101.00"),
        (None, 2, "103.00"),
        ("0.001", 0, "100.10"),
        ("0.02", 0, "102.00"),
        ("0.02", 1, "102.00"),
        ("0.02", 2, "103.00"),
    ],
)
def test_the_callers_bound_stands_first_and_never_narrows_later_ones(
    asked: str | None, failed: int, price: str
) -> None:
    """The first attempt goes at the caller's bound, those that follow at the wider of both."""
    position = closing(opened(), None if asked is None else D(asked))
    for _ in range(failed):
        position = worked(position, SHORT, OrderClass.EXIT, "1", "0")
    step = next_exit_step(position, SHORT, POLICY)
    assert isinstance(step, WorkDown)
    plan = reduction_plan(position, step, OrderClass.EXIT, D(100), POLICY)
    assert plan.worst_price == D(price)


def test_what_only_found_no_price_is_not_given_up() -> None:
    """Orders that filled nothing were no refusals: the small rest of a leg is tried on."""
    position = closing(opened("0.03"))
    for _ in range(3):
        position = worked(position, SHORT, OrderClass.EXIT, "0.03", "0")
    step = next_exit_step(position, SHORT, POLICY)
    assert isinstance(step, WorkDown)
    assert step.quantity == D("0.03")


def test_of_an_order_in_doubt_only_what_is_left_counts_on_top() -> None:
    """Limits take it for filled whole, and its confirmed part is on already."""
    position = opened()
    key = client_order_id(KEY, SHORT, OrderClass.HEDGE, 1)
    plan = OrderPlan(key, PERP.ref, SHORT, OrderClass.HEDGE, OrderSide.SELL, D(1), D(99))
    position = fold(position, ev.OrderIntended(KEY, START, plan))
    outcome = OrderOutcome(key, False, D("0.4"), D("0.4"), D(100))
    position = fold(position, ev.OrderObserved(KEY, START, SHORT, outcome))
    assert worst_case_quantity(position, SHORT) == D(2)
