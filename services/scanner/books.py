"""Order books as the scanner holds them, and what makes one unfit to be crossed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from services.common.codec import require_decimal, require_time
from services.common.errors import InvalidFieldError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta
    from decimal import Decimal

    from opensqt.market_maker.v1 import exchange_pb2, resources_pb2


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


def read_book(answer: exchange_pb2.GetOrderBookResponse, symbol: str, received: datetime) -> Book:
    """Return the book of an answer for `symbol`.

    Raises InvalidFieldError for another symbol's book, a level without a price or a quantity above
    zero, or levels out of order: a walk through such a book would tell a wrong price.
    """
    if answer.symbol != symbol:
        raise InvalidFieldError("symbol", f"is of another book than {symbol}")
    bids, asks = _levels(answer.bids, "bids"), _levels(answer.asks, "asks")
    if any(worse.price > better.price for better, worse in pairwise(bids)):
        raise InvalidFieldError("bids", "must fall from the best price on")
    if any(worse.price < better.price for better, worse in pairwise(asks)):
        raise InvalidFieldError("asks", "must rise from the best price on")
    return Book(bids, asks, require_time(answer, "observe_time"), received)


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


def _levels(levels: Iterable[resources_pb2.OrderBookLevel], side: str) -> tuple[Level, ...]:
    return tuple(
        Level(
            require_decimal(level, "price", positive=True, path=f"{side}."),
            require_decimal(level, "quantity", positive=True, path=f"{side}."),
        )
        for level in levels
    )
