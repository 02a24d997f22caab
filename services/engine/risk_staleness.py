"""How old the figures behind an entry may be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from services.engine.risk_failure import CheckFailure
from services.engine.risk_limits import RiskLimits


@dataclass(frozen=True, slots=True)
class FigureAges:
    """Ages of what an entry is based on; None where it is not based on such a figure."""

    rate: timedelta | None = None
    opportunity: timedelta | None = None


def check_ages(ages: FigureAges, limits: RiskLimits) -> tuple[CheckFailure, ...]:
    """Check that no figure is older than its bound, nor from a time to come."""
    rows = (
        ("RATE_STALE", "funding rate", ages.rate, limits.max_rate_age),
        ("OPPORTUNITY_AGE", "opportunity", ages.opportunity, limits.max_opportunity_age),
    )
    return tuple(
        CheckFailure(
            reason, None, f"the {name} is {age.total_seconds():.1f} s old, at most {bound}"
        )
        for reason, name, age, bound in rows
        # An age below zero is a clock that is wrong, and tells nothing of freshness.
        if age is not None and bound is not None and not -bound <= age <= bound
    )
