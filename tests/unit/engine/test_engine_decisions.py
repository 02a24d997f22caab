"""Single decisions, without a venue: what an answer proves, what comes next, what is refused."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import (
    AlreadyExistsError,
    AuthError,
    FatalError,
    OutcomeUnknownError,
    PreconditionError,
    RejectedError,
    RetryableError,
    UnreachableError,
)
from services.engine import events as ev
from services.engine.entry import EntryFacts, exposure, next_entry_step, next_lead_plan
from services.engine.executor import ParallelExecutor
from services.engine.exit import next_exit_step, remaining, settle_exit
from services.engine.exposure_meter import ExposureMeter
from services.engine.instruments import Book, BookLevel, InstrumentKind, LegSide
from services.engine.orders import (
    OrderClass,
    OrderOutcome,
    OrderPlan,
    OrderSide,
)
from services.engine.placing import event_of_answer
from services.engine.policy import EngineLimits, EnginePolicy
from services.engine.position import Position, begin, fold
from services.engine.pretrade import Exposures, LegFacts, check_entry, check_pair
from services.engine.proposal import EntryWish, intent_of, propose
from services.engine.reduction import reduction_plan
from services.engine.resolver import Absence, OrderResolver
from services.engine.steps import BookDust, LegDone, Resolve, SendOrder, Settle, WorkDown
from services.engine.views import PositionStatus
from tests.support.engine_rig import make_rules
from tests.support.fake_venue import FakeVenue, Fault
from tests.support.virtual_clock import START, VirtualClock

D = Decimal
POLICY = EnginePolicy()
KEY = "p000000000000000"
SPOT = make_rules("spot", InstrumentKind.SPOT)
PERP = make_rules("perp", InstrumentKind.PERPETUAL)
FRESH = EntryFacts(timedelta(0))
BOOK = Book((BookLevel(D(100), D(50)),), (BookLevel(D("100.01"), D(50)),))
WISH = EntryWish(None, D(1), None, LegSide.LONG)
NOTHING_ON = Exposures(D(0), D(0), 0)


def leg_facts(leg: LegSide, **changes: object) -> LegFacts:
    """Return a leg against which nothing speaks."""
    rules = SPOT if leg is LegSide.LONG else PERP
    facts = LegFacts(leg, rules, BOOK, timedelta(0), D(10_000))
    return replace(facts, **changes)  # type: ignore[arg-type]  # test builder


def new_position(quantity: str = "1", policy: EnginePolicy = POLICY) -> Position:
    """Return a position whose intent is journaled and whose lead was not sent."""
    long, short = leg_facts(LegSide.LONG), leg_facts(LegSide.SHORT)
    proposal = propose(long, short, replace(WISH, quantity=D(quantity)), policy)
    return begin(intent_of(KEY, START, long, short, proposal, policy, ""))


def sent(
    position: Position, plan: OrderPlan, executed: str | None, *, closed: bool = True
) -> Position:
    """Return the position after an order; `executed` None leaves it without an answer."""
    position = fold(position, ev.OrderIntended(KEY, START, plan))
    if executed is None:
        return position
    quantity = D(executed)
    fee = SPOT.base_fee_ratio if plan.leg is LegSide.LONG and plan.side is OrderSide.BUY else D(0)
    outcome = OrderOutcome(plan.client_order_id, closed, quantity, quantity * (1 - fee), D(100))
    return fold(position, ev.OrderObserved(KEY, START, plan.leg, outcome))


def lead_sent(executed: str | None, *, closed: bool = True) -> Position:
    """Return a position whose lead came back with this."""
    position = new_position()
    plan = next_lead_plan(position)
    assert plan is not None
    return sent(position, plan, executed, closed=closed)


def hedge_of(position: Position, facts: EntryFacts = FRESH) -> OrderPlan:
    """Return the hedge that is decided next."""
    step = next_entry_step(position, facts, POLICY)
    assert isinstance(step, SendOrder)
    assert step.plan.order_class is OrderClass.HEDGE
    return step.plan


def test_the_lead_goes_first_with_a_worst_price() -> None:
    """A fresh intent sends the lead, immediate-or-cancel, bounded."""
    step = next_entry_step(new_position(), FRESH, POLICY)
    assert isinstance(step, SendOrder)
    plan = step.plan
    assert (plan.order_class, plan.side, plan.quantity) == (OrderClass.ENTRY, OrderSide.BUY, D(1))
    assert plan.worst_price == D("100.21")
    assert not plan.reduce_only


def test_a_lead_without_an_answer_is_asked_about() -> None:
    """An unknown lead is neither hedged nor sent again."""
    position = lead_sent(None)
    assert next_entry_step(position, FRESH, POLICY) == Resolve((f"{KEY}le0000",))


def test_a_confirmed_part_of_an_open_lead_is_hedged() -> None:
    """Fills are hedged while the lead is still open; only what is confirmed counts."""
    position = lead_sent("0.5", closed=False)
    assert hedge_of(position).quantity == D("0.499")
    position = sent(position, hedge_of(position), "0.499")
    assert next_entry_step(position, FRESH, POLICY) == Resolve((f"{KEY}le0000",))


def test_a_hedge_in_doubt_stops_everything() -> None:
    """Past every budget an unknown hedge is still neither repeated nor unwound."""
    position = lead_sent("1")
    position = sent(position, hedge_of(position), None)
    late = EntryFacts(timedelta(hours=1))
    assert next_entry_step(position, late, POLICY) == Resolve((f"{KEY}sh0000",))


def test_past_the_budget_the_rest_is_unwound() -> None:
    """Time alone ends the hedging: what is left goes back on the lead."""
    position = lead_sent("1")
    position = sent(position, hedge_of(position), "0.4")
    step = next_entry_step(position, EntryFacts(timedelta(seconds=2)), POLICY)
    assert isinstance(step, WorkDown)
    assert (step.leg, step.quantity) == (LegSide.LONG, D("0.599"))


def test_the_first_hedge_goes_whatever_the_time() -> None:
    """A lead found filled after the budget is hedged once before it is unwound."""
    assert hedge_of(lead_sent("1"), EntryFacts(timedelta(hours=1))).quantity == D("0.999")


def test_a_hedge_never_leaves_what_the_intent_allows() -> None:
    """Settings that were widened since do not widen a journaled bound."""
    wide = replace(POLICY, hedge_bound_ratios=(D("0.5"),))
    step = next_entry_step(lead_sent("1"), FRESH, wide)
    assert isinstance(step, SendOrder)
    assert step.plan.worst_price == D("99.00")


def test_a_matched_entry_settles_open() -> None:
    """A residual under the larger lot is matched."""
    position = lead_sent("1")
    position = sent(position, hedge_of(position), "0.999")
    assert next_entry_step(position, FRESH, POLICY) == Settle(PositionStatus.OPEN, "")


def test_no_slice_follows_when_nothing_may_be_opened() -> None:
    """A halt between two slices ends the entry with what is on."""
    policy = replace(POLICY, max_slice_notional=D(40))
    position = new_position("1", policy)
    plan = next_lead_plan(position)
    assert plan is not None
    assert plan.quantity == D("0.399")
    position = sent(position, plan, "0.399")
    position = sent(position, hedge_of(position), "0.398")
    assert isinstance(next_entry_step(position, FRESH, policy), SendOrder)
    halted = EntryFacts(timedelta(0), no_more_slices=True)
    assert next_entry_step(position, halted, policy) == Settle(PositionStatus.OPEN, "")


@given(st.integers(0, 1000), st.lists(st.integers(0, 1000), max_size=6))
def test_an_entry_ends_matched_whatever_fills(lead: int, answers: list[int]) -> None:
    """For every sequence of fills the entry ends, matched or flat, and never over-hedged."""
    position = lead_sent(str(D(lead) / 1000))
    ratios = iter(answers)
    for _ in range(60):
        step = next_entry_step(position, FRESH, POLICY)
        if isinstance(step, Settle):
            break
        if isinstance(step, BookDust):
            dust = ev.DustBooked(KEY, START, step.leg, step.quantity, step.reason)
            position = fold(position, dust)
            continue
        plan = step.plan if isinstance(step, SendOrder) else unwind_of(position, step)
        filled = plan.quantity * next(ratios, 1000) / 1000
        position = sent(position, plan, str(filled - filled % D("0.001")))
        assert exposure(position) >= 0
    else:
        pytest.fail("the entry does not end")
    assert abs(position.residual) < position.larger_lot + abs(position.total_dust)
    assert abs(position.total_dust) * 100 < 6


def unwind_of(position: Position, step: object) -> OrderPlan:
    """Return the unwind order of a step."""
    assert isinstance(step, WorkDown)
    return reduction_plan(position, step, OrderClass.UNWIND, None, POLICY)


def open_position() -> Position:
    """Return an open, matched position whose exit was asked for."""
    position = lead_sent("1")
    position = sent(position, hedge_of(position), "0.999")
    position = fold(position, ev.PositionSettled(KEY, START, PositionStatus.OPEN, ""))
    return fold(position, ev.ExitRequested(KEY, START, "CLOSE"))


def test_each_leg_exits_its_own_ledger_quantity() -> None:
    """Both legs are decided apart, from what the ledger has, in whole lots."""
    position = open_position()
    for leg, quantity in ((LegSide.LONG, D("0.999")), (LegSide.SHORT, D("0.999"))):
        step = next_exit_step(position, leg, POLICY)
        assert isinstance(step, WorkDown)
        assert (step.leg, step.quantity, step.delay) == (leg, quantity, timedelta(0))


def test_doubt_on_one_leg_does_not_hold_the_other() -> None:
    """An unknown exit of one leg is asked about while the other leg goes on."""
    position = open_position()
    step = next_exit_step(position, LegSide.LONG, POLICY)
    assert isinstance(step, WorkDown)
    plan = reduction_plan(position, step, OrderClass.EXIT, D(100), POLICY)
    position = sent(position, plan, None)
    assert next_exit_step(position, LegSide.LONG, POLICY) == Resolve((plan.client_order_id,))
    assert isinstance(next_exit_step(position, LegSide.SHORT, POLICY), WorkDown)
    position = sent(position, plan, "0.999")
    assert next_exit_step(position, LegSide.LONG, POLICY) == LegDone()
    assert remaining(position, LegSide.LONG) == 0
    assert settle_exit(position) == Settle(PositionStatus.CLOSED, "CLOSE")


PLAN = OrderPlan("pid", SPOT.ref, LegSide.LONG, OrderClass.ENTRY, OrderSide.BUY, D(1), D(1))


@pytest.mark.parametrize(
    ("answer", "kind", "retryable"),
    [
        (OrderOutcome("pid", True, D(1), D(1)), ev.OrderObserved, None),
        (OrderOutcome("other", True, D(1), D(1)), ev.OrderUnknown, None),
        (OrderOutcome("pid", True, D(2), D(2)), ev.OrderUnknown, None),
        (OrderOutcome("pid", True, D(1), D(2)), ev.OrderUnknown, None),
        (RejectedError("no"), ev.OrderRejected, False),
        (PreconditionError("no"), ev.OrderRejected, False),
        (AuthError("no"), ev.OrderRejected, False),
        (RetryableError("later"), ev.OrderRejected, True),
        (UnreachableError("connector says so"), ev.OrderRejected, True),
        (UnreachableError("channel", reason="SERVICE_STOPPING"), ev.OrderUnknown, None),
        (AlreadyExistsError("taken"), ev.OrderUnknown, None),
        (OutcomeUnknownError("?", client_order_id="pid"), ev.OrderUnknown, None),
        (FatalError("bug"), ev.OrderUnknown, None),
        (TimeoutError(), ev.OrderUnknown, None),
        (RuntimeError("ours"), ev.OrderUnknown, None),
    ],
)
def test_what_an_answer_proves(
    answer: OrderOutcome | Exception, kind: type[object], *, retryable: bool | None
) -> None:
    """Only an allow-list of answers proves that nothing was executed; all else is unknown."""
    event = event_of_answer(KEY, START, PLAN, answer)
    assert type(event) is kind
    if isinstance(event, ev.OrderRejected):
        assert event.retryable is retryable


def test_exposure_is_timed_between_fill_and_hedge() -> None:
    """Only stretches at or above the larger lot count, and they add up."""
    meter = ExposureMeter(D("0.01"), D(100))
    for now, quantity in ((0.0, "0.009"), (1.0, "0.5"), (1.5, "0.2"), (2.0, "0"), (5.0, "0.01")):
        meter.observe(now, D(quantity))
    assert meter.stretch(5.25) == timedelta(seconds=0.25)
    assert meter.total(5.25) == timedelta(seconds=1.25)
    assert meter.max_notional == 50


async def test_absence_is_proof_only_after_the_fence() -> None:
    """Not found before the fence of a failed send proves nothing."""
    clock = VirtualClock()
    venue = FakeVenue("spot", InstrumentKind.SPOT, clock, SPOT, fence=3.0)
    resolver = OrderResolver({"spot": venue}, clock, POLICY)
    await clock.pass_time(10)
    resolver.send_failed("mine", clock.monotonic())
    found: list[object] = []

    async def ask() -> None:
        found.append(await resolver.ask(SPOT, "mine"))
        await clock.sleep(resolver.wait_before("spot", "mine", 10).total_seconds())
        found.append(resolver.wait_before("spot", "mine", 30))
        await clock.sleep(2.5)
        found.append(await resolver.ask(SPOT, "mine"))
        found.append(await resolver.ask(SPOT, "from an earlier run"))

    task = asyncio.get_running_loop().create_task(ask())
    await clock.run_until(task.done)
    assert found == [Absence.TOO_EARLY, timedelta(seconds=1), Absence.PROVEN, Absence.PROVEN]


async def test_orders_leave_before_any_is_awaited() -> None:
    """One slow and one failing order neither hold back nor spoil the others."""
    clock = VirtualClock()
    venues = {
        name: FakeVenue(name, InstrumentKind.SPOT, clock, make_rules(name, InstrumentKind.SPOT))
        for name in ("a", "b", "c")
    }
    venues["a"].script.append(Fault(latency=5))
    venues["b"].script.append(Fault(reject=True))
    executor = ParallelExecutor(venues, clock, timedelta(seconds=30))
    plans = [
        replace(PLAN, client_order_id=name, instrument=venue.instrument.ref, worst_price=None)
        for name, venue in venues.items()
    ]
    dispatch = executor.dispatch(plans)
    await dispatch.started()
    assert dispatch.skew == timedelta(0)
    ends: dict[str, float] = {}

    async def wait(name: str) -> None:
        result = await dispatch.result(name)
        ends[name] = result.ended_at
        assert isinstance(result.answer, RejectedError) == (name == "b")

    tasks = [asyncio.get_running_loop().create_task(wait(name)) for name in venues]
    await clock.run_until(lambda: all(task.done() for task in tasks))
    for task in tasks:
        task.result()
    assert ends == pytest.approx({"a": 5.0, "b": 0.01, "c": 0.01})


@pytest.mark.parametrize(
    ("long", "short", "reason"),
    [
        ({"rules": replace(SPOT, trading=False)}, {}, "NOT_TRADING"),
        ({"book_age": timedelta(minutes=1)}, {}, "BOOK_STALE"),
        ({"rules": replace(SPOT, min_notional=D(200))}, {}, "NOTIONAL_TOO_SMALL"),
        ({}, {"rules": replace(PERP, min_quantity=D(2))}, "QUANTITY_TOO_SMALL"),
        ({"free_quote": D(100)}, {}, "BALANCE_INSUFFICIENT"),
        ({}, {"free_quote": D(20)}, "BALANCE_INSUFFICIENT"),
        ({}, {"held": D(-1)}, "FOREIGN_POSITION"),
        ({}, {"one_way": False}, "POSITION_MODE"),
        ({}, {"book": Book((BookLevel(D(100), D("0.5")),), BOOK.asks)}, "DEPTH_INSUFFICIENT"),
        ({"rules": replace(SPOT, use_margin=True)}, {}, "MARGIN_NOT_ALLOWED"),
        ({}, {"rules": replace(PERP, min_notional=D("99.95"))}, "HEDGE_TOO_SMALL"),
    ],
)
def test_each_check_refuses_alone(
    long: dict[str, object], short: dict[str, object], reason: str
) -> None:
    """Every check fails on its own fact, and on the right leg."""
    facts = leg_facts(LegSide.LONG, **long), leg_facts(LegSide.SHORT, **short)
    proposal = propose(*facts, WISH, POLICY)
    failures = check_entry(*facts, proposal, EngineLimits(), NOTHING_ON)
    assert reason in {failure.reason for failure in failures}
    assert (
        check_entry(
            leg_facts(LegSide.LONG),
            leg_facts(LegSide.SHORT),
            proposal,
            EngineLimits(),
            NOTHING_ON,
        )
        == ()
    )


def test_a_notional_must_do_by_the_lower_of_both_prices() -> None:
    """The venue may judge a buy by its limit or by the book; either must be enough."""
    long, short = leg_facts(LegSide.LONG), leg_facts(LegSide.SHORT)
    proposal = propose(long, short, WISH, POLICY)
    reference, worst = proposal.references[LegSide.LONG], proposal.worst_prices[LegSide.LONG]
    assert reference < worst
    between = proposal.quantity * (reference + worst) / 2
    dear = replace(long, rules=replace(SPOT, min_notional=between))
    failures = check_entry(dear, short, proposal, EngineLimits(), NOTHING_ON)
    assert [(f.reason, f.leg) for f in failures] == [("NOTIONAL_TOO_SMALL", LegSide.LONG)]


def test_a_hedge_that_pays_its_fee_in_base_may_buy_that_much_more() -> None:
    """The series is allowed the gross of the whole lead, in whole lots."""
    long, short = leg_facts(LegSide.LONG), leg_facts(LegSide.SHORT)
    wish = replace(WISH, quantity=D(5), lead_leg=LegSide.SHORT)
    proposal = propose(long, short, wish, POLICY)
    allowed = intent_of(KEY, START, long, short, proposal, POLICY, "").hedge
    assert (allowed.leg, allowed.largest_quantity) == (LegSide.LONG, D("5.005"))


def test_pairs_that_cannot_be_priced_are_refused_first() -> None:
    """Empty and crossed books, the same instrument twice, and different assets."""
    crossed = Book((BookLevel(D(101), D(1)),), (BookLevel(D(100), D(1)),))
    long = leg_facts(LegSide.LONG, book=crossed)
    short = leg_facts(LegSide.SHORT, book=Book((), ()), rules=replace(PERP, base_asset="ETH"))
    reasons = [failure.reason for failure in check_pair(long, short)]
    assert reasons == ["LEGS_ASSETS_DIFFER", "BOOK_UNUSABLE", "BOOK_UNUSABLE"]
    same = check_pair(leg_facts(LegSide.LONG), replace(leg_facts(LegSide.SHORT), rules=SPOT))
    assert [failure.reason for failure in same] == ["LEGS_SAME_INSTRUMENT"]
