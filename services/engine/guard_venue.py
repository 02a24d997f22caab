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
    """Tell of a venue that is silent for too long.

    Nothing is closed: what is on stays hedged, and closing the leg that answers would bare the
    other. Entries read both venues anew and stop by themselves, until the venue is back.
    """
    waits = {leg: account.legs[leg].silent_for for leg in LegSide}
    return tuple(
        GuardFinding(
            NAME,
            position.position_id,
            position.symbol,
            GuardAction.ALERT,
            f"{position.rules(leg).ref.exchange} has been silent for {int(wait.total_seconds())} s",
            leg,
            (("silent_seconds", Decimal(int(wait.total_seconds()))),),
        )
        for leg, wait in waits.items()
        if wait > limits.max_venue_silence
    )
