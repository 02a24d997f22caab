"""The wait after a position ended before its symbol is entered again: churn pays fees only."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from services.engine.position import Position
from services.engine.risk_failure import CheckFailure
from services.engine.risk_limits import RiskLimits


def check_cooldown(
    positions: Iterable[Position], symbol: str, now: datetime, limits: RiskLimits
) -> tuple[CheckFailure, ...]:
    """Check that no position of the symbol ended within the cooldown.

    One whose lead was never filled does not count: it has paid nothing.
    """
    ends = [
        p.close_time
        for p in positions
        if p.symbol == symbol
        # One that ended after now did so before the clock was put back: by how much, none can say.
        and p.close_time is not None
        and p.close_time <= now
        and any(r.executed > 0 for r in p.orders.values())
    ]
    if not ends:
        return ()
    left = max(ends) + limits.symbol_cooldown - now
    if left <= timedelta(0):
        return ()
    text = f"a position in {symbol} ended a moment ago; {left.total_seconds():.0f} s to wait"
    return (CheckFailure("SYMBOL_COOLDOWN", None, text),)
