"""Funding flip: the position pays for being held, and has for several readings."""

from __future__ import annotations

from decimal import Decimal

from services.engine.guard_facts import (
    GuardAction,
    GuardFinding,
    GuardLimits,
    LegMarket,
    PairAccount,
    PairMarket,
)
from services.engine.instruments import LegSide
from services.engine.position import Position

NAME = "funding_flip"
_HOUR_SECONDS = Decimal(3600)


def hourly_rate(market: LegMarket) -> Decimal | None:
    """Return what a long of the leg pays in an hour, as a fraction; None where it is unknown.

    Venues name the rate of a whole interval, and intervals differ.
    """
    if market.funding_rate is None or market.funding_interval is None:
        return None
    seconds = Decimal(int(market.funding_interval.total_seconds()))
    return market.funding_rate * _HOUR_SECONDS / seconds if seconds > 0 else None


def hourly_carry(position: Position, legs: dict[LegSide, LegMarket]) -> Decimal | None:
    """Return what the position receives in an hour, as a fraction of one leg's notional.

    None while the rate of a perpetual leg is unknown; spot pays and receives nothing.
    """
    total = Decimal(0)
    for leg in LegSide:
        if not position.rules(leg).is_perpetual:
            continue
        rate = hourly_rate(legs[leg])
        if rate is None:
            return None
        total += rate if leg is LegSide.SHORT else -rate
    return total


def guard_funding(
    position: Position, market: PairMarket, account: PairAccount, limits: GuardLimits
) -> tuple[GuardFinding, ...]:
    """Tell of a flip, or close for it, when the last readings all were below the bound."""
    bound, wanted = limits.min_carry, limits.carry_intervals
    recent = market.carries[-wanted:]
    if bound is None or len(recent) < wanted or max(recent) >= bound:
        return ()
    action = GuardAction.CLOSE if limits.close_on_flip else GuardAction.ALERT
    return (
        GuardFinding(
            NAME,
            position.position_id,
            position.symbol,
            action,
            f"the position receives {recent[-1]:.8f} an hour, the least wanted is {bound}",
            figures=(("carry", recent[-1]),),
        ),
    )
