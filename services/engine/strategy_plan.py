"""One round of decisions over everything held and offered: pure, the same facts decide the same."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from services.engine.follower_offer import Offer
from services.engine.strategy_decision import Decision
from services.engine.strategy_entry import CAP_REASONS, judge_entry
from services.engine.strategy_facts import Held, Quoted, Situation
from services.engine.strategy_holding import judge_holding
from services.engine.strategy_policy import StrategyPolicy
from services.engine.strategy_rotation import judge_rotation
from services.engine.strategy_words import DecisionAction
from services.engine.views import PositionStatus

_LEAVING = frozenset({DecisionAction.EXIT, DecisionAction.REDUCE})
MAX_JUDGED = 50
"""Offers that are judged in one round, the best: hedges share the event loop with it."""


def decide(situation: Situation, policy: StrategyPolicy) -> tuple[Decision, ...]:
    """Return a decision for each own position, worst carry first, then for each offer
    that pays enough, best first.

    Every decision sees those before it, so that all together keep the caps.
    """
    decisions: list[Decision] = []
    for held in sorted((h for h in situation.held if h.is_own), key=lambda h: _carry(h, situation)):
        decision = replace(judge_holding(held, situation, policy), seen=situation)
        decisions.append(decision)
        if decision.action is DecisionAction.REDUCE and decision.notional is not None:
            situation = situation.resized(held.position_id, decision.notional)
        elif decision.action is DecisionAction.EXIT:
            situation = situation.resized(held.position_id, Decimal(0))
    return (*_rotated(decisions, situation, policy), *_entries(situation, policy))


def _entries(situation: Situation, policy: StrategyPolicy) -> list[Decision]:
    decisions = []
    for quoted in _ranked(situation, policy):
        decision = judge_entry(quoted, situation, policy)
        if decision.action is DecisionAction.ENTER:
            decision = replace(decision, seen=situation)
        decisions.append(decision)
        if decision.notional is not None:
            situation = situation.entered(quoted.offer, decision.notional)
    return decisions


def _rotated(
    decisions: list[Decision], situation: Situation, policy: StrategyPolicy
) -> list[Decision]:
    """Turn one hold into an exit where the best offer lacks nothing but room."""
    mine = [h for h in situation.held if h.is_own]
    # One after the other: while something moves its room may come free anyhow.
    moving = any(h.status is not PositionStatus.OPEN for h in mine)
    if moving or any(d.action in _LEAVING for d in decisions):
        return decisions
    kept = [
        (h, q.offer) for h in mine if (q := situation.quote_of(h)) is not None and not q.problem
    ]
    for wanted in _waiting(situation, policy):
        rotation = judge_rotation(wanted, kept, policy)
        if rotation is not None:
            rotation = replace(rotation, seen=situation)
            return [rotation if d.position_id == rotation.position_id else d for d in decisions]
    return decisions


def _waiting(situation: Situation, policy: StrategyPolicy) -> list[Offer]:
    for quoted in _ranked(situation, policy):
        decision = judge_entry(quoted, situation, policy)
        # The best that may be entered has room: nothing need be left for it.
        if decision.action is DecisionAction.ENTER:
            return []
        if decision.reason in CAP_REASONS:
            return [quoted.offer]
    return []


def _ranked(situation: Situation, policy: StrategyPolicy) -> list[Quoted]:
    enough = [q for q in situation.quotes.values() if q.offer.net_apr >= policy.enter_net_apr]
    # By id where figures are equal, so that a replay of the facts decides alike.
    ranked = sorted(enough, key=lambda q: (-q.offer.net_apr, q.offer.opportunity_id))
    return ranked[:MAX_JUDGED]


def _carry(held: Held, situation: Situation) -> tuple[Decimal, str]:
    quoted = situation.quote_of(held)
    apr = Decimal("-Infinity") if quoted is None else quoted.offer.gross_apr
    return apr, held.position_id
