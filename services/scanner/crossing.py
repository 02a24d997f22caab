"""What is known of crossing the books of a pair of legs: which can be walked, and for what size."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from services.scanner.books import is_stale
from services.scanner.capacity import CAPACITY_STEP, Capacity, capacity
from services.scanner.caveats import Caveat
from services.scanner.market import venue_now
from services.scanner.slippage import leg_book

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.scanner.books import Book
    from services.scanner.instruments import InstrumentKey
    from services.scanner.market import VenueView
    from services.scanner.pairs import PairOfLegs
    from services.scanner.rules import CostRules
    from services.scanner.slippage import LegBook


@dataclass(frozen=True, slots=True)
class Crossing:
    """Walkable books by leg, the notional of one leg that they are walked for, and the doubts.

    `notional` is the size of the settings, or what the books hold where that is less; None without
    any walkable book.
    """

    books: Mapping[InstrumentKey, LegBook]
    notional: Decimal | None
    caveats: frozenset[Caveat]


def crossing_of(
    pair: PairOfLegs,
    books: Mapping[InstrumentKey, Book | None],
    views: Mapping[str, VenueView],
    rules: CostRules,
) -> Crossing:
    """Return what the books say about crossing a pair.

    A leg without an entry in `books` was not asked for, one with None was not told. Books that are
    there have both sides and are not crossed (`book_problem`).
    """
    walkable: dict[InstrumentKey, LegBook] = {}
    caveats: set[Caveat] = set()
    for leg in (pair.long_leg, pair.short_leg):
        if leg not in books:
            caveats.add(Caveat.BOOK_UNREAD)
            continue
        book = books[leg]
        if book is None:
            caveats.add(Caveat.BOOK_MISSING)
        elif is_stale(book, clock_lead(views[leg.venue]), rules.book_max_age):
            caveats.add(Caveat.BOOK_STALE)
        else:
            walkable[leg] = leg_book(book)
    if not walkable:
        return Crossing(walkable, None, frozenset(caveats))
    # Down to a step, so that the size is a number the wire carries.
    size = min(rules.notional, *(each.held_notional for each in walkable.values()))
    notional = size.quantize(CAPACITY_STEP, rounding=ROUND_DOWN)
    if notional < rules.notional:
        caveats.add(Caveat.BOOK_SHALLOW)
    return Crossing(walkable, notional if notional > 0 else None, frozenset(caveats))


def pair_capacity(pair: PairOfLegs, crossing: Crossing, budget: Decimal) -> Capacity | None:
    """Return the largest notional whose crossing costs at most `budget`, a fraction of one leg's
    notional; None unless the books of both legs can be walked.
    """
    legs = (pair.long_leg, pair.short_leg)
    if any(leg not in crossing.books for leg in legs):
        return None
    return capacity([crossing.books[leg] for leg in legs], budget)


def clock_lead(view: VenueView) -> timedelta:
    """Return how far our clock is ahead of a venue's; nothing where the venue stamps no rates."""
    now = venue_now(view)
    return view.received - now if now is not None else timedelta(0)
