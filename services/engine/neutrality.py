"""When two legs cancel: residual, tolerance and dust."""

from __future__ import annotations

from decimal import Decimal

from services.engine.instruments import InstrumentRules
from services.engine.orders import OrderSide
from services.engine.sizing import meets_minimum, order_quantity


def signed_change(side: OrderSide, executed: Decimal, net: Decimal) -> Decimal:
    """Return what an order changed its leg by, signed.

    `executed - net` is the fee taken in the base coin: a buy adds less by it, a sell takes more.
    """
    base_fee = executed - net
    return net if side is OrderSide.BUY else -(executed + base_fee)


def residual(long_quantity: Decimal, short_quantity: Decimal) -> Decimal:
    """Return the signed base quantity without a hedge; `short_quantity` is negative or zero."""
    return long_quantity + short_quantity


def tolerance(long_rules: InstrumentRules, short_rules: InstrumentRules) -> Decimal:
    """Return the larger of the two lots: a residual below it counts as matched."""
    return max(long_rules.lot_size, short_rules.lot_size)


def is_neutral(residual_quantity: Decimal, larger_lot: Decimal, dust: Decimal = Decimal(0)) -> bool:
    """Tell whether a residual is under the larger lot plus booked dust."""
    return abs(residual_quantity) < larger_lot + abs(dust)


def is_dust(
    residual_quantity: Decimal,
    price: Decimal,
    *,
    reducing: InstrumentRules,
    adding: InstrumentRules,
) -> bool:
    """Tell whether a residual is below both venues' minimum.

    It could be traded away by making one leg smaller (`reducing`) or the other larger (`adding`).
    """
    side = OrderSide.SELL if residual_quantity > 0 else OrderSide.BUY
    # Both ways out are tried before it is given up: dust is money that stays behind.
    back = order_quantity(abs(residual_quantity), side, reducing)
    more = order_quantity(abs(residual_quantity), side, adding)
    return not (
        meets_minimum(back, price, reducing, reduce_only=True) or meets_minimum(more, price, adding)
    )
