"""What the strategy decides, rule by rule: entries, sizes, exits, reductions, rotation."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from services.engine.follower_offer import Offer
from services.engine.strategy_entry import judge_entry
from services.engine.strategy_facts import Held, Quoted, Situation
from services.engine.strategy_holding import judge_holding
from services.engine.strategy_plan import decide
from services.engine.strategy_policy import StrategyPolicy
from services.engine.strategy_words import DecisionAction, StrategyMode
from services.engine.views import PositionStatus
from tests.support.strategy_cases import make_held, make_offer, ref, situation
from tests.support.virtual_clock import START

D = Decimal
POLICY = StrategyPolicy()
ENTER, HOLD = DecisionAction.ENTER, DecisionAction.HOLD
REDUCE, EXIT, PASS = DecisionAction.REDUCE, DecisionAction.EXIT, DecisionAction.PASS
HOUR = timedelta(hours=1)
OTHER = make_held("p9", "ETHUSDT")
TURNED = make_offer("two", long_leg=ref("perp"), short_leg=ref("spot"))


@pytest.mark.parametrize(
    ("offer", "facts", "reason"),
    [
        (make_offer(net_apr=D("0.0999")), situation(), "NET_APR_LOW"),
        (make_offer(current_apr=None), situation(), "CURRENT_APR_UNKNOWN"),
        (make_offer(current_apr=D(0)), situation(), "CARRY_LOW"),
        (make_offer(gross_apr=D("0.02")), situation(), "CARRY_LOW"),
        # Ten times the cost of getting out is due at once, the carry within a week.
        (make_offer(round_trip_cost_ratio=D("0.02")), situation(), "CARRY_BELOW_COST"),
        (make_offer(caveats=frozenset({"BOOK_STALE"})), situation(), "CAVEAT_BOOK_STALE"),
        (make_offer(basis_ratio=D("-0.03")), situation(), "BASIS_WIDE"),
        (make_offer(capacity_notional=None), situation(), "CAPACITY_UNKNOWN"),
        (make_offer(capacity_notional=D(99)), situation(), "CAPACITY"),
        (make_offer(short_leg=ref("spot")), situation(), "LEGS_INVALID"),
        (make_offer(short_leg=ref("perp", "ETHUSDT")), situation(), "LEGS_INVALID"),
        (make_offer(), situation(TURNED), "CROSSED"),
        (make_offer(), situation(taken=frozenset({("one", 7)})), "ALREADY_TAKEN"),
        (make_offer(), situation(held=(make_held(is_own=False),)), "INSTRUMENT_IN_USE"),
        (make_offer(), situation(cooldowns={"BTCUSDT": START + HOUR}), "COOLDOWN"),
        (make_offer(), situation(entries_problem="ENGINE_HALTED"), "ENGINE_HALTED"),
        (make_offer(), situation(held=(OTHER,) * 10), "POSITIONS_FULL"),
        (
            make_offer(),
            situation(held=(make_held("p9", "ETHUSDT", notional=D(19_960)),)),
            "TOTAL_CAP",
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_first_rule_against_an_entry_names_it(offer: Offer, facts: Situation, reason: str) -> None:
    """Nothing is entered that one rule refuses, and the decision names the rule."""
    decision = judge_entry(Quoted(offer), facts, POLICY)
    assert (decision.action, decision.reason, decision.notional) == (PASS, reason, None)


@pytest.mark.parametrize("problem", ["STREAM_DOWN", "SUPERSEDED", "WITHDRAWN", "EXPIRED"])
def test_offers_that_do_not_stand_are_not_entered(problem: str) -> None:
    """A stale, superseded or withdrawn opportunity is passed however good it looks."""
    decision = judge_entry(Quoted(make_offer(), problem), situation(), POLICY)
    assert (decision.action, decision.reason) == (PASS, problem)


@pytest.mark.parametrize(
    ("offer", "facts", "notional", "bound"),
    [
        (make_offer(), situation(), "1000", "TARGET"),
        (make_offer(capacity_notional=D(600)), situation(), "300", "CAPACITY"),
        (
            make_offer(),
            situation(held=(make_held("p9", "ETHUSDT", notional=D(19_400)),)),
            "600",
            "TOTAL_CAP",
        ),
        (
            make_offer(long_leg=replace(ref("spot"), exchange="perp")),
            situation(held=(make_held("p9", "ETHUSDT", notional=D(19_400)),)),
            "300",
            "VENUE_CAP",
        ),
        (
            make_offer(long_leg=ref("perp"), short_leg=ref("perq")),
            situation(
                held=(
                    make_held(
                        "p9",
                        "ETHUSDT",
                        notional=D(9_800),
                        long_leg=ref("perp", "ETHUSDT"),
                        short_leg=ref("perp", "ETHUSDT"),
                    ),
                )
            ),
            "400",
            "VENUE_CAP",
        ),
        (
            make_offer(),
            situation(
                held=(make_held(notional=D(4_900), long_leg=ref("perq"), short_leg=ref("perr")),)
            ),
            "100",
            "SYMBOL_CAP",
        ),
    ],
)
def test_size_is_the_smallest_bound(
    offer: Offer, facts: Situation, notional: str, bound: str
) -> None:
    """Target, capacity and every cap bound the notional of one leg; the smallest decides."""
    decision = judge_entry(Quoted(offer), facts, POLICY)
    assert (decision.action, decision.reason) == (ENTER, bound)
    assert decision.notional == D(notional)


@pytest.mark.parametrize(
    ("offer", "changes", "action", "reason"),
    [
        (make_offer(), {}, HOLD, "CARRY"),
        # Between both bounds nothing is entered and nothing is left.
        (make_offer(net_apr=D("0.01"), gross_apr=D("0.11")), {}, HOLD, "CARRY"),
        (make_offer(gross_apr=D("0.0299")), {}, EXIT, "CARRY_LOW"),
        # 4 % a year over a week is 0.077 %, less than the 0.1 % of getting out.
        (make_offer(gross_apr=D("0.04")), {}, EXIT, "CARRY_BELOW_COST"),
        (make_offer(), {"flipped_for": {"p1": HOUR / 3}}, HOLD, "FUNDING_FLIPPING"),
        (make_offer(), {"flipped_for": {"p1": HOUR}}, EXIT, "FUNDING_FLIPPED"),
        (Quoted(make_offer(gross_apr=D(-1)), "EXPIRED"), {}, HOLD, "NO_EVIDENCE"),
        (make_offer(gross_apr=D(-1)), {"is_whole": False}, HOLD, "NO_EVIDENCE"),
        (make_offer("x", "ETHUSDT"), {"missing_for": {"p1": HOUR / 2}}, HOLD, "OFFER_MISSING"),
        (make_offer("x", "ETHUSDT"), {"missing_for": {"p1": HOUR}}, EXIT, "OFFER_GONE"),
        (
            make_offer("x", "ETHUSDT", long_leg=ref("elsewhere")),
            {"missing_for": {"p1": HOUR}},
            HOLD,
            "NO_EVIDENCE",
        ),
    ],
)
def test_position_is_left_for_evidence_only(
    offer: Offer | Quoted, changes: dict[str, object], action: DecisionAction, reason: str
) -> None:
    """Low carry, a lasting flip and a lasting absence end a position; silence never does."""
    held = make_held()
    decision = judge_holding(held, situation(offer, held=(held,), **changes), POLICY)
    assert (decision.action, decision.reason) == (action, reason)


@pytest.mark.parametrize(
    ("carry", "changes", "reason"),
    [
        ("0.02", {"missing_for": {"p1": HOUR}}, "OFFER_GONE"),
        ("0.02", {"missing_for": {"p1": HOUR / 2}}, "OFFER_MISSING"),
        # What pays is held, however little else is offered.
        ("0.04", {"missing_for": {"p1": HOUR}}, "NO_EVIDENCE"),
        ("0.02", {"missing_for": {"p1": HOUR}, "is_whole": False}, "NO_EVIDENCE"),
        ("-0.1", {"flipped_for": {"p1": HOUR}, "is_whole": False}, "FUNDING_FLIPPED"),
        ("-0.1", {"flipped_for": {"p1": HOUR / 3}, "is_whole": False}, "FUNDING_FLIPPING"),
    ],
)
def test_venues_own_word_ends_a_position_that_nobody_offers(
    carry: str, changes: dict[str, object], reason: str
) -> None:
    """In a market without offers, and without a scanner, the coming settlements still decide."""
    held = make_held(carry_apr=D(carry))
    decision = judge_holding(held, situation(held=(held,), **changes), POLICY)
    assert decision.reason == reason
    assert (decision.action is EXIT) == (reason in ("OFFER_GONE", "FUNDING_FLIPPED"))


@pytest.mark.parametrize("status", [s for s in PositionStatus if s is not PositionStatus.OPEN])
def test_what_moves_is_left_alone(status: PositionStatus) -> None:
    """A position that opens, unwinds, reduces or closes is not decided about."""
    held = make_held(status=status, notional=D(10**6))
    decision = judge_holding(held, situation(make_offer(gross_apr=D(-1)), held=(held,)), POLICY)
    assert (decision.action, decision.reason) == (HOLD, "MOVING")


@pytest.mark.parametrize(
    ("notional", "action", "left", "ratio"),
    [
        ("5500", HOLD, None, None),
        ("6000", REDUCE, "5000", "0.1667"),
        ("25000", REDUCE, "5000", "0.8"),
    ],
)
def test_caps_reduce_what_is_too_large(
    notional: str, action: DecisionAction, left: str | None, ratio: str | None
) -> None:
    """Past the band a position shrinks to its cap, without the scanner's word."""
    held = make_held(notional=D(notional))
    facts = situation(held=(held,), is_whole=False)
    decision = judge_holding(held, facts, POLICY)
    assert decision.action is action
    assert decision.notional == (None if left is None else D(left))
    assert decision.ratio == (None if ratio is None else D(ratio))


def rotated(better: Offer, policy: StrategyPolicy = POLICY) -> list[tuple[str, str]]:
    """Return the exits decided where `better` finds the one place taken."""
    held = make_held()
    facts = situation(make_offer(gross_apr=D("0.10"), net_apr=D("0.01")), better, held=(held,))
    full = StrategyPolicy(max_positions=1, rotation_gain=policy.rotation_gain)
    return [(d.subject, d.reason) for d in decide(facts, full) if d.action is EXIT]


def test_rotation_pays_both_round_trips() -> None:
    """A position makes room where the gain is worth both round trips and the margin, not below."""
    # 0.4 % for both trips times 1.5 is 0.6 % in a week, which is 31.3 % a year more than 10 %.
    enough, short = D("0.4130"), D("0.4120")
    assert rotated(make_offer("x", "ETHUSDT", gross_apr=enough)) == [("p1", "ROTATED")]
    assert rotated(make_offer("x", "ETHUSDT", gross_apr=short)) == []
    never = StrategyPolicy(rotation_gain=None)
    assert rotated(make_offer("x", "ETHUSDT", gross_apr=enough), never) == []


def test_no_rotation_while_something_moves_or_there_is_room() -> None:
    """One place at a time comes free, and none where the better offer has room anyhow."""
    better = make_offer("x", "ETHUSDT", gross_apr=D(9))
    dull = make_offer(gross_apr=D("0.10"), net_apr=D("0.01"))
    moving = make_held("p3", "SOLUSDT", status=PositionStatus.CLOSING)
    full = StrategyPolicy(max_positions=2)
    facts = situation(dull, better, held=(make_held(), moving))
    assert [d.action for d in decide(facts, full)] == [HOLD, HOLD, PASS]
    facts = situation(dull, better, held=(make_held(),))
    assert [d.action for d in decide(facts, full)] == [HOLD, ENTER]


def test_decisions_of_one_round_keep_the_caps_together() -> None:
    """Offers are taken best first, each sized by what those before it leave."""
    policy = StrategyPolicy(max_total_notional=D(1_700))
    offers = [
        make_offer(symbol, symbol, net_apr=D(apr))
        for symbol, apr in (("AAA", "0.2"), ("BBB", "0.4"), ("CCC", "0.3"), ("DDD", "0.05"))
    ]
    decisions = decide(situation(*offers), policy)
    assert [(d.symbol, d.action, d.reason, d.notional) for d in decisions] == [
        ("BBB", ENTER, "TARGET", D(1_000)),
        ("CCC", ENTER, "TOTAL_CAP", D(700)),
        ("AAA", PASS, "TOTAL_CAP", None),
    ]


def test_positions_over_a_common_cap_shrink_once() -> None:
    """What exceeds the total is taken off the position that carries least, and only there."""
    policy = StrategyPolicy(max_total_notional=D(2_000))
    good, dull = make_held("p1"), make_held("p2", "ETHUSDT", notional=D(1_500))
    facts = situation(
        make_offer(),
        make_offer("x", "ETHUSDT", gross_apr=D("0.1"), net_apr=D("0.05")),
        held=(good, dull),
    )
    decisions = {d.position_id: d for d in decide(facts, policy) if d.position_id}
    assert (decisions["p2"].action, decisions["p2"].notional) == (REDUCE, D(1_000))
    assert decisions["p1"].action is HOLD


def test_what_an_operator_opened_is_his_to_close() -> None:
    """The strategy decides nothing about positions it did not enter."""
    theirs: Held = make_held(is_own=False)
    decisions = decide(situation(make_offer(gross_apr=D(-1)), held=(theirs,)), POLICY)
    assert [d for d in decisions if d.position_id] == []


def test_decision_carries_the_figures_it_stands_on() -> None:
    """The journaled row has opportunity, revision, figures and the mode it was decided in."""
    decision = judge_entry(Quoted(make_offer()), situation(), POLICY)
    event = decision.event(START, StrategyMode.ADVISE)
    assert (event.opportunity_id, event.revision, event.notional) == ("one", 7, D(1000))
    named = {figure.name: figure.value for figure in event.figures}
    assert named["net_apr"] == D("0.25")
    assert named["round_trip_cost_ratio"] == D("0.002")
    assert named["expected_holding_hours"] == 168
    assert named["size"] == 1000
