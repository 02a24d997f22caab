"""How much a pair of legs carries: the largest notional that both books still fill cheaply enough.

The mean price of a purchase never falls with its size, nor does that of a sale rise, so the cost of
crossing both books grows with the notional, and there is one point where it passes what may be
spent. Between two levels the cost is `a + d / notional`: the point is computed, not searched.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal, localcontext
from typing import TYPE_CHECKING

from services.scanner.slippage import EXACT, LegBook, crossing_ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

CAPACITY_STEP = Decimal("1e-8")
"""Capacities are told in whole steps of the quote asset, rounded down."""

# Beyond any market; a book that holds more is a number that the wire could not carry.
_MOST = Decimal(10) ** 15
# What rounding to 80 digits may add to a cost that is exactly the budget.
_TRACE = Decimal("1e-60")


@dataclass(frozen=True, slots=True)
class Capacity:
    """Largest notional of one leg; `is_book_end` where the books that were read end before the cost
    is too high.
    """

    notional: Decimal
    is_book_end: bool


def capacity(books: Sequence[LegBook], budget: Decimal) -> Capacity:
    """Return the largest notional at which crossing all `books` in and out costs at most `budget`.

    The budget is a fraction of one leg's notional; each leg has the notional at its own mid price.
    """
    with localcontext(EXACT):
        points = _level_notionals(books)
        if _fits(books, points[-1], budget):
            return Capacity(_round_down(points[-1]), is_book_end=True)
        # The first level at whose end the cost is over the budget, by halving: costs never fall.
        low, high = 0, len(points) - 1
        while low < high:
            middle = (low + high) // 2
            if _fits(books, points[middle], budget):
                low = middle + 1
            else:
                high = middle
        # Within one level the prices are the same everywhere, its middle included.
        inside = (points[low] + (points[low - 1] if low else 0)) / 2
        return Capacity(_round_down(_solve(books, inside, budget)), is_book_end=False)


def _level_notionals(books: Sequence[LegBook]) -> list[Decimal]:
    """Return the notionals at which a level of any side ends, up to where the first side ends."""
    end = min(_MOST, *(book.held_notional for book in books))
    inner = [
        quantity * book.mid
        for book in books
        for side in (book.bids, book.asks)
        for quantity in side.quantities
    ]
    return [*sorted(each for each in inner if each < end), end]


def _fits(books: Sequence[LegBook], notional: Decimal, budget: Decimal) -> bool:
    cost = sum((crossing_ratio(book, notional) for book in books), Decimal(0))
    return cost <= budget + _TRACE


def _solve(books: Sequence[LegBook], inside: Decimal, budget: Decimal) -> Decimal:
    """Return where the cost meets the budget on the levels that fill `inside`; 0 when even the
    best prices cost more.
    """
    flat, falling = Decimal(0), Decimal(0)
    for book in books:
        for side, sign in ((book.asks, 1), (book.bids, -1)):
            index = side.level_at(inside / book.mid)
            price = side.prices[index]
            # The amount of a quantity is `price * quantity + rest` within a level.
            rest = side.amounts[index] - price * side.quantities[index]
            flat += sign * price / book.mid
            falling += sign * rest
    return falling / (budget - flat) if falling < 0 and budget < flat else Decimal(0)


def _round_down(notional: Decimal) -> Decimal:
    return notional.quantize(CAPACITY_STEP, rounding=ROUND_DOWN)
