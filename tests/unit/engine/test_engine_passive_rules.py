"""What a quoting lead does next, as a table over what rests and what the books say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from services.engine import events as ev
from services.engine.entry import next_lead_plan
from services.engine.instruments import Book, BookLevel, InstrumentKind, LegSide
from services.engine.orders import OrderOutcome
from services.engine.passive import QuoteFacts, next_quote_step
from services.engine.policy import EnginePolicy
from services.engine.position import Position, begin, fold
from services.engine.pretrade import LegFacts
from services.engine.proposal import EntryWish, intent_of, propose
from services.engine.steps import SendOrder, Watch, Withdraw
from tests.support.engine_rig import make_rules
from tests.support.virtual_clock import START

D = Decimal
KEY = "p000000000000000"
LEAD_KEY = f"{KEY}le0000"
POLICY = EnginePolicy(passive_entry=True)
SPOT = make_rules("spot", InstrumentKind.SPOT)
PERP = make_rules("perp", InstrumentKind.PERPETUAL)
BOOK = Book((BookLevel(D(100), D(50)),), (BookLevel(D("100.01"), D(50)),))
SEEN = QuoteFacts(
    best=D(100),
    hedge_touch=D(100),
    view_age=timedelta(seconds=0.25),
    resting=LEAD_KEY,
    since_quote=timedelta(seconds=5),
    quoted_for=timedelta(seconds=5),
)


def quoted(executed: str | None = None) -> Position:
    """Return a position whose first quote rests, or closed with this much executed."""
    long = LegFacts(LegSide.LONG, SPOT, BOOK, timedelta(0), D(10_000))
    short = LegFacts(LegSide.SHORT, PERP, BOOK, timedelta(0), D(10_000))
    proposal = propose(long, short, EntryWish(None, D(1), None, LegSide.LONG), POLICY)
    position = begin(intent_of(KEY, START, long, short, proposal, POLICY, ""))
    plan = next_lead_plan(position)
    assert plan is not None
    assert (plan.worst_price, plan.post_only) == (D(100), True)
    position = fold(position, ev.OrderIntended(KEY, START, plan))
    if executed is None:
        return position
    outcome = OrderOutcome(LEAD_KEY, True, D(executed), D(executed))
    return fold(position, ev.OrderObserved(KEY, START, LegSide.LONG, outcome))


@pytest.mark.parametrize(
    ("changes", "may_open", "step"),
    [
        ({}, True, Watch(timedelta(seconds=0.75))),
        ({"best": D("100.05")}, True, Withdraw(LEAD_KEY)),
        ({"best": D("99.95")}, True, Withdraw(LEAD_KEY)),
        # The rate is bounded: within an interval the quote stays where it is.
        (
            {"best": D("100.05"), "since_quote": timedelta(seconds=0.5)},
            True,
            Watch(timedelta(seconds=0.75)),
        ),
        ({"hedge_touch": D("99.7"), "since_quote": timedelta(0)}, True, Withdraw(LEAD_KEY)),
        ({"hedge_touch": None}, True, Withdraw(LEAD_KEY)),
        ({"best": None}, True, Withdraw(LEAD_KEY)),
        ({"view_age": timedelta(seconds=1)}, True, Watch(timedelta(0))),
        ({"view_age": None}, True, Watch(timedelta(0))),
        ({"quoted_for": timedelta(seconds=60)}, True, Withdraw(LEAD_KEY)),
        ({"resting": ""}, True, Withdraw(LEAD_KEY)),
        ({}, False, Withdraw(LEAD_KEY)),
    ],
)
def test_a_resting_quote_stays_or_is_taken_back(
    changes: dict[str, object], step: object, *, may_open: bool
) -> None:
    """It is never replaced in one step: the next one waits until this one has ended."""
    facts = replace(SEEN, **changes)  # type: ignore[arg-type]  # test builder
    assert next_quote_step(quoted(), facts, POLICY, may_open=may_open) == step


@pytest.mark.parametrize(
    ("executed", "changes", "price", "quantity"),
    [
        ("0", {}, "100", "1"),
        ("0.25", {"best": D("100.05")}, "100.05", "0.75"),
        # The entry's own bound holds, however far the best price has run.
        ("0.25", {"best": D(101)}, "100.21", "0.75"),
    ],
)
def test_the_next_quote_asks_for_what_is_left(
    executed: str, changes: dict[str, object], price: str, quantity: str
) -> None:
    """At the best price of its own side, post-only, under an id of its own."""
    facts = replace(SEEN, resting="", **changes)  # type: ignore[arg-type]  # test builder
    step = next_quote_step(quoted(executed), facts, POLICY, may_open=True)
    assert isinstance(step, SendOrder)
    plan = step.plan
    assert (plan.worst_price, plan.quantity) == (D(price), D(quantity))
    assert (plan.post_only, plan.client_order_id) == (True, f"{KEY}le0001")


@pytest.mark.parametrize(
    ("executed", "changes", "may_open", "is_over"),
    [
        ("0", {"since_quote": timedelta(seconds=0.5)}, True, False),
        ("0", {"hedge_touch": D("99.7")}, True, False),
        ("0", {"quoted_for": timedelta(seconds=60)}, True, True),
        ("0", {}, False, True),
        ("0.99", {}, True, True),
    ],
)
def test_without_a_quote_it_waits_or_is_over(
    executed: str, changes: dict[str, object], *, may_open: bool, is_over: bool
) -> None:
    """Too early and too dear wait; out of time, stopped and below the minimum end it."""
    facts = replace(SEEN, resting="", **changes)  # type: ignore[arg-type]  # test builder
    step = next_quote_step(quoted(executed), facts, POLICY, may_open=may_open)
    assert step == (None if is_over else Watch(timedelta(seconds=0.75)))
