"""A connector's answer about an order book into the scanner's value."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from services.common.codec import require_decimal, require_time
from services.common.errors import InvalidFieldError
from services.scanner.books import Book, Level

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from opensqt.market_maker.v1 import exchange_pb2, resources_pb2


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


def _levels(levels: Iterable[resources_pb2.OrderBookLevel], side: str) -> tuple[Level, ...]:
    return tuple(
        Level(
            require_decimal(level, "price", positive=True, path=f"{side}."),
            require_decimal(level, "quantity", positive=True, path=f"{side}."),
        )
        for level in levels
    )
