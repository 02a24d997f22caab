"""Folding is a join, and events survive their way through text."""

from __future__ import annotations

import itertools
import typing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.engine import events as ev
from services.engine.event_codec import VERSION, decode_event, encode_event
from services.engine.instruments import InstrumentKind, LegSide
from services.engine.orders import (
    AssetAmount,
    GoneCause,
    OrderClass,
    OrderOutcome,
    OrderPlan,
    OrderSide,
    OrderState,
)
from services.engine.pockets import Pocket, PocketKind
from services.engine.position import Position, begin, fold, fold_all
from services.engine.strategy_plan import decide
from services.engine.strategy_policy import StrategyPolicy
from services.engine.strategy_replay import inputs_of
from services.engine.strategy_words import DecisionAction, Figure, StrategyMode
from services.engine.views import PositionStatus
from tests.support.engine_rig import make_rules
from tests.support.strategy_cases import make_offer, situation

D = Decimal
AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
KEY = "p000000000000000"
SPOT = make_rules("spot", InstrumentKind.SPOT)
PERP = make_rules("perp", InstrumentKind.PERPETUAL, max_quantity=D(1000))
ENTRY = ev.EntryIntended(
    KEY,
    AT,
    SPOT,
    PERP,
    LegSide.LONG,
    D(1),
    D(1),
    D(100),
    D("100.2"),
    D(100),
    ev.OrderAllowance(LegSide.SHORT, OrderSide.SELL, D(1), D(99)),
    "opportunity",
)
PLAN = OrderPlan(
    f"{KEY}le0000", SPOT.ref, LegSide.LONG, OrderClass.ENTRY, OrderSide.BUY, D(1), D("100.2")
)
INTENDED = ev.OrderIntended(KEY, AT, PLAN)
POCKET = Pocket("spot", PocketKind.SPOT, "BTC")


def observed(executed: str, *, closed: bool, at: datetime = AT) -> ev.OrderObserved:
    """Return an observation with a base fee of a thousandth."""
    quantity = D(executed)
    outcome = OrderOutcome(
        PLAN.client_order_id,
        closed,
        quantity,
        quantity * D("0.999"),
        D(100),
        (AssetAmount("BTC", quantity / 1000),),
        quantity * 100,
        at,
        D(1),
    )
    return ev.OrderObserved(KEY, at, LegSide.LONG, outcome)


EVENTS: tuple[ev.Event, ...] = (
    ENTRY,
    INTENDED,
    ev.OrderIntended(KEY, AT, replace(PLAN, worst_price=None, reduce_only=True)),
    observed("0.5", closed=False),
    ev.OrderRejected(KEY, AT, PLAN.client_order_id, "ORDER_REJECTED", retryable=True),
    ev.OrderUnknown(KEY, AT, PLAN.client_order_id, "ORDER_OUTCOME_UNKNOWN"),
    ev.OrderNotSent(KEY, AT, PLAN.client_order_id),
    ev.ExitRequested(KEY, AT, "CLOSE_REQUESTED", D("0.01")),
    ev.ExitRequested(KEY, AT, 'with "quotes" and ünïcode'),
    ev.ReduceRequested(KEY, AT, D("0.5"), D("0.5"), D("0.5")),
    ev.DustBooked(KEY, AT, LegSide.LONG, D("-0.000000000000000001"), "REST"),
    ev.EntryMeasured(KEY, AT, timedelta(microseconds=1234567), D("99.99")),
    ev.ExitDispatched(KEY, AT, timedelta(microseconds=7)),
    ev.PositionSettled(KEY, AT, PositionStatus.OPEN, ""),
    ev.FundingRead(KEY, AT, LegSide.SHORT, AssetAmount("USDT", D("-1.5"))),
    ev.LegGone(KEY, AT, LegSide.LONG, D("0.25"), GoneCause.LIQUIDATED, "forced-1", D(99)),
    ev.InterestCharged(KEY, AT, D("0.0125")),
    ev.ExitResumed(KEY, AT, "LATE_FILL"),
    ev.EngineHalted(AT, "because"),
    ev.EngineResumed(AT, "again"),
    ev.BreakerTripped(AT, "BTCUSDT", "UNKNOWN"),
    ev.CommandAccepted(AT, "request", "hash", ("a", "b")),
    ev.BreakerReset(AT, "BTCUSDT", "looked at"),
    ev.DayOpened(AT, D("-12.5")),
    ev.GuardActed(AT, "basis_stop", "BTCUSDT", KEY, "close", "basis moved by 0.02"),
    ev.BaselineTaken(AT, POCKET, D("1.5"), "FIRST_TRADE"),
    ev.ReconciliationBroke(AT, POCKET, D("2.499"), D("1.499"), ("BTCUSDT",)),
    ev.ReconciliationHealed(AT, POCKET, D("2.499")),
    ev.StrategySwitched(AT, StrategyMode.AUTO, StrategyMode.MANUAL, "trust it"),
    ev.DecisionTaken(
        AT,
        StrategyMode.ADVISE,
        DecisionAction.ENTER,
        "TARGET",
        "BTCUSDT",
        "opportunity",
        7,
        "",
        D(1000),
        (Figure("net_apr", D("0.25")),),
        "ünïcode",
        inputs_of(decide(situation(make_offer()), StrategyPolicy())[0], "rules"),
    ),
    ev.StrategyRulesTaken(AT, "rules", StrategyPolicy()),
)


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: type(e).__name__)
def test_events_survive_text(event: ev.Event) -> None:
    """What is decoded is what was encoded."""
    kind, body = encode_event(event)
    assert decode_event(kind, VERSION, body) == event


def test_every_kind_of_event_is_tried() -> None:
    """The table above misses no kind."""
    assert {type(event) for event in EVENTS} == set(typing.get_args(ev.Event))


@pytest.mark.parametrize(
    ("kind", "version", "body"),
    [
        ("Nonsense", VERSION, "{}"),
        ("EngineHalted", VERSION + 1, '{"at":"2026-01-05T12:00:00+00:00","reason":"x"}'),
        ("EngineHalted", VERSION, '{"at":"2026-01-05T12:00:00","reason":"x"}'),
        ("EngineHalted", VERSION, '{"at":"2026-01-05T12:00:00+00:00","reason":1}'),
        ("EngineHalted", VERSION, '{"at":"2026-01-05T12:00:00+00:00","reason":"x","more":1}'),
        ("EngineHalted", VERSION, "[]"),
        ("EngineHalted", VERSION, "{"),
    ],
)
def test_rows_we_do_not_know_are_refused(kind: str, version: int, body: str) -> None:
    """A row of another kind, version or shape is an error, never a guess."""
    with pytest.raises(ValueError, match=r".+"):
        decode_event(kind, version, body)


def test_numbers_that_are_no_decimals_are_refused() -> None:
    """NaN, exponents and foreign digits do not come back from a journal."""
    kind, body = encode_event(EVENTS[11])
    for text in ("NaN", "1e3", "1_0", "١"):
        with pytest.raises(ValueError, match="not a decimal"):
            decode_event(kind, VERSION, body.replace('"99.99"', f'"{text}"'))


def started() -> Position:
    """Return a position with its lead order intended."""
    return fold(begin(ENTRY), INTENDED)


def facts(position: Position) -> tuple[object, ...]:
    """Return what must not depend on the order of observations."""
    record = position.orders[PLAN.client_order_id]
    return record.executed, record.net, record.state, position.quantity(LegSide.LONG)


SPLITS = [observed(q, closed=c) for q, c in (("0", False), ("0.3", False), ("0.8", False))]


def test_observations_join_in_any_order() -> None:
    """Permuted, repeated and late observations give the same position."""
    rows = [*SPLITS, observed("0.8", closed=True)]
    results = set()
    for order in itertools.permutations(rows + rows[1:2]):
        position = started()
        for event in order:
            position = fold(position, event)
        results.add(facts(position))
    assert results == {(D("0.8"), D("0.7992"), OrderState.ENDED, D("0.7992"))}


@pytest.mark.parametrize(
    "ended",
    [
        ev.OrderRejected(KEY, AT, PLAN.client_order_id, "X", retryable=False),
        ev.OrderNotSent(KEY, AT, PLAN.client_order_id),
        observed("0", closed=True),
    ],
)
def test_a_late_fill_counts_after_the_end(ended: ev.PositionEvent) -> None:
    """A terminal order takes no other state, but a fill that shows up later still counts."""
    position = fold(fold(started(), ended), observed("0.5", closed=True))
    assert position.quantity(LegSide.LONG) == D("0.4995")


def test_an_exit_crosses_a_settlement_in_either_order() -> None:
    """A close that is asked for while the entry settles is never lost."""
    settled = ev.PositionSettled(KEY, AT, PositionStatus.OPEN, "")
    close = ev.ExitRequested(KEY, AT, "CLOSE")
    for order in ((settled, close), (close, settled)):
        position = started()
        for event in order:
            position = fold(position, event)
        assert position.status is PositionStatus.CLOSING
        assert position.was_open


def test_a_second_close_changes_nothing() -> None:
    """Two closes are one exit, also after the end."""
    closing = fold(started(), ev.ExitRequested(KEY, AT, "FIRST"))
    assert fold(closing, ev.ExitRequested(KEY, AT, "SECOND")) is closing
    closed = fold(closing, ev.PositionSettled(KEY, AT, PositionStatus.CLOSED, ""))
    assert fold(closed, ev.ExitRequested(KEY, AT, "THIRD")) is closed
    assert fold(closed, ev.ReduceRequested(KEY, AT, D(1), D(0), D(0))) is closed


def test_an_order_is_intended_once() -> None:
    """A repeated intent keeps what is known of the order."""
    position = fold(started(), observed("0.5", closed=True))
    assert fold(position, INTENDED) is position


@given(st.lists(st.sampled_from(EVENTS[1:17]), max_size=12))
def test_any_history_folds_and_revisions_grow(history: list[ev.PositionEvent]) -> None:
    """No order of events breaks the fold, and each change has a larger revision."""
    position = started()
    for event in history:
        after = fold(position, event)
        assert after is position or after.revision > position.revision
        position = after


def test_events_without_an_intent_are_a_broken_journal() -> None:
    """A position that was never entered cannot have orders."""
    with pytest.raises(ValueError, match="before the intent"):
        fold_all([INTENDED])
    with pytest.raises(ValueError, match="without an intent"):
        fold(begin(ENTRY), observed("1", closed=True))
