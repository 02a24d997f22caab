"""Decimal arithmetic of the venue: steps, fixed fractions, plain text."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_UP, Decimal
from functools import lru_cache

ZERO = Decimal(0)
EIGHT_PLACES = Decimal("0.00000001")


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """Return the largest multiple of `step` that is not over `value` (both positive)."""
    return (value // step) * step if step else value


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Tell whether `value` is a whole number of steps; a step of zero allows anything."""
    return not step or value % step == 0


def decimals(value: Decimal) -> int:
    """Return how many digits after the point `value` needs, trailing zeros not counted."""
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def down8(value: Decimal) -> Decimal:
    """Cut to eight places, as the venue does with what it credits."""
    return value.quantize(EIGHT_PLACES, ROUND_DOWN)


def up8(value: Decimal) -> Decimal:
    """Raise to eight places, as the venue does with what it locks."""
    return value.quantize(EIGHT_PLACES, ROUND_UP)


@lru_cache(maxsize=64)
def _step(places: int) -> Decimal:
    return Decimal(1).scaleb(-places)


def fixed(value: Decimal, places: int) -> str:
    """Return plain text with exactly `places` digits after the point, cut."""
    # cut, not rounded: the venue never shows more than there is
    return format(value.quantize(_step(places), ROUND_DOWN), "f")


def text8(value: Decimal) -> str:
    """Return plain text with eight places."""
    return format(value.quantize(EIGHT_PLACES, ROUND_DOWN), "f")


def plain(value: Decimal) -> str:
    """Return plain text without exponent and without trailing zeros."""
    # normalize alone would write 1E+2 for a hundred, which no client reads as a price
    return format(value.normalize(), "f") if value else "0"
