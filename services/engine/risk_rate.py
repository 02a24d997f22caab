"""How many orders left lately: a bound on what a loop gone wrong can do."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from services.engine.position import Position
from services.engine.risk_failure import CheckFailure
from services.engine.risk_limits import RiskLimits

WINDOW = timedelta(minutes=1)
"""For how long an order counts."""
ENTRY_ORDERS = 2
"""Orders that the smallest entry sends: the lead and its hedge."""


def orders_of_last_minute(positions: Iterable[Position], now: datetime) -> int:
    """Return how many orders of any kind were decided within the last minute."""
    return sum(
        now - record.create_time < WINDOW
        for position in positions
        if now - position.update_time < WINDOW
        for record in position.orders.values()
    )


def check_order_rate(sent: int, limits: RiskLimits) -> tuple[CheckFailure, ...]:
    """Check that the lead and the hedge of one more entry stay within the bound.

    Only entries ask: hedges, unwinds and exits leave whatever the rate is.
    """
    bound = limits.max_orders_per_minute
    if bound is None or sent + ENTRY_ORDERS <= bound:
        return ()
    text = f"{sent} orders in the last minute, max_orders_per_minute is {bound}"
    return (CheckFailure("ORDER_RATE_LIMIT", None, text),)
