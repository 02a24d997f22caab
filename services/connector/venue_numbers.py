"""Numbers a venue sends: strict, exact, and never through a float."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_PATTERN: Final = re.compile(r"-?[0-9]{1,24}(\.[0-9]{1,30})?", re.ASCII)


def venue_decimal(value: object, name: str) -> Decimal:
    """Return the number in a venue's row, given as text or as a JSON number.

    Raises ValueError for anything but plain ASCII digits: venues have sent NaN, exponents and null.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        raise ValueError(f"{name} is not a number")
    # ccxt's books are floats, and the price of a small coin is written with an exponent then: its
    # shortest digits are those the venue sent.
    plain = Decimal(str(value)) if isinstance(value, float) else value
    text = format(plain, "f") if isinstance(plain, Decimal) else str(plain)
    if not _PATTERN.fullmatch(text):
        raise ValueError(f"{name} is not a plain number")
    return Decimal(text)


def optional_venue_decimal(value: object, name: str) -> Decimal | None:
    """Return the number, or None when the venue left it out."""
    if value is None or value == "":
        return None
    return venue_decimal(value, name)
