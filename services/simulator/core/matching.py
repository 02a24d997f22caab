"""Matching against the market's ladder less what accounts have taken from it.

What is taken comes back linearly over the replenishment time of the market clock, so a second
order right after the first meets a thinner book and a later one meets a full book.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from services.simulator.core.money import ZERO, floor_to
from services.simulator.core.orders import Side
from services.simulator.market.source import Book, BookLevel, Kind, MarketSource


@dataclass(frozen=True, slots=True)
class Execution:
    """A quantity taken at one price."""

    price: Decimal
    quantity: Decimal


def is_marketable(side: Side, price: Decimal, best: Decimal) -> bool:
    """Tell whether an order at `price` trades with the best level of the other side."""
    return price >= best if side is Side.BUY else price <= best


def take(
    levels: Sequence[BookLevel], side: Side, quantity: Decimal, limit: Decimal | None
) -> tuple[Execution, ...]:
    """Return what `quantity` executes at, best level first, never beyond `limit`."""
    taken: list[Execution] = []
    for level in levels:
        if quantity <= 0 or (limit is not None and not is_marketable(side, limit, level.price)):
            break
        part = min(quantity, level.quantity)
        taken.append(Execution(level.price, part))
        quantity -= part
    return tuple(taken)


def take_quote(levels: Sequence[BookLevel], budget: Decimal, lot: Decimal) -> tuple[Execution, ...]:
    """Return what a market order for `budget` in the quote asset executes at, in whole lots."""
    taken: list[Execution] = []
    for level in levels:
        part = min(level.quantity, floor_to(budget / level.price, lot))
        if part <= 0:
            break
        taken.append(Execution(level.price, part))
        budget -= part * level.price
        if part < level.quantity:
            break
    return tuple(taken)


def total(executions: Sequence[Execution]) -> Decimal:
    """Return the quantity of all executions."""
    return sum((item.quantity for item in executions), ZERO)


def cap(executions: Sequence[Execution], quantity: Decimal) -> tuple[Execution, ...]:
    """Return the first executions up to `quantity`: liquidity that ends earlier than shown."""
    kept: list[Execution] = []
    for item in executions:
        part = min(item.quantity, quantity)
        if part <= 0:
            break
        kept.append(Execution(item.price, part))
        quantity -= part
    return tuple(kept)


def without(levels: Sequence[BookLevel], consumed: Decimal) -> tuple[BookLevel, ...]:
    """Return the ladder after its first `consumed` units are gone."""
    if consumed <= 0:
        return tuple(levels)
    left: list[BookLevel] = []
    for level in levels:
        gone = min(consumed, level.quantity)
        consumed -= gone
        if gone < level.quantity:
            left.append(BookLevel(level.price, level.quantity - gone))
    return tuple(left)


def traded_through(trades: Sequence[Execution], side: Side, price: Decimal) -> Decimal:
    """Return the quantity of others' trades that went through a maker's `price`.

    Trades at the price itself do not count: who stood before the maker in the queue is not known.
    """
    beyond = (one for one in trades if one.price != price)
    return total([one for one in beyond if is_marketable(side, price, one.price)])


@dataclass(frozen=True, slots=True)
class _Consumption:
    quantity: Decimal
    time: datetime


class Liquidity:
    """The books accounts trade against."""

    def __init__(self, source: MarketSource, replenish: timedelta, depth: int) -> None:
        self._source = source
        self._replenish = replenish
        self._depth = depth
        self._consumed: dict[tuple[Kind, str, Side], _Consumption] = {}

    def levels(self, kind: Kind, symbol: str, side: Side, now: datetime) -> tuple[BookLevel, ...]:
        """Return the levels an order of `side` can take, best first."""
        book = self._source.book(kind, symbol, now, self._depth)
        ladder = book.asks if side is Side.BUY else book.bids
        lot = self._lot(kind, symbol)
        return without(ladder, self.consumed(kind, symbol, side, now, lot))

    def book(self, kind: Kind, symbol: str, now: datetime, depth: int) -> Book:
        """Return the book as the public sees it."""
        book = self._source.book(kind, symbol, now, depth)
        if not self._consumed:
            return book
        lot = self._lot(kind, symbol)
        return Book(
            bids=without(book.bids, self.consumed(kind, symbol, Side.SELL, now, lot)),
            asks=without(book.asks, self.consumed(kind, symbol, Side.BUY, now, lot)),
            update_id=book.update_id,
        )

    def best(
        self, kind: Kind, symbol: str, now: datetime
    ) -> tuple[BookLevel | None, BookLevel | None]:
        """Return the best bid and the best ask, None where a side is empty."""
        keys = ((kind, symbol, Side.BUY), (kind, symbol, Side.SELL))
        # one level is enough, and much cheaper, where nobody has taken anything
        is_touched = any(key in self._consumed for key in keys)
        book = self.book(kind, symbol, now, self._depth if is_touched else 1)
        return (book.bids or (None,))[0], (book.asks or (None,))[0]

    def consume(
        self, kind: Kind, symbol: str, side: Side, quantity: Decimal, now: datetime
    ) -> None:
        """Take `quantity` out of the levels that orders of `side` trade with."""
        if quantity > 0:
            before = self.consumed(kind, symbol, side, now, ZERO)
            # what has come back meanwhile is settled first; the rest starts its time anew
            self._consumed[kind, symbol, side] = _Consumption(before + quantity, now)

    def consumed(self, kind: Kind, symbol: str, side: Side, now: datetime, lot: Decimal) -> Decimal:
        """Return what is still missing from the ladder, in whole lots when `lot` is given."""
        row = self._consumed.get((kind, symbol, side))
        if row is None:
            return ZERO
        elapsed = now - row.time
        # forgotten, so that untouched books cost nothing again
        if elapsed >= self._replenish:
            del self._consumed[kind, symbol, side]
            return ZERO
        left = row.quantity * (1 - Decimal(elapsed / self._replenish))
        # in whole lots, or the levels shown would break the lot size
        return floor_to(left, lot) if lot else left

    def _lot(self, kind: Kind, symbol: str) -> Decimal:
        spec = self._source.instrument(kind, symbol)
        return spec.lot_size if spec is not None else ZERO
