"""Bounds of risk besides those of `EngineLimits`; None, zero time or zero count leaves one out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """What an entry may add and what may have happened before it; money in quote asset.

    `max_order_notional` bounds one order, `max_venue_notional` all legs on one venue.
    `max_daily_loss` and `max_daily_fees` count from 00:00 UTC. `max_consecutive_failures` entries
    that failed in a row stop all entries until an operator resumes. `symbol_cooldown` is the wait
    after a position in the symbol ended. `max_orders_per_minute` counts orders of every kind, but
    refuses entries only. `max_opportunity_age` bounds the oldest figure behind an opportunity.
    """

    max_order_notional: Decimal | None = None
    max_venue_notional: Decimal | None = None
    max_daily_loss: Decimal | None = None
    max_daily_fees: Decimal | None = None
    max_consecutive_failures: int | None = None
    symbol_cooldown: timedelta = timedelta(0)
    max_orders_per_minute: int | None = None
    max_opportunity_age: timedelta | None = None
