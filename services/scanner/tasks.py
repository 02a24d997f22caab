"""What the pool works on: readings of one venue each, as plain values.

A task names everything it needs, so that it can be queued, compared, joined when asked for twice,
and handed to another process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.scanner.spans import Span


@dataclass(frozen=True, slots=True)
class ReadSymbols:
    """All instruments a venue lists."""

    venue: str


@dataclass(frozen=True, slots=True)
class ReadTickers:
    """Volumes and best prices of all instruments of a venue."""

    venue: str


@dataclass(frozen=True, slots=True)
class ReadRates:
    """Rates of the coming settlement of all perpetuals of a venue."""

    venue: str


@dataclass(frozen=True, slots=True)
class ReadFees:
    """The account's trading fees at a venue; an empty symbol asks for all at once."""

    venue: str
    symbol: str = ""


@dataclass(frozen=True, slots=True)
class ReadBorrowRates:
    """Borrow rates of assets at a venue."""

    venue: str
    assets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadHistory:
    """Settlements within a span; an empty symbol asks for all perpetuals of the venue at once."""

    venue: str
    symbol: str
    span: Span


@dataclass(frozen=True, slots=True)
class ReadDetail:
    """Price volatility and open interest of one perpetual; asked for a shortlist only."""

    venue: str
    symbol: str


@dataclass(frozen=True, slots=True)
class ReadBook:
    """The best `depth` levels of one instrument's order book; asked for a shortlist only."""

    venue: str
    symbol: str
    depth: int


VenueTask = (
    ReadSymbols
    | ReadTickers
    | ReadRates
    | ReadFees
    | ReadBorrowRates
    | ReadHistory
    | ReadDetail
    | ReadBook
)

_WORDS: dict[type[VenueTask], str] = {
    ReadSymbols: "symbols",
    ReadTickers: "tickers",
    ReadRates: "funding rates",
    ReadFees: "trading fees",
    ReadBorrowRates: "borrow rates",
    ReadHistory: "funding history",
    ReadDetail: "candles and open interest",
    ReadBook: "order book",
}


def kind_of(task: VenueTask) -> str:
    """Return what the task reads, in words; also the label of its metrics."""
    return _WORDS[type(task)]


def describe(task: VenueTask) -> str:
    """Return the task in words for people: venue, what is read, and of which symbol."""
    symbol = getattr(task, "symbol", "")
    return f"{task.venue}: {kind_of(task)}{f' of {symbol}' if symbol else ''}"
