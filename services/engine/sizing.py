"""How much: lots, common lots, and the hedge that follows what was filled.

Quantities are base units. Rounding is always down, so that it never adds exposure.
"""

from __future__ import annotations

import math
from decimal import ROUND_FLOOR, Context, Decimal

from services.engine.instruments import InstrumentRules
from services.engine.orders import OrderSide

# 28 digits are too few for a large quantity over a lot of 18 places. One for all calls: to make the
# context of a block costs more than what is computed in it.
_EXACT = Context(prec=60)
_DOWN = Context(prec=60, rounding=ROUND_FLOOR)


def floor_to_lot(quantity: Decimal, lot_size: Decimal) -> Decimal:
    """Return the largest whole number of lots within `quantity`; 0 for a quantity below one lot."""
    if quantity <= 0:
        return Decimal(0)
    lots = _EXACT.divide(quantity, lot_size).to_integral_value(ROUND_FLOOR, _EXACT)
    return _EXACT.multiply(lots, lot_size)


def common_lot(first: Decimal, second: Decimal) -> Decimal:
    """Return the smallest quantity that is a whole number of both lots (their LCM).

    Both lots are scaled to whole numbers first, so that 0.4 and 0.6 give 1.2.
    """
    scale = 0
    for lot in (first, second):
        exponent = lot.normalize().as_tuple().exponent
        if not isinstance(exponent, int) or lot <= 0:
            raise ValueError(f"not a lot size: {lot}")
        scale = max(scale, -exponent)
    units = [int(lot.scaleb(scale)) for lot in (first, second)]
    return Decimal(math.lcm(*units)).scaleb(-scale)


def gross_up(net: Decimal, base_fee_ratio: Decimal) -> Decimal:
    """Return what must be bought so that `net` is left after a fee taken in the base coin."""
    if base_fee_ratio == 0:
        return net
    return _DOWN.divide(net, _DOWN.subtract(Decimal(1), base_fee_ratio))


def order_quantity(need: Decimal, side: OrderSide, rules: InstrumentRules) -> Decimal:
    """Return the order that changes the leg by `need` at most: whole lots, below the maximum.

    A buy whose fee is taken in the base coin is grossed up; its net never exceeds the need.
    """
    gross = gross_up(need, rules.base_fee_ratio) if side is OrderSide.BUY else need
    quantity = floor_to_lot(gross, rules.lot_size)
    if rules.max_quantity is not None:
        quantity = min(quantity, floor_to_lot(rules.max_quantity, rules.lot_size))
    return quantity


def scale_hedge_to_fills(
    lead_net: Decimal, hedged_net: Decimal, side: OrderSide, rules: InstrumentRules
) -> Decimal:
    """Return the hedge order for what the lead has filled net and the hedge has not: never more."""
    return order_quantity(lead_net - hedged_net, side, rules)


def entry_quantity(
    wanted: Decimal, long_rules: InstrumentRules, short_rules: InstrumentRules
) -> Decimal:
    """Return the entry size: `wanted` rounded down to the common lot of both legs."""
    return floor_to_lot(wanted, common_lot(long_rules.lot_size, short_rules.lot_size))


def meets_minimum(
    quantity: Decimal, price: Decimal, rules: InstrumentRules, *, reduce_only: bool = False
) -> bool:
    """Tell whether a venue takes an order of this size at this price.

    Reduce-only orders of perpetuals are exempt from the minimum notional (Binance USD-M filters:
    MIN_NOTIONAL does not apply to reduceOnly), so that a small rest can always be closed.
    """
    if quantity <= 0 or quantity < rules.min_quantity:
        return False
    if reduce_only and rules.is_perpetual:
        return True
    return quantity * price >= rules.min_notional
