"""Order books as the scanner holds them, and what makes one unfit to be crossed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Level:
    """A price in quote asset and the base quantity that rests there, both above zero."""

    price: Decimal
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Book:
    """The best levels of both sides, best first. `observed` is by the venue's clock, `received` by
    ours.
    """

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    observed: datetime
    received: datetime


def book_problem(book: Book) -> str | None:
    """Return why a book cannot be crossed on both sides, in words, or None when it can."""
    if not book.bids or not book.asks:
        lacking = [name for name, side in (("bids", book.bids), ("asks", book.asks)) if not side]
        return f"the order book has no {' and no '.join(lacking)}"
    bid, ask = book.bids[0].price, book.asks[0].price
    # A locked book (bid equal to ask) can be crossed; it only has no spread.
    if bid > ask:
        return f"the order book is crossed: bid {bid:f} over ask {ask:f}"
    return None


def is_stale(book: Book, clock_lead: timedelta, max_age: timedelta) -> bool:
    """Tell whether a book was older than `max_age` when it was received.

    `clock_lead` is how far our clock is ahead of the venue's, which stamped the book.
    """
    return book.received - book.observed - clock_lead > max_age
