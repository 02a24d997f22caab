"""Figures that cost a call each, asked for the best opportunities only: order books, candles, open
interest.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from services.scanner.instruments import InstrumentKind
from services.scanner.tasks import ReadBook, ReadDetail, VenueTask

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from services.scanner.books import Book
    from services.scanner.instruments import InstrumentKey
    from services.scanner.market import VenueView
    from services.scanner.opportunity import LegFunding, Opportunity
    from services.scanner.task_runner import TaskEnd
    from services.scanner.venue_codec import Detail, Reading

SHORTLIST_ROUNDS = 2
"""What is told of a shortlist may move others up into it; those are asked for too, once."""


@dataclass(slots=True)
class ShortlistAnswers:
    """What was told of the legs asked for; a book is None where it was not told.

    Mutable: filled answer by answer. A leg is asked for once a scan, told or not.
    """

    asked: set[InstrumentKey] = field(default_factory=set)
    books: dict[InstrumentKey, Book | None] = field(default_factory=dict)
    details: dict[tuple[str, str], Detail] = field(default_factory=dict)

    def new_legs(self, shortlist: Iterable[Opportunity]) -> tuple[InstrumentKey, ...]:
        """Return the legs of the shortlist that were not asked for yet, in the order of the rank,
        and count them as asked.
        """
        # A dict keeps the order and drops the second mention of a leg.
        legs = {
            leg: None
            for each in shortlist
            for leg in (each.pair.long_leg, each.pair.short_leg)
            if leg not in self.asked
        }
        self.asked |= legs.keys()
        return tuple(legs)

    def take(self, end: TaskEnd[VenueTask, Reading], leg: InstrumentKey) -> None:
        """Keep what a reading of a leg told, nothing included."""
        if isinstance(end.task, ReadBook):
            self.books[leg] = cast("Book", end.value) if end.error is None else None
        elif isinstance(end.task, ReadDetail) and end.error is None:
            self.details[leg.venue, leg.symbol] = cast("Detail", end.value)


def leg_tasks(legs: Iterable[InstrumentKey], depth: int) -> list[VenueTask]:
    """Return the readings of legs: an order book each, and the detail of perpetuals."""
    tasks: list[VenueTask] = []
    for leg in legs:
        tasks.append(ReadBook(leg.venue, leg.symbol, depth))
        if leg.kind is InstrumentKind.PERPETUAL:
            tasks.append(ReadDetail(leg.venue, leg.symbol))
    return tasks


def with_details(
    opportunity: Opportunity,
    details: Mapping[tuple[str, str], Detail],
    views: Mapping[str, VenueView],
) -> Opportunity:
    """Return the opportunity with what is known of its perpetuals' volatility and open interest."""
    pair = opportunity.pair
    if not any((leg.venue, leg.symbol) in details for leg in pair.perpetuals):
        return opportunity
    return replace(
        opportunity,
        long_funding=_detailed(opportunity.long_funding, pair.long_leg, details, views),
        short_funding=_detailed(opportunity.short_funding, pair.short_leg, details, views),
    )


def _detailed(
    funding: LegFunding | None,
    leg: InstrumentKey,
    details: Mapping[tuple[str, str], Detail],
    views: Mapping[str, VenueView],
) -> LegFunding | None:
    detail = details.get((leg.venue, leg.symbol))
    if funding is None or detail is None:
        return funding
    return replace(
        funding,
        price_volatility=detail.price_volatility,
        open_interest_to_volume=_interest_to_volume(detail, leg, views),
    )


def _interest_to_volume(
    detail: Detail, leg: InstrumentKey, views: Mapping[str, VenueView]
) -> float | None:
    ticker = views[leg.venue].tickers[leg.symbol]
    notional = detail.open_interest_notional
    if notional is None and detail.open_interest is not None and ticker.mid is not None:
        notional = detail.open_interest * ticker.mid
    if notional is None or not ticker.quote_volume:
        return None
    return float(notional / ticker.quote_volume)
