"""A MarketSource put together from listings, funding histories and open interest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from services.simulator.market.candles import CandleCache, make_candles, make_day_ticker
from services.simulator.market.instants import MILLISECOND, instant, millis
from services.simulator.market.ladder import BOOK_PERIOD_MS, EMPTY_BOOK, liquidity_of, make_book
from services.simulator.market.rounding import eight_digits, nearest, whole_steps
from services.simulator.market.source import FundingState, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime, timedelta
    from decimal import Decimal

    from services.simulator.market.funding import FundingBoard
    from services.simulator.market.listing import Listing
    from services.simulator.market.source import (
        Book,
        Candle,
        DayTicker,
        FundingSettlement,
        InstrumentSpec,
    )


class ReferencePrices(Protocol):
    """Where a perpetual's index and mark prices and open interest come from."""

    def index(self, symbol: str, at: int) -> float:
        """Return the index price per unit of the perpetual's symbol."""
        ...

    def mark(self, symbol: str, at: int) -> float:
        """Return the mark price."""
        ...

    def open_interest(self, symbol: str, at: int) -> float:
        """Return open interest in units of the perpetual's symbol."""
        ...


class AssembledMarket:
    """A market of listings, answering at any instant; raises KeyError for unknown symbols."""

    def __init__(
        self,
        start: datetime,
        listings: Iterable[Listing],
        funding: FundingBoard,
        prices: ReferencePrices,
        interest_rates: Mapping[str, Decimal],
    ) -> None:
        self._start = start
        self._listings: dict[Kind, dict[str, Listing]] = {kind: {} for kind in Kind}
        for listing in listings:
            self._listings[listing.spec.kind][listing.spec.symbol] = listing
        self._liquidity = {
            kind: {symbol: liquidity_of(one.day_turnover) for symbol, one in known.items()}
            for kind, known in self._listings.items()
        }
        self._funding = funding
        self._prices = prices
        self._interest_rates = interest_rates
        self._candles = CandleCache()

    @property
    def start(self) -> datetime:
        """Return the natural start instant of the market clock."""
        return self._start

    def instruments(self, kind: Kind, now: datetime) -> Sequence[InstrumentSpec]:
        """Return every instrument of ``kind`` listed by ``now``, with its status at ``now``."""
        at = millis(now)
        return [one.spec_at(at) for one in self._listings[kind].values() if one.begin <= at]

    def instrument(self, kind: Kind, symbol: str) -> InstrumentSpec | None:
        """Return one instrument with its status at ``start``, None if unknown."""
        listing = self._listings[kind].get(symbol)
        return None if listing is None else listing.spec_at(millis(self._start))

    def book(self, kind: Kind, symbol: str, now: datetime, depth: int = 20) -> Book:
        """Return ``depth`` levels of each side; empty sides when the instrument does not trade."""
        listing = self._listings[kind][symbol]
        at = _book_instant(now)
        if not listing.is_trading(millis(now)):
            return EMPTY_BOOK
        liquidity = self._liquidity[kind][symbol]
        return make_book(listing.spec, listing.price(at), liquidity, listing.key, at, depth)

    def last_price(self, kind: Kind, symbol: str, now: datetime) -> Decimal:
        """Return the price of the last trade: the middle of the book, on the tick."""
        listing = self._listings[kind][symbol]
        return nearest(listing.price(_book_instant(now)), listing.spec.tick_size)

    def mark_price(self, symbol: str, now: datetime) -> Decimal:
        """Return the mark price of a perpetual, eight fraction digits."""
        return eight_digits(self._prices.mark(symbol, millis(now)))

    def index_price(self, symbol: str, now: datetime) -> Decimal:
        """Return the index price of a perpetual, per unit of its symbol, eight fraction digits."""
        return eight_digits(self._prices.index(symbol, millis(now)))

    def day_ticker(self, kind: Kind, symbol: str, now: datetime) -> DayTicker:
        """Return the statistics of the last 24 hours."""
        return make_day_ticker(self._listings[kind][symbol], _book_instant(now))

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
        """Return candles ascending as ``MarketSource.candles`` describes, at most 1500."""
        listing, width = self._listings[kind][symbol], interval // MILLISECOND
        return make_candles(
            listing,
            width,
            None if start is None else millis(start),
            None if end is None else millis(end),
            limit,
            _book_instant(now),
            self._candles.series(listing, width),
        )

    def funding_state(self, symbol: str, now: datetime) -> FundingState:
        """Return the funding of a perpetual at ``now``."""
        time, rate, interval = self._funding[symbol].upcoming(millis(now))
        return FundingState(
            symbol=symbol,
            mark_price=self.mark_price(symbol, now),
            index_price=self.index_price(symbol, now),
            last_rate=rate,
            interest_rate=self._interest_rates[symbol],
            next_time=None if time is None else instant(time),
            interval=interval,
        )

    def settlements(
        self,
        symbol: str | None,
        start: datetime | None,
        end: datetime | None,
        limit: int,
        now: datetime,
    ) -> Sequence[FundingSettlement]:
        """Return settlements up to ``now``, of one symbol or of all, ascending."""
        return self._funding.settlements(symbol, start, end, limit, now)

    def settlements_between(self, after: datetime, upto: datetime) -> Sequence[FundingSettlement]:
        """Return the settlements of all symbols with ``after`` < time <= ``upto``, ascending."""
        return self._funding.between(after, upto)

    def open_interest(self, symbol: str, now: datetime) -> Decimal:
        """Return open interest in units of the venue's symbol."""
        listing = self._listings[Kind.PERPETUAL][symbol]
        at = millis(now)
        # Delisting settles every position: no interest is left open.
        amount = self._prices.open_interest(symbol, at) if listing.is_trading(at) else 0.0
        return whole_steps(amount, listing.spec.lot_size)

    def funding_intervals(self, now: datetime) -> Mapping[str, timedelta]:
        """Return the current interval of every perpetual listed by ``now``."""
        at = millis(now)
        listed = (one for one in self._listings[Kind.PERPETUAL].values() if one.begin <= at)
        return {one.spec.symbol: self._funding[one.spec.symbol].upcoming(at)[2] for one in listed}


def _book_instant(now: datetime) -> int:
    # Last price, tickers and candles share the book's instant, so that they lie within its spread.
    return millis(now) // BOOK_PERIOD_MS * BOOK_PERIOD_MS
