"""Whether an offer is entered, and with how much: the first rule that refuses names the reason."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from services.engine.follower_offer import Offer
from services.engine.strategy_decision import Decision, about_offer, carry_over, figures
from services.engine.strategy_facts import Quoted, Situation
from services.engine.strategy_policy import StrategyPolicy
from services.engine.strategy_words import DecisionAction

CAP_REASONS = frozenset({"POSITIONS_FULL", "TOTAL_CAP"})
"""Reasons that the end of any other position would lift."""
_OWN_BOUNDS = 2
"""How many of the bounds of a size, the first ones, are the offer's own."""


def judge_entry(quoted: Quoted, situation: Situation, policy: StrategyPolicy) -> Decision:
    """Return ENTER with the notional of one leg, or PASS with the reason."""
    offer = quoted.offer
    reason = (
        quoted.problem
        or situation.entries_problem
        or _sound(offer, situation)
        or _wanted(offer, policy)
        or _free(offer, situation)
    )
    if reason:
        return about_offer(DecisionAction.PASS, reason, offer)
    # What is too small by itself is not waited for: no other position's end would let it in.
    least, reason = _smallest(_bounds(offer, situation, policy)[:_OWN_BOUNDS])
    if least < policy.min_notional:
        return about_offer(DecisionAction.PASS, reason, offer, extra=figures(size=least))
    if len(situation.held) >= policy.max_positions:
        return about_offer(DecisionAction.PASS, "POSITIONS_FULL", offer)
    notional, bound = target_size(offer, situation, policy)
    extra = figures(size=notional)
    if notional < policy.min_notional:
        return about_offer(DecisionAction.PASS, bound, offer, extra=extra)
    return about_offer(DecisionAction.ENTER, bound, offer, notional, extra)


def target_size(offer: Offer, situation: Situation, policy: StrategyPolicy) -> tuple[Decimal, str]:
    """Return the notional of one leg and the name of what bounds it, never below zero."""
    return _smallest(_bounds(offer, situation, policy))


def _smallest(bounds: Iterable[tuple[Decimal, str]]) -> tuple[Decimal, str]:
    notional, bound = min(bounds, key=lambda each: each[0])
    return max(notional, Decimal(0)), bound


def _bounds(
    offer: Offer, situation: Situation, policy: StrategyPolicy
) -> list[tuple[Decimal, str]]:
    capacity = offer.capacity_notional or Decimal(0)
    bounds = [
        (policy.target_notional, "TARGET"),
        (capacity * policy.capacity_share, "CAPACITY"),
        (policy.max_total_notional - situation.total_notional, "TOTAL_CAP"),
        (policy.max_symbol_notional - situation.symbol_notional(offer.symbol), "SYMBOL_CAP"),
    ]
    exchanges = [ref.exchange for ref in offer.legs]
    for exchange in dict.fromkeys(exchanges):
        left = policy.max_venue_notional - situation.venue_notional(exchange)
        # Both legs at one venue take twice the notional of one.
        bounds.append((left / exchanges.count(exchange), "VENUE_CAP"))
    return bounds


def _sound(offer: Offer, situation: Situation) -> str:
    """Tell what is wrong with the offer itself."""
    long_leg, short_leg = offer.legs
    if long_leg == short_leg or {long_leg.symbol, short_leg.symbol} != {offer.symbol}:
        return "LEGS_INVALID"
    # Both directions of one pair cannot both earn: one of the two figures is wrong.
    turned = situation.quotes.get((short_leg, long_leg))
    if turned is not None and not turned.problem:
        return "CROSSED"
    if (offer.opportunity_id, offer.revision) in situation.taken:
        return "ALREADY_TAKEN"
    return ""


def _wanted(offer: Offer, policy: StrategyPolicy) -> str:
    """Tell why the offer does not pay."""
    if offer.net_apr < policy.enter_net_apr:
        return "NET_APR_LOW"
    if offer.current_apr is None:
        return "CURRENT_APR_UNKNOWN"
    # What exits as too low must not be entered: the figures of one moment would churn.
    if offer.current_apr <= 0 or offer.gross_apr < policy.exit_gross_apr:
        return "CARRY_LOW"
    if carry_over(offer.gross_apr, offer.expected_holding_time) < offer.exit_cost_ratio:
        return "CARRY_BELOW_COST"
    if doubts := sorted(offer.caveats & policy.refused_caveats):
        return f"CAVEAT_{doubts[0]}"
    if offer.basis_ratio is not None and abs(offer.basis_ratio) > policy.max_basis_ratio:
        return "BASIS_WIDE"
    return "CAPACITY_UNKNOWN" if offer.capacity_notional is None else ""


def _free(offer: Offer, situation: Situation) -> str:
    """Tell what of ours stands in the way."""
    same = (held for held in situation.held if held.symbol == offer.symbol)
    if any(set(held.legs) & set(offer.legs) for held in same):
        return "INSTRUMENT_IN_USE"
    until = situation.cooldowns.get(offer.symbol)
    return "COOLDOWN" if until is not None and situation.now < until else ""
