"""A connector's answer about an order book into the scanner's value."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import TYPE_CHECKING

from services.common.codec import DECIMAL_PATTERN, require_decimal, require_time
from services.common.errors import InvalidFieldError
from services.scanner.books import Book, Level

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from opensqt.market_maker.v1 import exchange_pb2, resources_pb2

_PLAIN_NUMBERS = re.compile(rf"(?:{DECIMAL_PATTERN.pattern}\n)*", re.ASCII)


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


def _levels(levels: Sequence[resources_pb2.OrderBookLevel], side: str) -> tuple[Level, ...]:
    return _plain_levels(levels) or tuple(
        Level(
            require_decimal(level, "price", positive=True, path=f"{side}."),
            require_decimal(level, "quantity", positive=True, path=f"{side}."),
        )
        for level in levels
    )


def _plain_levels(levels: Sequence[resources_pb2.OrderBookLevel]) -> tuple[Level, ...]:
    """Return the levels when every number is plain and above zero; else none, and reading them one
    by one tells which is not.

    All at once costs a quarter: a shortlist has thousands of levels.
    """
    texts = [(level.price.value, level.quantity.value) for level in levels]
    if not _PLAIN_NUMBERS.fullmatch("".join(f"{price}\n{quantity}\n" for price, quantity in texts)):
        return ()
    try:
        found = tuple(Level(Decimal(price), Decimal(quantity)) for price, quantity in texts)
    except InvalidOperation:
        return ()
    return found if all(level.price > 0 and level.quantity > 0 for level in found) else ()
