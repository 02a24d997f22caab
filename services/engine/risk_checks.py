"""All bounds of risk on one entry, judged together so that a refusal names every one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from services.engine.position import Position
from services.engine.risk_cooldown import check_cooldown
from services.engine.risk_day import check_daily_fees, check_daily_loss
from services.engine.risk_exposure import Marks, PlannedEntry, check_exposure, leg_exposures
from services.engine.risk_failure import CheckFailure
from services.engine.risk_failures import is_too_many
from services.engine.risk_limits import RiskLimits
from services.engine.risk_rate import WINDOW, check_order_rate, orders_of_last_minute
from services.engine.risk_result import fees_of_day, utc_day


@dataclass(frozen=True, slots=True)
class RiskFacts:
    """What an entry is judged by: positions, the day so far and how many entries failed in a row.

    Of those that ended, only what changed since `look_back` counts. `day_result` is signed, in
    quote asset.
    """

    positions: Sequence[Position]
    now: datetime
    day_result: Decimal
    failed: int = 0
    marks: Marks = field(default_factory=dict)


def look_back(now: datetime, limits: RiskLimits) -> date:
    """Return the UTC day before which no change of an ended position counts for an entry."""
    # Fees count from 00:00, orders for a minute, an end for the cooldown.
    return utc_day(now - max(WINDOW, limits.symbol_cooldown))


def check_risk(
    symbol: str,
    planned: PlannedEntry,
    planned_fees: Decimal,
    facts: RiskFacts,
    limits: RiskLimits,
) -> tuple[CheckFailure, ...]:
    """Return everything that speaks against an entry; empty when it may go."""
    in_a_row = (
        (CheckFailure("CONSECUTIVE_FAILURES", None, f"{facts.failed} entries failed in a row"),)
        if is_too_many(facts.failed, limits)
        else ()
    )
    spent = fees_of_day(facts.positions, utc_day(facts.now))
    sent = orders_of_last_minute(facts.positions, facts.now)
    return (
        *check_exposure(planned, leg_exposures(facts.positions, facts.marks), limits),
        *check_daily_loss(facts.day_result, limits),
        *check_daily_fees(spent, planned_fees, limits),
        *in_a_row,
        *check_cooldown(facts.positions, symbol, facts.now, limits),
        *check_order_rate(sent, limits),
    )
