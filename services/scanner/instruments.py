"""What the scanner knows of venues and instruments: plain values, no I/O.

One row type for each kind of bulk reading; absent figures are None, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from decimal import Decimal


class InstrumentKind(StrEnum):
    """Whether an instrument is the coin itself or its linear perpetual."""

    SPOT = "spot"
    PERPETUAL = "perpetual"


class TradingStatus(StrEnum):
    """Whether a venue takes orders in an instrument; UNKNOWN where it did not say."""

    UNKNOWN = "UNKNOWN"
    TRADING = "TRADING"
    BREAK = "BREAK"
    ENDED = "ENDED"


@dataclass(frozen=True, slots=True, order=True)
class InstrumentKey:
    """One instrument on one venue; `symbol` is canonical, the same on every venue."""

    venue: str
    symbol: str
    kind: InstrumentKind


@dataclass(frozen=True, slots=True)
class SymbolRow:
    """What a venue lists about an instrument; `end_time` is an announced end of trading."""

    symbol: str
    base_asset: str
    quote_asset: str
    status: TradingStatus
    margin_allowed: bool
    funding_interval: timedelta | None
    end_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class TickerRow:
    """Best prices and the quote volume of the last 24 hours."""

    symbol: str
    quote_volume: Decimal | None
    bid: Decimal | None
    ask: Decimal | None

    @property
    def mid(self) -> Decimal | None:
        """Middle of the book, None without a sound book (a side missing, zero or crossed)."""
        if self.bid is None or self.ask is None or self.bid <= 0 or self.ask < self.bid:
            return None
        return (self.bid + self.ask) / 2

    @property
    def half_spread(self) -> Decimal | None:
        """Half the spread over the mid: what crossing the book costs. None without a sound book."""
        mid = self.mid
        if mid is None or self.bid is None or self.ask is None:
            return None
        return (self.ask - self.bid) / (2 * mid)


@dataclass(frozen=True, slots=True)
class RateRow:
    """The rate of the coming settlement; `stamp` is the venue's own time of the reading."""

    symbol: str
    rate: Decimal | None
    next_funding_time: datetime | None
    stamp: datetime | None
    interval: timedelta | None


class ExclusionReason(StrEnum):
    """Why an instrument was left out; the text is what goes on the wire."""

    NOT_TRADING = "NOT_TRADING"
    DELISTED = "DELISTED"
    LEG_MISSING = "LEG_MISSING"
    ILLIQUID = "ILLIQUID"
    BOOK_MISSING = "BOOK_MISSING"
    SPREAD_WIDE = "SPREAD_WIDE"
    PRICES_APART = "PRICES_APART"
    INTERVAL_UNKNOWN = "INTERVAL_UNKNOWN"
    HISTORY_MISSING = "HISTORY_MISSING"
    HISTORY_SHORT = "HISTORY_SHORT"
    MARKET_DEAD = "MARKET_DEAD"
    SETTLEMENT_AHEAD = "SETTLEMENT_AHEAD"
    ZERO_RUN = "ZERO_RUN"
    RATE_IMPLAUSIBLE = "RATE_IMPLAUSIBLE"
    DATA_MALFORMED = "DATA_MALFORMED"
    BORROW_UNKNOWN = "BORROW_UNKNOWN"
    CARRY_LOW = "CARRY_LOW"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An instrument that was looked at and left out, with the figure behind the reason."""

    instrument: InstrumentKey
    reason: ExclusionReason
    detail: str
