"""Entry while calls are out: what is hedged, what is waited for, what is asked, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.engine import events as ev
from services.engine.entry import EntryFacts, next_entry_step, next_lead_plan
from services.engine.instruments import Book, BookLevel, InstrumentKind, LegSide
from services.engine.orders import OrderClass, OrderOutcome, OrderPlan, OrderSide
from services.engine.policy import EnginePolicy
from services.engine.position import Position, begin, fold
from services.engine.pretrade import LegFacts
from services.engine.proposal import EntryWish, intent_of, propose
from services.engine.reduction import reduction_plan
from services.engine.steps import BookDust, EntryStep, Resolve, SendOrder, Settle, Wait, WorkDown
from tests.support.engine_rig import make_rules
from tests.support.virtual_clock import START

D = Decimal
KEY = "p000000000000000"
LEAD, HEDGE = LegSide.LONG, LegSide.SHORT
POLICY = EnginePolicy()
SPOT = make_rules("spot", InstrumentKind.SPOT)
PERP = make_rules("perp", InstrumentKind.PERPETUAL)
BOOK = Book((BookLevel(D(100), D(50)),), (BookLevel(D("100.01"), D(50)),))
LEAD_KEY, HEDGE_KEY, UNWIND_KEY = f"{KEY}le0000", f"{KEY}sh0000", f"{KEY}lu0000"


def lead_out(quantity: str = "1", policy: EnginePolicy = POLICY, lead: LegSide = LEAD) -> Position:
    """Return a position whose lead has left and was not answered."""
    long = LegFacts(LEAD, SPOT, BOOK, timedelta(0), D(10_000))
    short = LegFacts(HEDGE, PERP, BOOK, timedelta(0), D(10_000))
    proposal = propose(long, short, EntryWish(None, D(quantity), None, lead), policy)
    position = begin(intent_of(KEY, START, long, short, proposal, policy, ""))
    plan = next_lead_plan(position)
    assert plan is not None
    return fold(position, ev.OrderIntended(KEY, START, plan))


def told(position: Position, key: str, executed: str, *, closed: bool = False) -> Position:
    """Return the position after its venue told how far an order has filled."""
    plan = position.orders[key].plan
    quantity = D(executed)
    fee = SPOT.base_fee_ratio if plan.leg is LEAD and plan.side is OrderSide.BUY else D(0)
    outcome = OrderOutcome(key, closed, quantity, quantity * (1 - fee), D(100))
    return fold(position, ev.OrderObserved(KEY, START, plan.leg, outcome))


def sent(position: Position, plan: OrderPlan) -> Position:
    """Return the position after an order has left."""
    return fold(position, ev.OrderIntended(KEY, START, plan))


def step_of(position: Position, *in_flight: LegSide, seconds: float = 0) -> EntryStep:
    """Return what is decided while these legs have a call out."""
    facts = EntryFacts(timedelta(seconds=seconds), in_flight=frozenset(in_flight))
    return next_entry_step(position, facts, POLICY)


def hedge_of(step: EntryStep) -> OrderPlan:
    """Return the hedge of a step."""
    assert isinstance(step, SendOrder)
    assert step.plan.order_class is OrderClass.HEDGE
    return step.plan


@pytest.mark.parametrize(
    ("executed", "hedge"),
    [
        ("0", None),
        ("0.02", None),
        ("0.049", None),
        # Five in quote is the least the perpetual's venue takes.
        ("0.051", "0.05"),
        ("0.3", "0.299"),
        ("1", "0.999"),
    ],
)
def test_a_fill_of_an_open_lead_is_hedged_once_its_venue_takes_it(
    executed: str, hedge: str | None
) -> None:
    """The net of the fill, in the hedge's lots; below its minimum it is held."""
    step = step_of(told(lead_out(), LEAD_KEY, executed), LEAD)
    if hedge is None:
        assert step == Wait()
    else:
        assert hedge_of(step).quantity == D(hedge)


def test_one_hedge_is_in_flight_and_the_next_takes_what_came_meanwhile() -> None:
    """While a hedge is out nothing else leaves; its answer frees the next one."""
    position = told(lead_out(), LEAD_KEY, "0.3")
    position = sent(position, hedge_of(step_of(position, LEAD)))
    position = told(position, LEAD_KEY, "0.8")
    assert step_of(position, LEAD, HEDGE) == Wait()
    # Its venue told of it first: the call is still out, so it is still waited for.
    position = told(position, HEDGE_KEY, "0.299", closed=True)
    assert step_of(position, LEAD, HEDGE) == Wait()
    assert hedge_of(step_of(position, LEAD)).quantity == D("0.5")


def test_every_fill_has_attempts_of_its_own() -> None:
    """Hedges that filled whole use up neither attempts nor the narrow bound."""
    position = lead_out()
    first = None
    for count in range(1, 10):
        position = told(position, LEAD_KEY, str(D(count) / 10))
        plan = hedge_of(step_of(position, LEAD, seconds=60))
        first = first or plan.worst_price
        assert plan.worst_price == first
        position = told(sent(position, plan), plan.client_order_id, str(plan.quantity), closed=True)
    assert len(position.of(HEDGE)) > POLICY.hedge_attempts


@pytest.mark.parametrize(
    ("in_flight", "step"),
    [
        ((), Resolve((LEAD_KEY, HEDGE_KEY))),
        ((LEAD,), Resolve((HEDGE_KEY,))),
        ((HEDGE,), Wait()),
        ((LEAD, HEDGE), Wait()),
    ],
)
def test_a_hedge_without_an_answer_stops_everything(
    in_flight: tuple[LegSide, ...], step: EntryStep
) -> None:
    """It is asked about once its call is over, and neither repeated nor unwound before."""
    position = told(lead_out(), LEAD_KEY, "0.5")
    position = sent(position, hedge_of(step_of(position, LEAD)))
    assert step_of(position, *in_flight, seconds=3600) == step


def test_an_unwind_without_an_answer_stops_everything() -> None:
    """While it is out it is waited for, then asked about; no hedge races it."""
    position = told(lead_out(), LEAD_KEY, "1", closed=True)
    plan = hedge_of(step_of(position))
    position = told(sent(position, plan), HEDGE_KEY, "0.2", closed=True)
    step = step_of(position, seconds=10)
    assert isinstance(step, WorkDown)
    plan = reduction_plan(position, step, OrderClass.UNWIND, D(100), POLICY)
    position = sent(position, plan)
    assert step_of(position, LEAD) == Wait()
    assert step_of(position) == Resolve((UNWIND_KEY,))


def test_what_an_unwind_took_beyond_zero_is_not_taken_off_the_hedge() -> None:
    """An account that pays fees in another coin gets the whole of a buy that was grossed up."""
    position = lead_out(lead=LegSide.SHORT)
    key = f"{KEY}se0000"
    position = told(position, key, "1", closed=True)
    plan = hedge_of(step_of(position))
    position = sent(position, plan)
    rejected = ev.OrderRejected(KEY, START, plan.client_order_id, "NO", retryable=False)
    position = fold(position, rejected)
    step = step_of(position)
    assert isinstance(step, WorkDown)
    plan = reduction_plan(position, step, OrderClass.UNWIND, D(100), POLICY)
    plan = replace(plan, quantity=D("1.002"))
    position = told(sent(position, plan), plan.client_order_id, "1.002", closed=True)
    beyond = BookDust(LegSide.SHORT, D("0.002"), "BEYOND_ZERO")
    assert step_of(position) == beyond


def test_nothing_settles_while_a_call_is_out() -> None:
    """Its venue told the end of the lead, but its answer may still tell more."""
    position = told(lead_out(), LEAD_KEY, "0", closed=True)
    assert step_of(position, LEAD) == Wait()
    assert isinstance(step_of(position), Settle)


@pytest.mark.parametrize(
    ("budget", "seconds", "unwinds"),
    [(None, 1, False), (None, 2, True), ("60", 1, False), ("59", 1, True)],
)
def test_top_ups_go_on_within_the_budget_of_time_and_notional(
    budget: str | None, seconds: int, *, unwinds: bool
) -> None:
    """Past either, what is naked goes back on the lead; 0.599 of it at 100.01 here."""
    policy = replace(POLICY, unhedged_notional_budget=None if budget is None else D(budget))
    position = told(lead_out(), LEAD_KEY, "1", closed=True)
    plan = hedge_of(step_of(position))
    position = told(sent(position, plan), HEDGE_KEY, "0.4", closed=True)
    step = next_entry_step(position, EntryFacts(timedelta(seconds=seconds)), policy)
    assert isinstance(step, WorkDown if unwinds else SendOrder)


def test_a_slice_is_no_larger_than_what_may_be_naked() -> None:
    """A slice may fill whole before its hedge leaves."""
    position = lead_out(policy=replace(POLICY, unhedged_notional_budget=D(30)))
    assert position.orders[LEAD_KEY].plan.quantity == D("0.299")


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=12), st.lists(st.integers(0, 1000)))
def test_streamed_hedges_never_exceed_the_fills_nor_the_allowance(
    fills: list[int], answers: list[int]
) -> None:
    """Whatever order fills and answers come in, hedges follow confirmed net fills."""
    position = lead_out()
    ratios = iter(answers)
    for fill in fills:
        position = told(position, LEAD_KEY, str(D(fill) / 1000))
        step = step_of(position, LEAD)
        if isinstance(step, SendOrder):
            plan = hedge_of(step)
            position = sent(position, plan)
            filled = plan.quantity * next(ratios, 1000) / 1000
            filled -= filled % D("0.001")
            position = told(position, plan.client_order_id, str(filled), closed=True)
        hedged = -position.quantity(HEDGE)
        assert hedged <= position.quantity(LEAD)
        assert hedged <= position.intent.hedge.largest_quantity
