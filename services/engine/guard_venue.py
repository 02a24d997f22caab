"""Venue unreachable: nobody has answered for one of the legs for too long."""

from __future__ import annotations

from decimal import Decimal

from services.engine.guard_facts import (
    GuardAction,
    GuardFinding,
    GuardLimits,
    PairAccount,
    PairMarket,
)
from services.engine.instruments import LegSide
from services.engine.position import Position

NAME = "venue_unreachable"


def guard_venue(
    position: Position, market: PairMarket, account: PairAccount, limits: GuardLimits
) -> tuple[GuardFinding, ...]:
    """Stop entries in the symbol. What is on stays hedged: closing one leg would open the other."""
    return tuple(
        GuardFinding(
            NAME,
            position.position_id,
            position.symbol,
            GuardAction.TRIP,
            f"{position.rules(leg).ref.exchange} has been silent for {silence.total_seconds():.0f} s",
            leg,
            (("silent_seconds", Decimal(int(silence.total_seconds()))),),
        )
        for leg in LegSide
        if (silence := account.legs[leg].silent_for) > limits.max_venue_silence
    )
