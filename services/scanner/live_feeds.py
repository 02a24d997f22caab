"""Which streams are to be open for the legs that are followed: pure, and sparing with changes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from services.scanner.instruments import InstrumentKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from services.scanner.instruments import InstrumentKey

MAX_SYMBOLS = 100
"""Most symbols a connector streams prices of in one subscription."""
_MAX_PRICE_FEEDS = 4


class FeedKind(StrEnum):
    """What a stream brings; also the label of its metrics."""

    PRICES = "prices"
    RATES = "rates"


@dataclass(frozen=True, slots=True, order=True)
class Feed:
    """One stream of a venue: prices of some symbols, or the rates of all perpetuals (no symbols).

    Rates come for all at once because venues send or tell them so.
    """

    venue: str
    kind: FeedKind
    symbols: tuple[str, ...] = ()


def plan_feeds(standing: Collection[Feed], legs: Iterable[InstrumentKey]) -> frozenset[Feed]:
    """Return the streams that `legs` need, with as few changes of `standing` as there can be.

    A stream that is opened brings a snapshot, which costs the venue's limit, and one that is closed
    leaves a gap. So a stream of prices stays while half of its symbols are wanted, and new symbols
    get a stream of their own, until there are too many and all are made anew.
    """
    prices: dict[str, set[str]] = {}
    planned: set[Feed] = set()
    for leg in legs:
        prices.setdefault(leg.venue, set()).add(leg.symbol)
        if leg.kind is InstrumentKind.PERPETUAL:
            planned.add(Feed(leg.venue, FeedKind.RATES))
    for venue, symbols in prices.items():
        planned |= _price_feeds(venue, symbols, standing)
    return frozenset(planned)


def _price_feeds(venue: str, wanted: set[str], standing: Collection[Feed]) -> set[Feed]:
    kept = {
        feed
        for feed in standing
        if feed.venue == venue
        and feed.kind is FeedKind.PRICES
        and 2 * len(wanted.intersection(feed.symbols)) >= len(feed.symbols)
    }
    covered = {symbol for feed in kept for symbol in feed.symbols}
    feeds = kept | _chunks(venue, wanted - covered)
    fewest = _chunks(venue, wanted)
    return fewest if len(feeds) > max(_MAX_PRICE_FEEDS, 2 * len(fewest)) else feeds


def _chunks(venue: str, symbols: set[str]) -> set[Feed]:
    ordered = sorted(symbols)
    return {
        Feed(venue, FeedKind.PRICES, tuple(ordered[first : first + MAX_SYMBOLS]))
        for first in range(0, len(ordered), MAX_SYMBOLS)
    }
