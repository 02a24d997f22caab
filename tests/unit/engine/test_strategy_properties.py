"""What holds of the strategy's rules whatever is offered: replay, monotony, hysteresis, churn."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.engine.event_codec import VERSION, decode_event, encode_event
from services.engine.events import DecisionTaken
from services.engine.follower_offer import Offer
from services.engine.strategy_entry import judge_entry
from services.engine.strategy_facts import Held, Quoted, Situation
from services.engine.strategy_holding import judge_holding
from services.engine.strategy_plan import decide
from services.engine.strategy_policy import StrategyPolicy
from services.engine.strategy_replay import follows, inputs_of, policy_id_of
from services.engine.strategy_rotation import judge_rotation
from services.engine.strategy_watch import Persistence, flipped
from services.engine.strategy_words import DecisionAction, StrategyMode
from services.engine.views import PositionStatus
from tests.support.strategy_cases import make_held, make_offer, ref, situation
from tests.support.virtual_clock import START

D = Decimal
POLICY = StrategyPolicy()
ENTER, EXIT, PASS = DecisionAction.ENTER, DecisionAction.EXIT, DecisionAction.PASS
VENUES, SYMBOLS = ("spot", "perp", "perq"), ("BTCUSDT", "ETHUSDT", "SOLUSDT")
STEP = timedelta(minutes=10)
APR = st.decimals(D("-0.5"), D("1.5"), places=4)
RATIO = st.decimals(D(0), D("0.02"), places=4)
NOTIONAL = st.decimals(D(1), D(30_000), places=2)
LENGTH = st.timedeltas(timedelta(0), timedelta(days=2))


def _id_of(quoted: Quoted) -> str:
    return quoted.offer.opportunity_id


@st.composite
def offers(draw: st.DrawFn) -> Quoted:
    """Draw an offer, its figures unrelated to each other, now and then one that does not stand."""
    symbol = draw(st.sampled_from(SYMBOLS))
    long, short = draw(st.permutations(VENUES))[:2]
    offer = make_offer(
        f"o{draw(st.integers(0, 10**6))}",
        symbol,
        revision=draw(st.integers(1, 3)),
        long_leg=ref(long, symbol),
        short_leg=ref(short, symbol),
        gross_apr=draw(APR),
        net_apr=draw(APR),
        current_apr=draw(st.none() | APR),
        round_trip_cost_ratio=draw(RATIO),
        basis_ratio=draw(st.none() | RATIO),
        capacity_notional=draw(st.none() | NOTIONAL),
        caveats=draw(st.frozensets(st.sampled_from(("BOOK_STALE", "BOOK_SHALLOW")), max_size=1)),
        expected_holding_time=draw(st.timedeltas(timedelta(hours=1), timedelta(days=30))),
    )
    return Quoted(offer, draw(st.sampled_from(("", "", "", "EXPIRED"))))


@st.composite
def good_offers(draw: st.DrawFn) -> Quoted:
    """Draw an offer that stands and whose carry is about or above the bound of entry."""
    offer = draw(offers()).offer
    fair = st.decimals(D("0.05"), D("1.5"), places=4)
    return Quoted(
        replace(
            offer,
            gross_apr=draw(fair),
            net_apr=draw(fair),
            current_apr=draw(fair),
            capacity_notional=draw(st.decimals(D(90), D(9_000), places=2)),
            caveats=frozenset(),
        )
    )


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    """Draw what is offered and held, the strategy's own and an operator's."""
    quotes = draw(st.lists(offers(), max_size=5, unique_by=_id_of))
    held: list[Held] = []
    for number in range(draw(st.integers(0, 4))):
        symbol = draw(st.sampled_from(SYMBOLS))
        long, short = draw(st.permutations(VENUES))[:2]
        status = draw(st.sampled_from((PositionStatus.OPEN,) * 3 + (PositionStatus.CLOSING,)))
        own = draw(st.booleans())
        legs = {"long_leg": ref(long, symbol), "short_leg": ref(short, symbol)}
        held.append(
            make_held(
                f"p{number}",
                symbol,
                status=status,
                notional=draw(NOTIONAL),
                is_own=own,
                carry_apr=draw(st.none() | APR),
                **legs,
            )
        )
    names = [each.position_id for each in held]
    lengths = st.dictionaries(st.sampled_from(names), LENGTH) if names else st.just({})
    taken = {(q.offer.opportunity_id, q.offer.revision) for q in quotes if draw(st.booleans())}
    return situation(
        *quotes,
        held=tuple(held),
        is_whole=draw(st.booleans()),
        entries_problem=draw(st.sampled_from(("", "", "ENGINE_HALTED"))),
        cooldowns=draw(
            st.dictionaries(
                st.sampled_from(SYMBOLS), st.timedeltas(-STEP, STEP).map(lambda d: START + d)
            )
        ),
        taken=frozenset(taken if draw(st.booleans()) else ()),
        flipped_for=draw(lengths),
        missing_for=draw(lengths),
    )


@settings(max_examples=50, deadline=None)
@given(situations(), st.sampled_from((1, 2, 10)))
def test_every_journaled_decision_follows_from_its_inputs(facts: Situation, most: int) -> None:
    """What is written with a decision and read back leads the same rules to the same decision."""
    policy = StrategyPolicy(max_positions=most)
    for decision in decide(facts, policy):
        if decision.action is PASS:
            continue
        inputs = inputs_of(decision, policy_id_of(policy))
        event = decision.event(START, StrategyMode.AUTO, inputs)
        kind, body = encode_event(event)
        read = decode_event(kind, VERSION, body)
        assert read == event
        assert isinstance(read, DecisionTaken)
        assert follows(read, policy)
        assert not follows(replace(read, reason="ANOTHER"), policy)


def test_rotation_follows_from_its_inputs() -> None:
    """An exit that makes room is journaled with all that could have made it instead."""
    policy = StrategyPolicy(max_positions=2)
    legs = {"long_leg": ref("perq", "SOLUSDT"), "short_leg": ref("perp", "SOLUSDT")}
    own = (make_held(), make_held("p2", "SOLUSDT", **legs))
    facts = situation(
        make_offer(gross_apr=D("0.10"), net_apr=D("0.01")),
        make_offer("dull", "SOLUSDT", gross_apr=D("0.09"), net_apr=D("0.01"), **legs),
        make_offer("x", "ETHUSDT", gross_apr=D(2), net_apr=D("1.9")),
        held=own,
    )
    (decision,) = [d for d in decide(facts, policy) if d.action is EXIT]
    assert (decision.position_id, decision.reason) == ("p2", "ROTATED")
    event = decision.event(START, StrategyMode.AUTO, inputs_of(decision, "id"))
    assert event.inputs is not None
    assert {row.opportunity_id for row in event.inputs.offers} == {"one", "dull", "x"}
    assert follows(event, policy)


def test_rules_have_one_digest_each() -> None:
    """A digest tells rules apart, and does not hang on the order of a set."""
    doubts = frozenset({"A", "B", "C", "D"})
    same = StrategyPolicy(refused_caveats=frozenset(sorted(doubts, reverse=True)))
    assert policy_id_of(StrategyPolicy(refused_caveats=doubts)) == policy_id_of(same)
    assert policy_id_of(POLICY) != policy_id_of(StrategyPolicy(max_positions=9))


@given(good_offers(), st.decimals(D(0), D(2), places=4))
@settings(max_examples=40, deadline=None)
def test_entry_is_monotone_in_the_rate(quoted: Quoted, more: Decimal) -> None:
    """What is entered would be entered at every higher rate, and with the same notional."""
    facts = situation(quoted)
    decision = judge_entry(quoted, facts, POLICY)
    assume(decision.action is ENTER)
    better = Quoted(_raised(quoted.offer, more))
    again = judge_entry(better, situation(better), POLICY)
    assert (again.action, again.notional) == (ENTER, decision.notional)


@given(offers(), st.decimals(D(0), D("0.3"), places=4))
@settings(max_examples=40, deadline=None)
def test_holding_is_monotone_in_the_rate(quoted: Quoted, more: Decimal) -> None:
    """What is left at one rate would be left at every lower one."""
    held = _held_of(quoted.offer)
    better = Quoted(_raised(quoted.offer, more), quoted.problem)
    left = judge_holding(held, situation(better, held=(held,)), POLICY).action is EXIT
    assert not left or judge_holding(held, situation(quoted, held=(held,)), POLICY).action is EXIT


@settings(max_examples=50, deadline=None)
@given(
    st.lists(good_offers(), min_size=1, max_size=4, unique_by=_id_of), st.sampled_from((1, 2, 10))
)
def test_nothing_is_entered_that_would_be_left_at_once(quotes: list[Quoted], most: int) -> None:
    """With the same offers, the round after an entry leaves nothing that was entered."""
    policy = StrategyPolicy(max_positions=most)
    facts = situation(*quotes)
    entered = [d for d in decide(facts, policy) if d.action is ENTER]
    assume(entered)
    by_id = {q.offer.opportunity_id: q.offer for q in quotes}
    held = tuple(
        replace(_held_of(by_id[d.opportunity_id]), notional=d.notional or D(0)) for d in entered
    )
    after = decide(situation(*quotes, held=held), policy)
    assert [d for d in after if d.action in (EXIT, DecisionAction.REDUCE)] == []


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from((POLICY.enter_net_apr, POLICY.exit_gross_apr)),
    st.lists(st.decimals(D("-0.03"), D("0.03"), places=4), min_size=10, max_size=60),
)
def test_rate_that_wobbles_around_a_bound_leads_to_one_trade_at_most(
    around: Decimal, wobble: list[Decimal]
) -> None:
    """Around the bound of entry nothing is left again; around that of exit nothing is entered."""
    entries, exits = _lived([around + each for each in wobble])
    assert (entries <= 1, exits) == (True, 0)


@settings(max_examples=30, deadline=None)
@given(st.lists(APR, min_size=10, max_size=120))
def test_churn_is_bounded_by_the_cooldown(rates: list[Decimal]) -> None:
    """However wild the rate, a symbol is entered once in a cooldown at most."""
    entries, _ = _lived(rates)
    assert entries <= 1 + (STEP * len(rates)) / POLICY.symbol_cooldown


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_flip_ends_a_position_only_where_it_lasts(signs: list[bool]) -> None:
    """Costing settlements count from the first in an unbroken row of them."""
    watch, held, row = Persistence(), make_held(), 0
    for step, costs in enumerate(signs):
        offer = make_offer(current_apr=D("-0.1") if costs else D("0.1"))
        facts = situation(offer, held=(held,))
        now = step * STEP.total_seconds()
        watch.note(*flipped(facts), now)
        decision = judge_holding(held, replace(facts, flipped_for=watch.of(now)), POLICY)
        row = row + 1 if costs else 0
        assert (decision.action is EXIT) == (row > POLICY.flip_patience / STEP)


def _raised(offer: Offer, more: Decimal) -> Offer:
    current = None if offer.current_apr is None else offer.current_apr + more
    return replace(
        offer,
        gross_apr=offer.gross_apr + more,
        net_apr=offer.net_apr + more,
        current_apr=current,
    )


def _held_of(offer: Offer) -> Held:
    legs = {"long_leg": offer.long_leg, "short_leg": offer.short_leg}
    return make_held(f"held-{offer.opportunity_id}", offer.symbol, **legs)


def _lived(rates: list[Decimal]) -> tuple[int, int]:
    """Return how often one symbol is entered and left as its rate goes, a step at a time."""
    held: tuple[Held, ...] = ()
    cooldowns: dict[str, datetime] = {}
    entries = exits = 0
    for number, rate in enumerate(rates):
        now = START + STEP * number
        # A round trip of 0.02 % in a week costs one percent a year.
        offer = make_offer(
            revision=number + 1,
            gross_apr=rate,
            net_apr=rate - D("0.01"),
            current_apr=rate,
            round_trip_cost_ratio=D("0.0002"),
        )
        facts = replace(situation(offer, held=held, cooldowns=cooldowns), now=now)
        for decision in decide(facts, POLICY):
            if decision.action is EXIT:
                held, exits = (), exits + 1
                cooldowns = {"BTCUSDT": now + POLICY.symbol_cooldown}
            elif decision.action is ENTER:
                held, entries = (make_held(),), entries + 1
    return entries, exits


def test_an_offer_that_ranks_below_a_held_one_does_not_take_its_place() -> None:
    """Entries go by the net figure, so a rotation against it would be turned back at once."""
    held = _held_of(make_offer())
    kept = make_offer(gross_apr=D("0.05"), net_apr=D("0.24"), round_trip_cost_ratio=D(0))
    wanted = make_offer(
        "x", "ETHUSDT", gross_apr=D("0.25"), net_apr=D("0.1"), round_trip_cost_ratio=D(0)
    )
    assert judge_rotation(wanted, [(held, kept)], POLICY) is None
    better = replace(wanted, net_apr=D("0.25"))
    assert judge_rotation(better, [(held, kept)], POLICY) is not None


def test_no_place_is_made_for_what_is_too_small_to_be_entered() -> None:
    """A full house does not hide that the offer's own books would not bear the least size."""
    full = replace(POLICY, max_positions=1)
    small = make_offer("x", "ETHUSDT", net_apr=D(2), gross_apr=D(2), capacity_notional=D(90))
    facts = situation(make_offer(), small, held=(_held_of(make_offer()),))
    reasons = {d.opportunity_id: d.reason for d in decide(facts, full) if d.action is not EXIT}
    assert reasons["x"] == "CAPACITY"
    assert not [d for d in decide(facts, full) if d.action is EXIT]
