"""What taking a size out of an order book costs: the walk through its levels.

Amounts are exact; only quotients are rounded, to 80 digits.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.scanner.books import Book, Level

EXACT = Context(prec=80)
"""Price and quantity have at most 36 digits each, and a book at most a thousand levels."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """One side of a book with running sums: down to each level, the base quantity held and its
    worth.
    """

    prices: tuple[Decimal, ...]
    quantities: tuple[Decimal, ...]
    amounts: tuple[Decimal, ...]

    @property
    def held_quantity(self) -> Decimal:
        """Base quantity on all levels."""
        return self.quantities[-1]

    def level_at(self, quantity: Decimal) -> int:
        """Return the index of the level that fills the last of `quantity`."""
        return min(bisect_left(self.quantities, quantity), len(self.prices) - 1)

    def amount(self, quantity: Decimal) -> Decimal:
        """Return the quote amount for which `quantity` changes hands, exactly.

        Raises ValueError when the side holds less.
        """
        if quantity > self.held_quantity:
            raise ValueError("the book holds less than that quantity")
        index = self.level_at(quantity)
        with localcontext(EXACT):
            # What is beyond the quantity on the last level is given back at that level's price.
            return self.amounts[index] - self.prices[index] * (self.quantities[index] - quantity)


@dataclass(frozen=True, slots=True)
class LegBook:
    """Both sides of a sound book and the middle between its best prices."""

    mid: Decimal
    half_spread_ratio: Decimal
    bids: Ladder
    asks: Ladder

    @property
    def held_notional(self) -> Decimal:
        """Largest notional, at the mid, that either side fills."""
        with localcontext(EXACT):
            return min(self.bids.held_quantity, self.asks.held_quantity) * self.mid


def ladder(levels: Sequence[Level]) -> Ladder:
    """Return the running sums of one side, best level first; there is at least one level."""
    with localcontext(EXACT):
        return Ladder(
            tuple(level.price for level in levels),
            tuple(accumulate(level.quantity for level in levels)),
            tuple(accumulate(level.price * level.quantity for level in levels)),
        )


def leg_book(book: Book) -> LegBook:
    """Return the walkable form of a book that has both sides and is not crossed."""
    bid, ask = book.bids[0].price, book.asks[0].price
    with localcontext(EXACT):
        mid = (bid + ask) / 2
        half_spread_ratio = (ask - bid) / (2 * mid)
    return LegBook(mid, half_spread_ratio, ladder(book.bids), ladder(book.asks))


def crossing_ratio(book: LegBook, notional: Decimal) -> Decimal:
    """Return what buying `notional` and selling it again loses, as a fraction of it.

    The quantity is the notional at the mid; it is bought up the asks and sold down the bids, so
    that the ratio holds the whole spread and the slippage of both. Raises ValueError when a side
    holds less.
    """
    if notional > book.held_notional:
        raise ValueError("the book holds less than that notional")
    with localcontext(EXACT):
        # Dividing may round the last digit up over what the side holds.
        held = min(book.bids.held_quantity, book.asks.held_quantity)
        quantity = min(notional / book.mid, held)
        return (book.asks.amount(quantity) - book.bids.amount(quantity)) / notional


def slippage_ratio(book: LegBook, notional: Decimal) -> Decimal:
    """Return the mean loss of one crossing beyond the best price, as a fraction of the notional."""
    with localcontext(EXACT):
        # Rounding may leave a trace below zero where the best level fills it all.
        return max(crossing_ratio(book, notional) / 2 - book.half_spread_ratio, Decimal(0))
