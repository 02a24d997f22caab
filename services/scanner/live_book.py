"""The newest rows of the legs that are followed between scans, and when each was heard."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection

    from services.scanner.books import Book
    from services.scanner.instruments import InstrumentKey, RateRow, TickerRow

RowT = TypeVar("RowT")


@dataclass(frozen=True, slots=True)
class Heard(Generic[RowT]):
    """A row and the monotonic second at which it came, or at which it was asked for."""

    row: RowT
    at: float


@dataclass(frozen=True, slots=True)
class LegNews:
    """What came of one leg since it is followed; None for what has not come yet."""

    since: float
    quote: Heard[TickerRow] | None = None
    rate: Heard[RateRow] | None = None
    book: Heard[Book] | None = None


class LiveBook:
    """Holds the news of followed legs; rows of other legs are passed over."""

    def __init__(self) -> None:
        self._news: dict[InstrumentKey, LegNews] = {}

    def follow(self, legs: Collection[InstrumentKey], now: float) -> None:
        """Follow these legs from now on; those followed before keep their news."""
        self._news = {leg: self._news.get(leg) or LegNews(now) for leg in legs}

    @property
    def legs(self) -> Collection[InstrumentKey]:
        """Legs that are followed."""
        return self._news.keys()

    def news(self, leg: InstrumentKey) -> LegNews | None:
        """Return the news of a leg, None when it is not followed."""
        return self._news.get(leg)

    def take_quote(self, leg: InstrumentKey, row: TickerRow, at: float) -> None:
        """Keep the best prices of a leg."""
        news = self._news.get(leg)
        if news is not None:
            self._news[leg] = replace(news, quote=Heard(row, at))

    def take_rate(self, leg: InstrumentKey, row: RateRow, at: float) -> None:
        """Keep the rate of a leg's coming settlement."""
        news = self._news.get(leg)
        if news is not None:
            self._news[leg] = replace(news, rate=Heard(row, at))

    def take_book(self, leg: InstrumentKey, book: Book, at: float) -> None:
        """Keep a leg's order book."""
        news = self._news.get(leg)
        if news is not None:
            self._news[leg] = replace(news, book=Heard(book, at))
