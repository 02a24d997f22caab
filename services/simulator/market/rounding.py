"""From the float a price generator works in to the Decimal steps a venue trades in."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Final

_EIGHT_DIGITS: Final = 100_000_000.0
_ONE_IN_EIGHT_DIGITS: Final = Decimal("0.00000001")


def nearest(value: float, step: Decimal) -> Decimal:
    """Return the multiple of ``step`` nearest to ``value``, at least one step."""
    # A price of zero would be no price.
    return max(1, round(value / float(step))) * step


def whole_steps(value: float, step: Decimal) -> Decimal:
    """Return ``value`` rounded down to a multiple of ``step``; zero when it is less than one."""
    return math.floor(value / float(step)) * step


def eight_digits(value: float) -> Decimal:
    """Return ``value`` with eight fraction digits, as venues write rates, mark and index prices."""
    # Whole first, scaled as a Decimal: no tail of the float comes along.
    return Decimal(round(value * _EIGHT_DIGITS)) * _ONE_IN_EIGHT_DIGITS


def power_of_ten(exponent: int) -> Decimal:
    """Return 10 ** ``exponent`` in plain notation (``0.001``, ``1``, ``100``)."""
    # scaleb alone would write 1E+2 for a hundred.
    return Decimal(10**exponent) if exponent >= 0 else Decimal(1).scaleb(exponent)


def fraction_digits(step: Decimal) -> int:
    """Return how many digits after the point a multiple of ``step`` needs."""
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
