"""Readers of the fields of a venue's row: strict, one word per kind of field, None where left out.

All raise ValueError for a field that is there and does not hold; the caller's row is then broken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from services.common.codec import from_millis
from services.common.logs import get_logger
from services.connector.order_types import ZERO
from services.connector.venue_numbers import venue_decimal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from decimal import Decimal

    from services.connector.order_types import VenueOrder

_logger = get_logger(__name__)
BROKEN_ROW: Final = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""What reading a row may raise that does not hold."""


def read_each(
    rows: Iterable[Any], read: Callable[[Mapping[str, Any]], VenueOrder | None]
) -> tuple[VenueOrder, ...]:
    """Return the orders of a message's rows; None from `read` leaves a row out.

    A broken row costs itself alone: beside it may stand the fill of an order of ours. Raises its
    error only when no row of the message could be read.
    """
    found: list[VenueOrder] = []
    errors: list[Exception] = []
    for row in rows:
        try:
            order = read(row)
        except BROKEN_ROW as error:
            errors.append(error)
            continue
        if order is not None:
            found.append(order)
    if errors and not found:
        raise errors[0]
    if errors:
        _logger.error("stream_rows_broken", rows=len(errors), problem=repr(errors[0]))
    return tuple(found)


def read_text(row: Mapping[str, Any], key: str) -> str:
    """Return a field that a row must have, as text."""
    value = row.get(key)
    if value is None or value == "":
        raise ValueError(f"the venue's row has no {key}")
    return str(value)


def read_number(row: Mapping[str, Any], key: str) -> Decimal:
    """Return a number that a row must have."""
    return venue_decimal(row.get(key), key)


def read_optional(row: Mapping[str, Any], *keys: str) -> Decimal | None:
    """Return the first of these numbers that the row has."""
    for key in keys:
        value = row.get(key)
        if value is not None and value != "":
            return venue_decimal(value, key)
    return None


def read_price(value: object) -> Decimal | None:
    """Return a price, None for an empty one and for the zero that means "none"."""
    if value is None or value == "":
        return None
    price = venue_decimal(value, "price")
    return price if price > ZERO else None


def read_time(value: object) -> datetime | None:
    """Return an instant given in milliseconds, None for an empty one and for zero."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or value <= 0:
        return None
    return from_millis(value)
