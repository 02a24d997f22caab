"""Market data read on request: prices, tickers, books, candles, open interest, trading rules."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from services.common.codec import to_millis
from services.common.errors import InvalidFieldError, RejectedError
from services.connector.market_mapping import (
    INTERVALS,
    add_book_ticker,
    instrument_of,
    to_candle,
    to_order_book,
    to_symbol_info,
    to_ticker,
)
from services.connector.row_numbers import milliseconds, positive, required, stamp
from services.connector.row_turns import collect_in_turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime
    from decimal import Decimal

    from opensqt.market_maker.v1 import exchange_pb2, resources_pb2
    from services.connector.funding_reader import FundingReader
    from services.connector.instruments import Instrument
    from services.connector.row_quarantine import RowQuarantine
    from services.connector.venue_reads import VenueReads

_DEPTHS: Final = (5, 10, 20, 50, 100, 500, 1000)
"""Depths that USD-M takes; spot takes any of them too."""
_DEFAULT_DEPTH: Final = 20
# 499, not 500: one candle more more than doubles the weight on USD-M.
_DEFAULT_CANDLES: Final = 499
_MAX_CANDLES: Final = 1000
_TIME_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class CandleRequest:
    """Which candles are wanted; opening times from `start` to before `end`."""

    symbol: str
    interval: str
    limit: int
    start: datetime | None
    end: datetime | None


def read_interval(interval: str) -> str:
    """Return a candle length the venues take; raise InvalidFieldError for any other."""
    if interval not in INTERVALS:
        raise InvalidFieldError("interval", f"must be one of {', '.join(INTERVALS)}")
    return interval


class MarketReader:
    """Reads market data; keeps nothing but the venue's time, for a second."""

    def __init__(
        self,
        reads: VenueReads,
        funding: FundingReader,
        quarantine: RowQuarantine,
        reload_markets: Callable[[], Awaitable[None]],
    ) -> None:
        self._reads = reads
        self._funding = funding
        self._quarantine = quarantine
        self._reload_markets = reload_markets
        self._market_time = 0
        self._market_time_at: float | None = None

    async def latest_price(self, symbol: str) -> Decimal | None:
        """Return the price of the last print, None when there has been none."""
        instrument = self._instrument(symbol)
        row = await self._reads.ask("price", symbol=instrument.exchange_symbol)
        price = self._quarantine.one("price", row, lambda one: positive(one, "price"))
        return None if price is None else instrument.to_base_price(price)

    async def tickers(self) -> list[resources_pb2.Ticker]:
        """Return 24 h figures with best bid and ask of all symbols: two bulk calls."""
        book = self._reads.venue.instruments
        days, tops = await asyncio.gather(
            self._reads.ask("day_tickers"), self._reads.ask("book_tickers")
        )

        def convert(row: dict[str, Any]) -> tuple[str, resources_pb2.Ticker] | None:
            instrument = instrument_of(book, row)
            return None if instrument is None else (instrument.symbol, to_ticker(row, instrument))

        tickers = dict(await collect_in_turns(self._quarantine, "day_tickers", days, convert))

        def merge(row: dict[str, Any]) -> bool:
            instrument = instrument_of(book, row)
            if instrument is not None and instrument.symbol in tickers:
                add_book_ticker(tickers[instrument.symbol], row, instrument)
            return True

        await collect_in_turns(self._quarantine, "book_tickers", tops, merge)
        return list(tickers.values())

    async def open_interest(self, symbol: str) -> tuple[Decimal, Decimal | None]:
        """Return the open base quantity and its value at the mark price, None without a price."""
        self._reads.require_perpetual("open interest")
        instrument = self._instrument(symbol)
        name = instrument.exchange_symbol
        row, price = await asyncio.gather(
            self._reads.ask("open_interest", symbol=name), self._mark_price(name)
        )
        amount = self._quarantine.one("open_interest", row, lambda r: required(r, "openInterest"))
        contracts = amount * instrument.contract_size
        notional = None if price is None else contracts * price
        return instrument.to_base_quantity(amount), notional

    async def order_book(self, symbol: str, depth: int) -> exchange_pb2.GetOrderBookResponse:
        """Return the best `depth` levels of each side; 0 is 20, at most 1000."""
        if depth < 0:
            raise InvalidFieldError("depth", "must not be negative")
        wanted = min(depth or _DEFAULT_DEPTH, _DEPTHS[-1])
        instrument = self._instrument(symbol)
        # USD-M refuses any other limit (-4021).
        limit = next(size for size in _DEPTHS if size >= wanted)
        row = await self._reads.ask("depth", symbol=instrument.exchange_symbol, limit=limit)
        received = to_millis(self._reads.venue.clock.now())
        book = self._quarantine.one(
            "depth", row, lambda one: to_order_book(one, instrument, received)
        )
        del book.bids[wanted:], book.asks[wanted:]
        return book

    async def candles(self, request: CandleRequest) -> list[resources_pb2.Candle]:
        """Return candles oldest first; the last is closed only when the venue's time is past it."""
        if request.limit < 0:
            raise InvalidFieldError("limit", "must not be negative")
        instrument = self._instrument(request.symbol)
        interval = read_interval(request.interval)
        # Read before the candles: a candle that ends between the two reads is not yet complete.
        now = await self._venue_time(instrument.exchange_symbol)
        rows = await self._reads.ask(
            "klines",
            symbol=instrument.exchange_symbol,
            interval=interval,
            limit=min(request.limit or _DEFAULT_CANDLES, _MAX_CANDLES),
            startTime=None if request.start is None else to_millis(request.start),
            endTime=None if request.end is None else to_millis(request.end) - 1,
        )
        found = await collect_in_turns(
            self._quarantine, "klines", rows, lambda row: to_candle(row, instrument, now)
        )
        return sorted(found, key=lambda candle: candle.timestamp)

    async def exchange_info(self, symbol: str) -> None:
        """Read the trading rules anew; raise NotFoundError when `symbol` is not among them."""
        await self._reload_markets()
        if symbol:
            self._instrument(symbol)

    async def symbol_info(self, symbol: str) -> resources_pb2.SymbolInfo:
        """Return the trading rules of one symbol."""
        instrument = self._instrument(symbol)
        return (await self._infos([instrument]))[0]

    async def symbol_infos(self) -> list[resources_pb2.SymbolInfo]:
        """Return the trading rules of all symbols, sorted by symbol."""
        instruments = sorted(self._reads.venue.instruments, key=lambda one: one.symbol)
        return await self._infos(instruments)

    async def _infos(self, instruments: list[Instrument]) -> list[resources_pb2.SymbolInfo]:
        if not self._reads.is_perpetual:
            return [to_symbol_info(one, None) for one in instruments]
        intervals = await self._funding.intervals()
        return [to_symbol_info(one, intervals.of(one.exchange_symbol)) for one in instruments]

    async def _mark_price(self, name: str) -> Decimal | None:
        try:
            row = await self._reads.ask("premium_index", symbol=name)
        except RejectedError:
            # Delisted perpetuals have open interest and no mark price any more.
            return None
        return self._quarantine.one("premium_index", row, lambda one: positive(one, "markPrice"))

    async def _venue_time(self, name: str) -> int:
        """Return a lower bound of the venue's market time in ms, at most a second behind it."""
        now = self._reads.venue.clock.monotonic()
        if self._market_time_at is None or now - self._market_time_at >= _TIME_SECONDS:
            question, key = (
                ("premium_index", "time")
                if self._reads.is_perpetual
                else ("day_tickers", "closeTime")
            )
            row = await self._reads.ask(question, symbol=name)
            told = self._quarantine.one(question, row, lambda one: stamp(one, key))
            # Never back: a candle that was closed once must not open again.
            self._market_time = max(self._market_time, milliseconds(told))
            self._market_time_at = now
        return self._market_time

    def _instrument(self, symbol: str) -> Instrument:
        if not symbol:
            raise InvalidFieldError("symbol", "is required")
        return self._reads.venue.instruments.get(symbol)
