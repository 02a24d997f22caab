"""What an order paid beyond the price it was decided by."""

from __future__ import annotations

from decimal import Decimal

from services.engine.orders import OrderClass, OrderOutcome, OrderPlan, OrderSide

_OPENING = frozenset({OrderClass.ENTRY, OrderClass.HEDGE})


def slippage_ratio(plan: OrderPlan, outcome: OrderOutcome, reference: Decimal) -> Decimal | None:
    """Return the executed average against `reference`, above 0 where it is worse.

    None for orders that do not open: their market has moved on since the entry was decided.
    """
    if plan.order_class not in _OPENING or outcome.executed <= 0 or reference <= 0:
        return None
    price = outcome.average_price
    if price is None and outcome.cumulative_quote is not None:
        price = outcome.cumulative_quote / outcome.executed
    if price is None:
        return None
    change = price / reference - 1
    return change if plan.side is OrderSide.BUY else -change
