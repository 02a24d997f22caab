"""Daily bounds: loss and fees since 00:00 UTC."""

from __future__ import annotations

from decimal import Decimal

from services.engine.risk_failure import CheckFailure
from services.engine.risk_limits import RiskLimits


def check_daily_loss(result: Decimal, limits: RiskLimits) -> tuple[CheckFailure, ...]:
    """Check what the day has made so far, signed: a loss that has reached the bound is enough."""
    bound = limits.max_daily_loss
    # One more entry could only go past it.
    if bound is None or -result < bound:
        return ()
    text = f"the day has lost {-result:.2f}, max_daily_loss is {bound}"
    return (CheckFailure("DAILY_LOSS_LIMIT", None, text),)


def check_daily_fees(
    spent: Decimal, planned: Decimal, limits: RiskLimits
) -> tuple[CheckFailure, ...]:
    """Check the day's fees with those of the entry and of its exit (`planned`)."""
    bound = limits.max_daily_fees
    if bound is None or spent + planned <= bound:
        return ()
    text = f"{spent:.2f} of fees today and {planned:.2f} to come are above max_daily_fees, {bound}"
    return (CheckFailure("DAILY_FEE_LIMIT", None, text),)
