"""What the venue core knows about a market: instruments, books, prices, candles, funding.

Every method is a pure function of the source (seed or files) and the instant asked for: the
same instant gives the same answer, in any order of calls and in any process. Instants are aware
UTC datetimes of the simulator's market clock. Decimal values are already rounded to the
instrument's tick and lot. Symbols are the venue's own names (``1000PEPEUSDT``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Protocol


class Kind(StrEnum):
    """Kind of instrument."""

    SPOT = "SPOT"
    PERPETUAL = "PERPETUAL"


@dataclass(frozen=True, slots=True)
class InstrumentSpec:
    """One tradable thing with its filters.

    Quantities are in units of ``symbol`` (thousands of coins for a ``1000X`` perpetual), prices
    and notionals in the quote asset, ratios are fractions. ``status`` is ``TRADING``, ``BREAK``
    (spot, delisted) or ``SETTLING`` (perpetual, delisted).
    """

    symbol: str
    kind: Kind
    base_asset: str
    quote_asset: str
    settle_asset: str | None
    status: str
    tick_size: Decimal
    lot_size: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    market_max_quantity: Decimal
    min_notional: Decimal
    price_precision: int
    quantity_precision: int
    base_precision: int
    onboard_time: datetime
    delivery_time: datetime | None
    margin_allowed: bool
    max_leverage: int
    maintenance_margin_ratio: Decimal
    funding_cap: Decimal


@dataclass(frozen=True, slots=True)
class BookLevel:
    """One price of one side of a book with the quantity offered there."""

    price: Decimal
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Book:
    """Both sides of a book as the market alone makes it, best level first.

    The venue core subtracts what accounts have consumed. ``update_id`` grows with time.
    """

    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]
    update_id: int


@dataclass(frozen=True, slots=True)
class FundingSettlement:
    """One paid funding rate: a fraction for ``interval``, positive when longs pay shorts."""

    symbol: str
    time: datetime
    rate: Decimal
    mark_price: Decimal
    interval: timedelta


@dataclass(frozen=True, slots=True)
class FundingState:
    """Funding of one perpetual now.

    ``last_rate`` is the rate that will be paid at ``next_time`` (Binance calls it
    lastFundingRate). ``next_time`` is None when no settlement will follow.
    """

    symbol: str
    mark_price: Decimal
    index_price: Decimal
    last_rate: Decimal
    interest_rate: Decimal
    next_time: datetime | None
    interval: timedelta


@dataclass(frozen=True, slots=True)
class Candle:
    """One kline; ``close_time`` is the last millisecond of the candle."""

    open_time: datetime
    close_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    trade_count: int


@dataclass(frozen=True, slots=True)
class DayTicker:
    """Statistics of the 24 hours up to ``close_time``; the change ratio is a fraction."""

    symbol: str
    open: Decimal
    high: Decimal
    low: Decimal
    last: Decimal
    volume: Decimal
    quote_volume: Decimal
    price_change: Decimal
    price_change_ratio: Decimal
    open_time: datetime
    close_time: datetime
    trade_count: int


class MarketSource(Protocol):
    """A whole exchange's market data. Unknown symbols raise ``KeyError``."""

    @property
    def start(self) -> datetime:
        """Return the natural start instant of the market clock."""
        ...

    def instruments(self, kind: Kind, now: datetime) -> Sequence[InstrumentSpec]:
        """Return every instrument of ``kind`` listed by ``now``, with its status at ``now``."""
        ...

    def instrument(self, kind: Kind, symbol: str) -> InstrumentSpec | None:
        """Return one instrument with its status at ``start``, None if unknown."""
        ...

    def book(self, kind: Kind, symbol: str, now: datetime, depth: int = 20) -> Book:
        """Return ``depth`` levels of each side; empty sides when trading has ended."""
        ...

    def last_price(self, kind: Kind, symbol: str, now: datetime) -> Decimal:
        """Return the price of the last trade."""
        ...

    def mark_price(self, symbol: str, now: datetime) -> Decimal:
        """Return the mark price of a perpetual."""
        ...

    def index_price(self, symbol: str, now: datetime) -> Decimal:
        """Return the index price of a perpetual, per unit of its symbol."""
        ...

    def day_ticker(self, kind: Kind, symbol: str, now: datetime) -> DayTicker:
        """Return the statistics of the last 24 hours."""
        ...

    def candles(
        self,
        kind: Kind,
        symbol: str,
        interval: timedelta,
        start: datetime | None,
        end: datetime | None,
        limit: int,
        now: datetime,
    ) -> Sequence[Candle]:
        """Return candles ascending, at most ``limit``; without ``start`` the last ones.

        The last candle is unfinished when its interval contains ``now``.
        """
        ...

    def funding_state(self, symbol: str, now: datetime) -> FundingState:
        """Return the funding of a perpetual at ``now``."""
        ...

    def settlements(
        self,
        symbol: str | None,
        start: datetime | None,
        end: datetime | None,
        limit: int,
        now: datetime,
    ) -> Sequence[FundingSettlement]:
        """Return settlements up to ``now`` in ascending time, of one symbol or of all.

        With ``start`` the first ``limit`` of the inclusive range, without it the last ``limit``.
        """
        ...

    def settlements_between(self, after: datetime, upto: datetime) -> Sequence[FundingSettlement]:
        """Return the settlements of all symbols with ``after`` < time <= ``upto``, ascending."""
        ...

    def open_interest(self, symbol: str, now: datetime) -> Decimal:
        """Return open interest in units of the venue's symbol."""
        ...

    def funding_intervals(self, now: datetime) -> Mapping[str, timedelta]:
        """Return the current interval of every perpetual listed by ``now``."""
        ...
