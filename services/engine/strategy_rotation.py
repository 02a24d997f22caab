"""Whether a better offer is worth leaving a position for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from services.engine.follower_offer import Offer
from services.engine.strategy_decision import Decision, about_position, carry_over, figures
from services.engine.strategy_facts import Held
from services.engine.strategy_policy import StrategyPolicy
from services.engine.strategy_words import DecisionAction

ROTATED = "ROTATED"
"""Reason of an exit that makes room for a better offer."""


def judge_rotation(
    wanted: Offer, kept: Sequence[tuple[Held, Offer]], policy: StrategyPolicy
) -> Decision | None:
    """Return the exit that makes room for `wanted`, of the position that carries least; or None.

    The gain is the difference of both carries over the shorter of both expected holding times; it
    must pay the round trips of both.
    """
    if policy.rotation_gain is None or not kept:
        return None
    held, offer = min(kept, key=lambda each: each[1].gross_apr)
    # Offers are entered by net APR: what is worth less there would be changed back again.
    if wanted.net_apr <= offer.net_apr:
        return None
    horizon = min(wanted.expected_holding_time, offer.expected_holding_time)
    gain = carry_over(wanted.gross_apr - offer.gross_apr, horizon)
    cost = wanted.round_trip_cost_ratio + offer.round_trip_cost_ratio
    if gain <= cost * policy.rotation_gain:
        return None
    extra = figures(rotation_gain=gain, rotation_cost=cost, wanted_gross_apr=wanted.gross_apr)
    decision = about_position(DecisionAction.EXIT, ROTATED, held, offer, extra=extra)
    return replace(decision, wanted=wanted.opportunity_id)
