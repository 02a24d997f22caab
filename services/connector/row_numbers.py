"""Numbers and stamps of a venue's bulk rows, and their way to the wire.

Raises ValueError on anything malformed, which quarantines that row and no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.type import decimal_pb2

from services.common.codec import (
    DECIMAL_PATTERN,
    MAX_FRACTION_DIGITS,
    format_decimal,
    limit_fraction,
)
from services.connector.venue_numbers import optional_venue_decimal, venue_decimal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from services.connector.instruments import Instrument


def number(row: dict[str, Any], key: str) -> Decimal | None:
    """Return the number under `key`, None when the venue left it out or empty."""
    return optional_venue_decimal(row.get(key), key)


def required(row: Mapping[str, Any], key: str) -> Decimal:
    """Return the number under `key`, which must be there."""
    return venue_decimal(row.get(key), key)


def positive(row: dict[str, Any], key: str) -> Decimal | None:
    """Return the number when above zero, else None: venues write 0 for "no such price"."""
    found = number(row, key)
    return None if found is None or found <= 0 else found


def stamp(row: dict[str, Any], key: str) -> int:
    """Return a stamp in Unix milliseconds, 0 when the venue left it out."""
    return milliseconds(row.get(key))


def milliseconds(value: Any) -> int:
    """Return a stamp in Unix milliseconds, 0 for none."""
    if value is None or value == "":
        return 0
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise ValueError("not a time in milliseconds")
    return int(text)


def text(row: Mapping[str, Any], key: str) -> str:
    """Return a text that must be there."""
    value = row[key]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} is missing")
    return value


def wire(value: Decimal | None) -> decimal_pb2.Decimal | None:
    """Return the wire form, rounded half-even to its 18 fraction digits; None stays absent.

    Raises ValueError when the number has more than 18 integer digits.
    """
    return None if value is None else _rounded(value)


def required_wire(row: Mapping[str, Any], key: str) -> decimal_pb2.Decimal:
    """Return the number under `key` in its wire form, as `wire` of `required`."""
    return venue_wire(row.get(key), key)


def venue_wire(written: object, name: str) -> decimal_pb2.Decimal:
    """Return a venue's number in its wire form, as `wire` of `venue_decimal`."""
    # A page of history has a thousand texts that are plain already; the way over Decimal would
    # take most of the time that the page takes here.
    if type(written) is str and DECIMAL_PATTERN.fullmatch(written):
        return decimal_pb2.Decimal(value=without_zeros(written))
    return _rounded(venue_decimal(written, name))


def price_wire(written: object, instrument: Instrument) -> decimal_pb2.Decimal:
    """Return a venue's price per single coin in its wire form."""
    # Nearly all instruments count single coins: then the venue's price is the one we tell.
    if instrument.base_multiplier == 1:
        return venue_wire(written, "price")
    return _rounded(instrument.to_base_price(venue_decimal(written, "price")))


def quantity_wire(written: object, instrument: Instrument) -> decimal_pb2.Decimal:
    """Return a quantity in the venue's unit as single coins in its wire form."""
    if instrument.unit == 1:
        return venue_wire(written, "quantity")
    return _rounded(instrument.to_base_quantity(venue_decimal(written, "quantity")))


def positive_wire(row: Mapping[str, Any], key: str) -> decimal_pb2.Decimal | None:
    """Return the number in its wire form when above zero, as `wire` of `positive`."""
    if row.get(key) in (None, ""):
        return None
    found = required_wire(row, key)
    return None if found.value == "0" or found.value.startswith("-") else found


def _rounded(value: Decimal) -> decimal_pb2.Decimal:
    exponent = value.as_tuple().exponent
    # Rounding is for quotients; a venue's own number almost never needs it.
    if not isinstance(exponent, int) or exponent < -MAX_FRACTION_DIGITS:
        value = limit_fraction(value)
    return decimal_pb2.Decimal(value=format_decimal(value))


def without_zeros(written: str) -> str:
    """Return a plain number's text without what says nothing: ending zeros, the sign of zero."""
    plain = written.rstrip("0").rstrip(".") if "." in written else written
    return "0" if plain == "-0" else plain
