"""A finding of a scan brought up to date: the scan's own evidence with the newest rows laid over.

The scan's formulas are applied again, so that what is published between scans means the same as
what a scan publishes. The histories, volumes, fees and borrow rates stay those of the scan.
"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from services.scanner.books import Level, book_problem
from services.scanner.caveats import Caveat
from services.scanner.crossing import clock_lead
from services.scanner.evaluate import Rejection, evaluate_pair
from services.scanner.held import Held
from services.scanner.instruments import InstrumentKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from services.scanner.analytics import FundingStatistics
    from services.scanner.books import Book
    from services.scanner.evaluate import Evidence
    from services.scanner.instruments import InstrumentKey, RateRow, TickerRow
    from services.scanner.live_book import Heard, LegNews
    from services.scanner.live_rules import LiveRules
    from services.scanner.market import VenueView
    from services.scanner.moments import Moment
    from services.scanner.opportunity import LegFunding, Opportunity
    from services.scanner.rules import ScanRules

RowT = TypeVar("RowT")

_HOUR = timedelta(hours=1)


def freshened(
    held: Held,
    news: Mapping[InstrumentKey, LegNews],
    rules: ScanRules,
    live: LiveRules,
    now: Moment,
) -> Held | None:
    """Return the finding with the news of its two legs laid over; None while it does not qualify.

    It is as old as its oldest rate, price or book, by the monotonic clock. A finding that no scan
    has made again for too long is returned as it is, and expires.
    """
    evidence = held.evidence
    if evidence is None or now.monotonic - held.observed > live.max_scan_age.total_seconds():
        return held
    ages = {leg: _oldest(leg, each, held) for leg, each in news.items()}
    fresh = _laid_over(evidence, news, held.observed, ages, now)
    result = evaluate_pair(held.opportunity.pair, fresh, rules)
    if isinstance(result, Rejection):
        return None
    doubts = _doubts(news, evidence, live, now)
    return Held(_completed(result, held.opportunity, doubts), min(ages.values()), evidence)


def is_stale(leg: InstrumentKey, news: LegNews, live: LiveRules, now: float) -> bool:
    """Tell whether a stream of the leg has been silent for too long, or has not begun."""
    heard = _at(news.quote)
    if leg.kind is InstrumentKind.PERPETUAL:
        heard = min(heard, _at(news.rate))
    return now - max(heard, news.since) > live.silence.total_seconds()


def _oldest(leg: InstrumentKey, news: LegNews, held: Held) -> float:
    """Return when the oldest row came that the leg's figures will stand on."""
    came = _at(news.quote)
    if leg.kind is InstrumentKind.PERPETUAL:
        came = min(came, _at(news.rate))
    has_book = held.evidence is not None and held.evidence.books.get(leg) is not None
    if has_book or news.book is not None:
        came = min(came, _at(news.book))
    # A row older than the scan's own reading is passed over for that one.
    return max(came, held.observed)


def _at(heard: Heard[RowT] | None) -> float:
    return heard.at if heard is not None else -math.inf


def _laid_over(
    evidence: Evidence,
    news: Mapping[InstrumentKey, LegNews],
    observed: float,
    ages: Mapping[InstrumentKey, float],
    now: Moment,
) -> Evidence:
    views: dict[str, VenueView] = {}
    books: dict[InstrumentKey, Book | None] = {}
    statistics: dict[InstrumentKey, FundingStatistics] = {}
    for leg, each in news.items():
        rate, quote = _newer(each.rate, observed), _newer(each.quote, observed)
        views[leg.venue] = _view(evidence.views[leg.venue], leg, quote, rate, now.at(ages[leg]))
        book = _newer(each.book, observed) or evidence.books.get(leg)
        if book is not None or leg in evidence.books:
            read = each.book.at if each.book is not None else observed
            books[leg] = _on_quote(book, _newer(each.quote, read))
        if leg in evidence.statistics:
            statistics[leg] = _with_interval(evidence.statistics[leg], rate)
    return replace(evidence, views=views, books=books, statistics=statistics)


def _newer(heard: Heard[RowT] | None, observed: float) -> RowT | None:
    return heard.row if heard is not None and heard.at > observed else None


def _view(
    view: VenueView,
    leg: InstrumentKey,
    quote: TickerRow | None,
    rate: RateRow | None,
    received: datetime,
) -> VenueView:
    ticker, rate = view.tickers[leg.symbol], rate or view.rates.get(leg.symbol)
    if quote is not None:
        ticker = replace(ticker, bid=quote.bid, ask=quote.ask)
    # One row does not tell the venue's present: its clock is taken to run as it ran at the scan.
    stamp = received - clock_lead(view)
    rates = {} if rate is None else {leg.symbol: replace(rate, stamp=stamp)}
    return replace(view, tickers={leg.symbol: ticker}, rates=rates, received=received)


def _on_quote(book: Book | None, quote: TickerRow | None) -> Book | None:
    """Return the book with its sides moved to the best prices of a quote that is newer."""
    if book is None or quote is None or quote.bid is None or quote.ask is None:
        return book
    # A side that is empty, or a book that is crossed, has no shape to move.
    if book_problem(book) is not None:
        return book
    up, over = quote.bid - book.bids[0].price, quote.ask - book.asks[0].price
    bids = (Level(each.price + up, each.quantity) for each in book.bids)
    asks = (Level(each.price + over, each.quantity) for each in book.asks)
    return replace(book, bids=tuple(each for each in bids if each.price > 0), asks=tuple(asks))


def _with_interval(statistics: FundingStatistics, rate: RateRow | None) -> FundingStatistics:
    """Return the statistics with the interval the venue names now."""
    if rate is None or rate.interval is None:
        return statistics
    hours = rate.interval / _HOUR
    return (
        statistics
        if hours == statistics.interval_hours
        else replace(statistics, interval_hours=hours)
    )


def _doubts(
    news: Mapping[InstrumentKey, LegNews], evidence: Evidence, live: LiveRules, now: Moment
) -> set[str]:
    doubts: set[str] = set()
    for leg, each in news.items():
        if is_stale(leg, each, live, now.monotonic):
            doubts.add(Caveat.STREAM_STALE)
        told = each.rate.row.interval if each.rate is not None else None
        known = evidence.statistics.get(leg)
        if told is not None and known is not None and told / _HOUR != known.interval_hours:
            doubts.add(Caveat.INTERVAL_CHANGED)
    return doubts


def _completed(fresh: Opportunity, found: Opportunity, doubts: Iterable[str]) -> Opportunity:
    """Return the opportunity with the doubts, and with what only a scan asks for."""
    return replace(
        fresh,
        caveats=tuple(sorted({*fresh.caveats, *doubts})),
        long_funding=_with_detail(fresh.long_funding, found.long_funding),
        short_funding=_with_detail(fresh.short_funding, found.short_funding),
    )


def _with_detail(fresh: LegFunding | None, found: LegFunding | None) -> LegFunding | None:
    if fresh is None or found is None:
        return fresh
    return replace(
        fresh,
        price_volatility=found.price_volatility,
        open_interest_to_volume=found.open_interest_to_volume,
    )
