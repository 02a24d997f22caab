"""Whether a position is held, reduced or left."""

from __future__ import annotations

from decimal import ROUND_UP, Decimal

from services.engine.follower_offer import Offer
from services.engine.strategy_decision import (
    Decision,
    about_position,
    carry_over,
    figures,
)
from services.engine.strategy_facts import Held, Situation
from services.engine.strategy_policy import StrategyPolicy
from services.engine.strategy_words import DecisionAction
from services.engine.views import PositionStatus

_RATIO_STEP = Decimal("0.0001")


def judge_holding(held: Held, situation: Situation, policy: StrategyPolicy) -> Decision:
    """Return HOLD, REDUCE with its share, or EXIT.

    Figures nobody vouches for any more decide nothing: without the scanner a position is left only
    for what the venues themselves tell of its coming settlements, and by the guards.
    """
    if held.status is not PositionStatus.OPEN:
        return about_position(DecisionAction.HOLD, "MOVING", held)
    quoted = situation.quote_of(held)
    if quoted is None or not situation.is_whole:
        decision = _unoffered(held, situation, policy)
        offer = None
    elif quoted.problem:
        offer = quoted.offer
        decision = _doubted(held, offer, situation, policy)
    else:
        offer = quoted.offer
        decision = _offered(held, offer, situation, policy)
    if decision.action is DecisionAction.EXIT:
        return decision
    # Caps hold whatever the scanner says.
    return _over_cap(held, offer, situation, policy) or decision


def _unoffered(held: Held, situation: Situation, policy: StrategyPolicy) -> Decision:
    # A scanner that was just started, or lost a venue, offers nothing there either.
    if not situation.knows_absence(held, policy.exit_gross_apr):
        return _doubted(held, None, situation, policy)
    if (flip := _flip(held, situation, policy)) is not None and flip[0] is DecisionAction.EXIT:
        return about_position(*flip, held)
    missing = situation.missing_for.get(held.position_id)
    if missing is None or missing < policy.gone_patience:
        return about_position(DecisionAction.HOLD, "OFFER_MISSING", held)
    hours = Decimal(int(missing.total_seconds())) / 3600
    return about_position(
        DecisionAction.EXIT, "OFFER_GONE", held, extra=figures(missing_hours=hours)
    )


def _doubted(
    held: Held, offer: Offer | None, situation: Situation, policy: StrategyPolicy
) -> Decision:
    flip = _flip(held, situation, policy)
    action, reason = (DecisionAction.HOLD, "NO_EVIDENCE") if flip is None else flip
    return about_position(action, reason, held, offer)


def _flip(
    held: Held, situation: Situation, policy: StrategyPolicy
) -> tuple[DecisionAction, str] | None:
    lasted = situation.flipped_for.get(held.position_id)
    if lasted is None:
        return None
    if lasted >= policy.flip_patience:
        return DecisionAction.EXIT, "FUNDING_FLIPPED"
    return DecisionAction.HOLD, "FUNDING_FLIPPING"


def _offered(held: Held, offer: Offer, situation: Situation, policy: StrategyPolicy) -> Decision:
    """Judge by the carry; the whole holding time lies ahead, however long it was held already."""
    left = carry_over(offer.gross_apr, offer.expected_holding_time)
    extra = figures(remaining_carry=left, exit_cost_ratio=offer.exit_cost_ratio)
    action, reason = _flip(held, situation, policy) or (DecisionAction.HOLD, "CARRY")
    if offer.gross_apr < policy.exit_gross_apr:
        action, reason = DecisionAction.EXIT, "CARRY_LOW"
    elif left < offer.exit_cost_ratio:
        action, reason = DecisionAction.EXIT, "CARRY_BELOW_COST"
    return about_position(action, reason, held, offer, extra=extra)


def _over_cap(
    held: Held, offer: Offer | None, situation: Situation, policy: StrategyPolicy
) -> Decision | None:
    excesses = [
        (situation.total_notional, policy.max_total_notional, 1, "TOTAL_CAP"),
        (situation.symbol_notional(held.symbol), policy.max_symbol_notional, 1, "SYMBOL_CAP"),
    ]
    exchanges = [ref.exchange for ref in held.legs]
    excesses += [
        (
            situation.venue_notional(each),
            policy.max_venue_notional,
            exchanges.count(each),
            "VENUE_CAP",
        )
        for each in dict.fromkeys(exchanges)
    ]
    over = [
        ((on - cap) / legs, name)
        for on, cap, legs, name in excesses
        # Within the band a price that moves would reduce over and over.
        if on > cap * (1 + policy.reduce_band)
    ]
    if not over or held.notional <= 0:
        return None
    excess, name = max(over)
    left = held.notional - excess
    extra = figures(excess=excess)
    if left < policy.min_notional:
        return about_position(DecisionAction.EXIT, name, held, offer, extra=extra)
    ratio = (excess / held.notional).quantize(_RATIO_STEP, rounding=ROUND_UP)
    return about_position(
        DecisionAction.REDUCE, name, held, offer, notional=left, ratio=ratio, extra=extra
    )
