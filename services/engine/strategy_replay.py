"""The inputs of a decision out of a round's situation, and the same decision made from them again.

Pure: whoever has the journal can tell whether each decision follows from what it was made by.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from services.engine.events import DecisionTaken
from services.engine.follower_offer import Offer
from services.engine.instruments import InstrumentKind, InstrumentRef
from services.engine.strategy_decision import Decision
from services.engine.strategy_entry import judge_entry
from services.engine.strategy_facts import Held, Quoted, Situation, quotes_of
from services.engine.strategy_holding import judge_holding
from services.engine.strategy_inputs import DecisionInputs, HeldGroup, HeldInput, OfferInput
from services.engine.strategy_plan import decide
from services.engine.strategy_policy import StrategyPolicy
from services.engine.strategy_rotation import ROTATED
from services.engine.views import PositionStatus

_HELD_FIELDS = tuple(f.name for f in dataclasses.fields(Held))
_SAME_FIELDS = tuple(
    f.name for f in dataclasses.fields(Offer) if f.name not in ("caveats", "heard_at", "lifetime")
)


def policy_id_of(policy: StrategyPolicy) -> str:
    """Return a short digest of every rule, the same in every process."""
    rows = []
    for field in dataclasses.fields(policy):
        value = getattr(policy, field.name)
        # A set has another order under every hash seed.
        rows.append((field.name, sorted(value) if isinstance(value, frozenset) else str(value)))
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


def inputs_of(decision: Decision, policy_id: str) -> DecisionInputs | None:
    """Return what a decision was made from; None for one that no round of `decide` made."""
    seen = decision.seen
    if seen is None:
        return None
    quotes = tuple(_concerned(decision, seen))
    judged = [h for h in seen.held if h.position_id == decision.position_id]
    symbols = {decision.symbol, *(q.offer.symbol for q in quotes)}
    kept = [h for h in seen.held if h.symbol in symbols or _rotates(decision, h)]
    legs = [leg for q in quotes for leg in q.offer.legs] + [leg for h in judged for leg in h.legs]
    others = (h for h in seen.held if h not in kept)
    return DecisionInputs(
        policy_id=policy_id,
        now=seen.now,
        is_whole=seen.is_whole,
        entries_problem=seen.entries_problem,
        offers=tuple(_offer_input(quoted, seen) for quoted in quotes),
        held=tuple(_held_input(held, seen) for held in kept),
        others=_groups(others, frozenset(leg.exchange for leg in legs)),
    )


def replay(event: DecisionTaken, policy: StrategyPolicy) -> Decision | None:
    """Return what the rules decide from a journaled decision's inputs.

    None where there are none, or the rules decide nothing about its subject from them.
    """
    if event.inputs is None:
        return None
    facts = situation_of(event.inputs)
    if not event.position_id:
        quoted = _by_id(facts, event.opportunity_id)
        return None if quoted is None else judge_entry(quoted, facts, policy)
    if event.reason == ROTATED:
        found = decide(facts, policy)
        return next((d for d in found if d.position_id == event.position_id), None)
    held = next((h for h in facts.held if h.position_id == event.position_id), None)
    return None if held is None else judge_holding(held, facts, policy)


def follows(event: DecisionTaken, policy: StrategyPolicy) -> bool:
    """Whether a journaled decision is what the rules decide from its inputs, to the last figure."""
    again = replay(event, policy)
    return again is not None and again.event(event.at, event.mode) == replace(event, inputs=None)


def situation_of(inputs: DecisionInputs) -> Situation:
    """Return the situation that was narrowed to the inputs, as far as they go."""
    held = (*(_held(row) for row in inputs.held), *_placeholders(inputs.others))
    offers = inputs.offers
    return Situation(
        now=inputs.now,
        quotes=quotes_of(Quoted(_offer(row), row.problem) for row in offers),
        held=held,
        is_whole=inputs.is_whole,
        entries_problem=inputs.entries_problem,
        cooldowns={o.symbol: o.cooldown_until for o in offers if o.cooldown_until is not None},
        taken=frozenset((o.opportunity_id, o.revision) for o in offers if o.is_taken),
        flipped_for={
            h.position_id: h.flipped_for for h in inputs.held if h.flipped_for is not None
        },
        missing_for={
            h.position_id: h.missing_for for h in inputs.held if h.missing_for is not None
        },
    )


def _concerned(decision: Decision, seen: Situation) -> Iterator[Quoted]:
    """Yield the offers a decision was made by, each once."""
    found: dict[str, Quoted] = {}
    for held in seen.held:
        if held.position_id == decision.position_id or _rotates(decision, held):
            quoted = seen.quote_of(held)
            for each in (quoted,) if quoted is not None else _witnesses(held, seen):
                found[each.offer.opportunity_id] = each
    for name in (decision.opportunity_id, decision.wanted):
        quoted = _by_id(seen, name)
        if quoted is not None:
            found[name] = quoted
            long_leg, short_leg = quoted.offer.legs
            turned = seen.quotes.get((short_leg, long_leg))
            if turned is not None:
                found[turned.offer.opportunity_id] = turned
    yield from found.values()


def _witnesses(held: Held, seen: Situation) -> Iterator[Quoted]:
    """Yield one standing offer for each venue of a position, as far as there are any."""
    for exchange in {ref.exchange: None for ref in held.legs}:
        for quoted in seen.quotes.values():
            if not quoted.problem and exchange in [ref.exchange for ref in quoted.offer.legs]:
                yield quoted
                break


def _rotates(decision: Decision, held: Held) -> bool:
    # A rotation leaves the worst of all: every one of them was looked at.
    return bool(decision.wanted) and held.is_own


def _by_id(facts: Situation, opportunity_id: str) -> Quoted | None:
    if not opportunity_id:
        return None
    rows = facts.quotes.values()
    return next((q for q in rows if q.offer.opportunity_id == opportunity_id), None)


def _offer_input(quoted: Quoted, seen: Situation) -> OfferInput:
    offer = quoted.offer
    return OfferInput(
        **{name: getattr(offer, name) for name in _SAME_FIELDS},
        caveats=tuple(sorted(offer.caveats)),
        problem=quoted.problem,
        is_taken=(offer.opportunity_id, offer.revision) in seen.taken,
        cooldown_until=seen.cooldowns.get(offer.symbol),
    )


def _offer(row: OfferInput) -> Offer:
    # When it was heard decided only whether it stood, and that is in `problem`.
    return Offer(
        **{name: getattr(row, name) for name in _SAME_FIELDS},
        caveats=frozenset(row.caveats),
        heard_at=0.0,
        lifetime=timedelta(0),
    )


def _held_input(held: Held, seen: Situation) -> HeldInput:
    return HeldInput(
        **{name: getattr(held, name) for name in _HELD_FIELDS},
        flipped_for=seen.flipped_for.get(held.position_id),
        missing_for=seen.missing_for.get(held.position_id),
    )


def _held(row: HeldInput) -> Held:
    return Held(**{name: getattr(row, name) for name in _HELD_FIELDS})


def _groups(others: Iterable[Held], venues: frozenset[str]) -> tuple[HeldGroup, ...]:
    found: dict[tuple[str, str], list[Decimal]] = defaultdict(list)
    for held in others:
        names = [ref.exchange if ref.exchange in venues else "" for ref in held.legs]
        found[names[0], names[1]].append(held.notional)
    return tuple(
        HeldGroup(long, short, len(each), sum(each, Decimal(0)))
        for (long, short), each in sorted(found.items())
    )


def _placeholders(groups: Iterable[HeldGroup]) -> Iterator[Held]:
    for number, group in enumerate(groups):
        for place in range(group.count):
            yield Held(
                f"other-{number}-{place}",
                "",
                InstrumentRef(group.long_exchange, "", InstrumentKind.PERPETUAL),
                InstrumentRef(group.short_exchange, "", InstrumentKind.PERPETUAL),
                PositionStatus.OPEN,
                # The first takes what all of them take.
                group.notional if place == 0 else Decimal(0),
                is_own=False,
            )
