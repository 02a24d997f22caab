"""Legs that came apart, parts of many positions, slices of an exit: tables of pure decisions."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from opensqt.market_maker.v1 import events_pb2, types_pb2
from services.common.codec import decimal_to_proto
from services.common.errors import FatalError, InvalidFieldError
from services.engine import events as ev
from services.engine.correction import correction
from services.engine.exit import next_exit_step, remaining, settle_exit
from services.engine.forced_fill_codec import forced_fill_from_proto
from services.engine.instruments import InstrumentKind, LegSide
from services.engine.leg_gone import ForcedFill, by_forced_fill, by_reading
from services.engine.orders import GoneCause, OrderClass, OrderOutcome, OrderPlan, OrderSide
from services.engine.policy import EnginePolicy
from services.engine.position import Position, begin, fold
from services.engine.position_view import view_of
from services.engine.reducing import plan_reductions
from services.engine.reduction import reduction_plan
from services.engine.steps import BookDust, LegDone, Settle, WorkDown
from services.engine.views import PositionStatus
from tests.support.engine_rig import make_rules
from tests.support.virtual_clock import START

D = Decimal
POLICY = EnginePolicy()
KEY = "p000000000000000"
SPOT = make_rules("spot", InstrumentKind.SPOT, base_fee_ratio=D(0))
PERP = make_rules("perp", InstrumentKind.PERPETUAL)
OPEN, LONG, SHORT = PositionStatus.OPEN, LegSide.LONG, LegSide.SHORT
CAUSES = {c.value: c for c in GoneCause}


def filled(position: Position, order_class: OrderClass, leg: LegSide, quantity: str) -> Position:
    """Return the position after an order of a class that filled whole."""
    is_entry = order_class in (OrderClass.ENTRY, OrderClass.HEDGE)
    side = OrderSide.BUY if (leg is LONG) is is_entry else OrderSide.SELL
    key = f"{KEY}{leg.value[0]}{order_class.value[0]}{len(position.orders):04d}"
    rules = position.rules(leg)
    plan = OrderPlan(key, rules.ref, leg, order_class, side, D(quantity), D(100))
    outcome = OrderOutcome(key, True, D(quantity), D(quantity), D(100))
    position = fold(position, ev.OrderIntended(KEY, START, plan))
    return fold(position, ev.OrderObserved(KEY, START, leg, outcome))


def opening(long: str = "1", short: str = "1") -> Position:
    """Return a position whose legs filled so much and whose entry has not settled."""
    allowance = ev.OrderAllowance(SHORT, OrderSide.SELL, D(9), D(90))
    position = begin(
        ev.EntryIntended(
            KEY, START, SPOT, PERP, LONG, D(9), D(9), D(100), D(101), D(100), allowance
        )
    )
    position = filled(position, OrderClass.ENTRY, LONG, long)
    return filled(position, OrderClass.HEDGE, SHORT, short)


def opened(long: str = "1", short: str = "1") -> Position:
    """Return an open position with these quantities."""
    return fold(opening(long, short), ev.PositionSettled(KEY, START, OPEN, ""))


def gone(
    quantity: str, leg: LegSide = SHORT, cause: str = "unexplained", evidence: str = ""
) -> ev.LegGone:
    """Return the event of a loss."""
    return ev.LegGone(KEY, START, leg, D(quantity), CAUSES[cause], evidence, D(90))


def after(position: Position, history: Iterable[ev.PositionEvent]) -> Position:
    """Return the position after these events."""
    for event in history:
        position = fold(position, event)
    return position


@pytest.mark.parametrize(
    ("history", "left"),
    [
        ([gone("0.4")], "0.6"),
        ([gone("0.4"), gone("0.4")], "0.6"),
        ([gone("0.4"), gone("0.7")], "0.3"),
        ([gone("0.4", evidence="a")], "0.6"),
        ([gone("0.4", evidence="a"), gone("0.2", evidence="b")], "0.4"),
        ([gone("0.4", evidence="a"), gone("0.5", evidence="a")], "0.5"),
        ([gone("0.4", evidence="a"), gone("0.4")], "0.6"),
        ([gone("0.4", evidence="a"), gone("0.2", evidence="b"), gone("0.6")], "0.4"),
        ([gone("0.2", evidence="a"), gone("0.7")], "0.3"),
        ([gone("9")], "0"),
        ([gone("9", evidence="a"), gone("9", evidence="b")], "0"),
    ],
)
def test_a_loss_counts_once_whoever_tells_it_and_in_any_order(
    history: list[ev.LegGone], left: str
) -> None:
    """Forced fills add up, readings are totals, the larger counts, and no leg goes beyond zero."""
    for order in itertools.permutations([*history, history[0]]):
        position = after(opened(), order)
        assert position.quantity(SHORT) == -D(left)
        assert position.quantity(LONG) == 1


def test_a_loss_that_was_known_changes_nothing() -> None:
    """A repeated word gives the same position, not a new revision."""
    position = after(opened(), [gone("0.4", evidence="a"), gone("0.3")])
    for known in (gone("0.4", evidence="a"), gone("0.1", evidence="a"), gone("0.3"), gone("0.2")):
        assert fold(position, known) is position


@pytest.mark.parametrize(("missing", "total"), [("0.0009", None), ("0.001", "0.401"), ("5", "5.4")])
def test_a_reading_is_told_as_a_total(missing: str, total: str | None) -> None:
    """What is missing now adds to what was gone before; less than a lot is rounding."""
    event = by_reading(fold(opened(), gone("0.4")), SHORT, D(missing), START)
    assert (event and event.quantity) == (None if total is None else D(total))


FORCED = ForcedFill("perp", "BTCUSDT", OrderSide.BUY, D("0.5"), "77", GoneCause.LIQUIDATED, D(90))


@pytest.mark.parametrize(
    ("changes", "is_ours"),
    [
        ({}, True),
        ({"side": OrderSide.SELL}, False),
        ({"exchange": "other"}, False),
        ({"symbol": "ETHUSDT"}, False),
        ({"order_id": ""}, False),
        ({"quantity": D(0)}, False),
    ],
)
def test_a_forced_fill_finds_its_leg(changes: dict[str, object], *, is_ours: bool) -> None:
    """Venue, symbol and closing side name the leg; a fill without an id cannot be counted once."""
    fill = replace(FORCED, **changes)  # type: ignore[arg-type]  # test builder
    expected = ev.LegGone(KEY, START, SHORT, D("0.5"), GoneCause.LIQUIDATED, "77", D(90))
    assert by_forced_fill([opened()], fill, START) == (expected if is_ours else None)
    ended = fold(opened(), ev.PositionSettled(KEY, START, PositionStatus.CLOSED, ""))
    assert by_forced_fill([ended], fill, START) is None


def test_forced_fills_of_the_stream_are_read() -> None:
    """Kind, side, id, quantity and price; other rows are none, broken ones are told."""
    row = events_pb2.OrderUpdate(
        symbol="BTCUSDT",
        side=types_pb2.ORDER_SIDE_BUY,
        executed_qty=decimal_to_proto(D("0.5")),
        avg_price=decimal_to_proto(D(90)),
        exchange_order_id="77",
        forced_fill=types_pb2.FORCED_FILL_LIQUIDATION,
    )
    assert forced_fill_from_proto("perp", row) == FORCED
    row.forced_fill = types_pb2.FORCED_FILL_AUTO_DELEVERAGING
    found = forced_fill_from_proto("perp", row)
    assert found is not None
    assert found.cause is GoneCause.AUTO_DELEVERAGED
    row.exchange_order_id = ""
    with pytest.raises(FatalError):
        forced_fill_from_proto("perp", row)
    row.forced_fill = types_pb2.FORCED_FILL_UNSPECIFIED
    assert forced_fill_from_proto("perp", row) is None


EXIT = ev.ExitRequested(KEY, START, "CLOSE")
HALF = ev.ReduceRequested(KEY, START, D("0.5"), D("0.5"), D("0.5"))


@pytest.mark.parametrize(
    ("position", "history", "answer"),
    [
        (opened(), [], None),
        (opened("1.0005"), [], None),
        (opened(), [gone("0.0005")], None),
        (opened(), [gone("0.4")], ("LEG_GONE_AT_VENUE", "0.6")),
        (opened(), [gone("0.4", LONG)], ("LEG_GONE_AT_VENUE", "0.6")),
        (opened(), [gone("0.4", cause="auto_deleveraged")], ("LEG_AUTO_DELEVERAGED", "0.6")),
        (opened(), [gone("1")], ("LEG_GONE_AT_VENUE", None)),
        (opened(), [gone("0.96")], ("LEG_GONE_AT_VENUE", None)),
        (opened(), [gone("0.4", cause="liquidated")], ("LEG_LIQUIDATED", None)),
        (opening(), [gone("0.4")], ("LEG_GONE_AT_VENUE", None)),
        (opening("1", "0.4"), [], None),
        (opened(), [EXIT, gone("0.4")], None),
        (opened(), [HALF, gone("0.4")], None),
        (opened(), [HALF, gone("0.7")], ("LEG_GONE_AT_VENUE", "0.3")),
        (opened(), [HALF, gone("0.501")], ("LEG_GONE_AT_VENUE", "0.499")),
        (opened(), [HALF, gone("0.5005")], None),
        (opening(), [gone("0")], None),
        (opened(), [gone("0", cause="liquidated")], None),
        (opened(), [HALF, gone("0.2", cause="liquidated")], ("LEG_LIQUIDATED", None)),
        (opened("1.4"), [], ("LATE_FILL", "1")),
    ],
)
def test_legs_that_came_apart_only_shrink(
    position: Position, history: list[ev.PositionEvent], answer: tuple[str, str | None] | None
) -> None:
    """The larger leg comes down to the smaller; what could not be closed later is closed now."""
    asked = correction(after(position, history), START)
    if answer is None:
        assert asked is None
        return
    reason, target = answer
    if target is None:
        assert asked == ev.ExitRequested(KEY, START, reason)
        return
    assert isinstance(asked, ev.ReduceRequested)
    assert (asked.reason, asked.long_target, asked.short_target) == (reason, D(target), D(target))


def test_a_reduce_that_follows_a_loss_ends_the_correction() -> None:
    """Once the larger leg came down there is nothing more to correct, and the view says why."""
    position = fold(opened(), gone("0.4"))
    asked = correction(position, START)
    assert asked is not None
    position = filled(fold(position, asked), OrderClass.EXIT, LONG, "0.4")
    assert [remaining(position, leg) for leg in LegSide] == [0, 0]
    settled = settle_exit(position)
    assert settled == Settle(OPEN, "LEG_GONE_AT_VENUE")
    position = fold(position, ev.PositionSettled(KEY, START, OPEN, settled.reason))
    assert correction(position, START) is None


def test_an_ended_position_with_something_on_goes_on_closing() -> None:
    """A fill after the end resumes the exit, in a pass of its own; without one nothing is asked."""
    closed = after(opened(), [EXIT])
    closed = filled(filled(closed, OrderClass.EXIT, LONG, "1"), OrderClass.EXIT, SHORT, "1")
    closed = fold(closed, ev.PositionSettled(KEY, START, PositionStatus.CLOSED, "CLOSE"))
    assert correction(closed, START) is None
    late = filled(closed, OrderClass.ENTRY, LONG, "0.3")
    asked = correction(late, START)
    assert asked == ev.ExitResumed(KEY, START, "LATE_FILL")
    resumed = fold(late, asked)
    assert (resumed.status, resumed.pass_number) == (PositionStatus.CLOSING, 2)
    assert resumed.close_time is None
    assert remaining(resumed, LONG) == D("0.3")
    assert next_exit_step(resumed, SHORT, POLICY) == LegDone()


def test_an_ended_position_that_went_beyond_zero_books_it() -> None:
    """A late fill of an exit takes more than there was: named as dust, never traded back."""
    closed = after(opened(), [EXIT])
    closed = filled(filled(closed, OrderClass.EXIT, LONG, "1"), OrderClass.EXIT, SHORT, "1")
    closed = fold(closed, ev.PositionSettled(KEY, START, PositionStatus.CLOSED, "CLOSE"))
    late = filled(closed, OrderClass.EXIT, LONG, "0.3")
    asked = correction(late, START)
    assert asked == ev.ExitResumed(KEY, START, "LATE_FILL")
    dust = next_exit_step(fold(late, asked), LONG, POLICY)
    assert dust == BookDust(LONG, D("-0.3"), "BEYOND_ZERO")


def test_dust_of_one_leg_adds_up_and_each_leg_has_its_own() -> None:
    """Two rests that were given up are both on at the venue."""
    rests = (("0.0002", LONG), ("0.0003", LONG), ("-0.0004", SHORT))
    booked = [ev.DustBooked(KEY, START, leg, D(rest), "REST_BELOW_MINIMUM") for rest, leg in rests]
    position = after(opened(), booked)
    assert position.dust == {LONG: D("0.0005"), SHORT: D("-0.0004")}
    assert [position.held(leg) for leg in LegSide] == [D("0.9995"), D("0.9996")]


def test_two_reduces_that_cross_leave_the_smaller_rest() -> None:
    """Decided apart and folded in turn, neither leaves more than the other allows."""
    deep = replace(HALF, long_target=D("0.3"), short_target=D("0.4"))
    for order in ((HALF, deep), (deep, HALF)):
        position = after(opened(), order)
        assert [remaining(position, leg) for leg in LegSide] == [D("0.7"), D("0.6")]


def test_what_the_venue_took_is_traded_at_its_price() -> None:
    """Profit counts a forced fill at its price and is unknown where only a reading tells of it."""
    history: list[ev.PositionEvent] = [gone("1", evidence="a"), EXIT]
    position = filled(after(opened(), history), OrderClass.EXIT, LONG, "1")
    ended = ev.PositionSettled(KEY, START, PositionStatus.CLOSED, "")
    assert view_of(fold(position, ended)).trading_pnl == 10
    position = filled(after(opened(), [gone("1"), EXIT]), OrderClass.EXIT, LONG, "1")
    assert view_of(fold(position, ended)).trading_pnl is None


@pytest.mark.parametrize(
    ("position", "ratio", "expected"),
    [
        (opened(), "0.5", "0.5"),
        (opened("0.9", "0.9"), "0.333", "0.601"),
        (opened(), "1", None),
        (opened("0.08", "0.08"), "0.5", None),
        (opened(), "0.0001", None),
        (opening(), "0.5", None),
        (fold(opened(), HALF), "0.5", ""),
        (fold(opened(), EXIT), "0.5", ""),
        (fold(opened(), ev.PositionSettled(KEY, START, PositionStatus.CLOSED, "")), "0.5", ""),
    ],
)
def test_a_share_of_many_rounds_towards_less_exposure(
    position: Position, ratio: str, expected: str | None
) -> None:
    """A part where it trades, all where it does not, nothing of what shrinks already."""
    requests = plan_reductions([position], D(ratio), START, "WHY")
    if expected == "":
        assert requests == ()
    elif expected is None:
        assert requests == (ev.ExitRequested(KEY, START, "WHY"),)
    else:
        taken = position.quantity(LONG) - D(expected)
        wanted = ev.ReduceRequested(KEY, START, taken, D(expected), D(expected), "WHY")
        assert requests == (wanted,)


@pytest.mark.parametrize("ratio", ["0", "-1", "1.0001"])
def test_a_share_outside_its_range_is_refused(ratio: str) -> None:
    """Nothing is taken for a ratio that means nothing."""
    with pytest.raises(InvalidFieldError):
        plan_reductions([opened()], D(ratio), START, "")


@pytest.mark.parametrize(
    ("notional", "quantity", "first"),
    [(None, "1", "1"), ("40", "1", "0.4"), ("4", "1", "1"), ("97", "1", "1"), ("200", "1", "1")],
)
def test_an_exit_goes_in_slices_that_trade(notional: str | None, quantity: str, first: str) -> None:
    """A slice is sent where it and what it leaves are traded, else the whole leg."""
    policy = replace(POLICY, max_exit_slice_notional=None if notional is None else D(notional))
    step = next_exit_step(fold(opened(quantity, quantity), EXIT), LONG, policy)
    assert isinstance(step, WorkDown)
    assert step.quantity == D(first)


def attempts(position: Position, policy: EnginePolicy, ratios: list[str]) -> list[OrderPlan]:
    """Return the orders of a leg's exit when they fill by these ratios in turn, then wholly."""
    plans: list[OrderPlan] = []
    shares = iter(ratios)
    while isinstance(step := next_exit_step(position, LONG, policy), WorkDown):
        plan = reduction_plan(position, step, OrderClass.EXIT, D(100), policy)
        executed = plan.quantity * D(next(shares, "1"))
        outcome = OrderOutcome(plan.client_order_id, True, executed, executed, D(100))
        position = fold(position, ev.OrderIntended(KEY, START, plan))
        position = fold(position, ev.OrderObserved(KEY, START, LONG, outcome))
        plans.append(plan)
    assert isinstance(next_exit_step(position, LONG, policy), LegDone | BookDust)
    return plans


def test_bounds_widen_within_a_slice_and_end_in_a_market_order() -> None:
    """Each failed attempt of a slice goes further from the touch; the next slice starts near."""
    policy = replace(POLICY, max_exit_slice_notional=D(50))
    plans = attempts(fold(opened(), EXIT), policy, ["0", "0", "0.1", "1"])
    prices = [plan.worst_price for plan in plans]
    assert prices == [D("99.7"), D("99.0"), D("97.0"), None, D("99.7")]
    assert [plan.quantity for plan in plans] == [D("0.5")] * 4 + [D("0.45")]


def test_without_a_market_order_the_last_bound_repeats() -> None:
    """Where the policy allows no market order the series stays at its widest bound."""
    policy = replace(POLICY, exit_market_fallback=False)
    plans = attempts(fold(opened(), EXIT), policy, ["0"] * 5)
    assert [plan.worst_price for plan in plans][-3:] == [D("97.0")] * 3


@pytest.mark.parametrize("leg", LegSide)
@pytest.mark.parametrize("order_class", [OrderClass.EXIT, OrderClass.UNWIND])
def test_reducing_orders_are_reduce_only_where_the_venue_has_it(
    leg: LegSide, order_class: OrderClass
) -> None:
    """Perpetuals know reduce-only, spot does not; the side always makes the leg smaller."""
    position = fold(opened(), EXIT)
    step = WorkDown(leg, D(1), 9, timedelta(0))
    plan = reduction_plan(position, step, order_class, None, POLICY)
    assert plan.reduce_only is position.rules(leg).is_perpetual
    assert plan.side is (OrderSide.SELL if leg is LONG else OrderSide.BUY)


def test_a_loss_told_before_the_fill_it_took_ends_the_entry() -> None:
    """Before the hedge's answer nothing is off the ledger, and still no more may be hedged."""
    position = opening("1", "0")
    assert position.quantity(SHORT) == 0
    position = fold(position, gone("0.4", cause="liquidated", evidence="a"))
    assert position.gone_quantity(SHORT) == 0
    assert correction(position, START) == ev.ExitRequested(KEY, START, "LEG_LIQUIDATED")
    assert filled(position, OrderClass.HEDGE, SHORT, "1").quantity(SHORT) == D("-0.6")
