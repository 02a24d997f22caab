"""How large an entry both books bear: the largest size whose walk stays within the bound.

Every order goes with a worst price, so a level beyond it is never met: the walk of a size stays
within the bound just when the levels up to that price hold it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, localcontext

from services.engine.instruments import LegSide
from services.engine.orders import OrderSide
from services.engine.pretrade import LegFacts
from services.engine.pricing import depth_within

_PRECISION = 60


def bearable(facts: LegFacts, worst_price: Decimal) -> Decimal:
    """Return the size whose order on this leg finds its quantity no worse than `worst_price`.

    A buy whose fee is taken in the base coin asks for more than the size, so it bears less.
    """
    depth = depth_within(facts.book, facts.side, worst_price)
    if facts.side is OrderSide.SELL:
        return depth
    with localcontext() as context:
        context.prec = _PRECISION
        return depth * (1 - facts.rules.base_fee_ratio)


def thinner_leg(borne: Mapping[LegSide, Decimal]) -> LegSide:
    """Return the leg that bears less: it leads, since what it fills the other one can hedge."""
    return LegSide.LONG if borne[LegSide.LONG] <= borne[LegSide.SHORT] else LegSide.SHORT


def size_by_depth(
    wanted: Decimal, borne: Mapping[LegSide, Decimal], min_size_ratio: Decimal
) -> Decimal:
    """Return the size to enter: what was wanted, or as much of it as both books bear.

    Where that is less than `min_size_ratio` of it the wanted size stands, and the checks refuse it:
    a small part is not what was asked for.
    """
    largest = min(wanted, *borne.values())
    return largest if largest >= wanted * min_size_ratio else wanted
