"""Market data from the venue's own bulk rows: what Binance is asked for prices, books, candles."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from services.common.codec import to_millis
from services.common.errors import RejectedError
from services.connector.market_mapping import (
    INTERVALS,
    add_book_ticker,
    instrument_of,
    to_candle,
    to_order_book,
    to_ticker,
)
from services.connector.row_numbers import milliseconds, positive, required, stamp
from services.connector.row_turns import collect_in_turns
from services.connector.venue_questions import OpenInterest

if TYPE_CHECKING:
    from collections.abc import Collection
    from decimal import Decimal

    from opensqt.market_maker.v1 import exchange_pb2, resources_pb2
    from services.connector.instruments import Instrument
    from services.connector.row_quarantine import RowQuarantine
    from services.connector.venue_questions import CandleSpan
    from services.connector.venue_reads import VenueReads

_DEPTHS: Final = (5, 10, 20, 50, 100, 500, 1000)
"""Depths that USD-M takes; spot takes any of them too."""
_MOST_CANDLES: Final = 1000
_TIME_SECONDS: Final = 1.0


class RawMarket:
    """Answers `MarketQuestions`; keeps nothing but the venue's time, for a second."""

    def __init__(self, reads: VenueReads, quarantine: RowQuarantine) -> None:
        self._reads = reads
        self._quarantine = quarantine
        self._market_time = 0
        self._market_time_at: float | None = None

    @property
    def candle_lengths(self) -> Collection[str]:
        """Return the candle lengths that both Binance venues take."""
        return INTERVALS

    @property
    def most_candles(self) -> int:
        """Return how many candles one answer may have."""
        return _MOST_CANDLES

    async def last_price(self, instrument: Instrument) -> Decimal | None:
        """Return the price of the last print, None when there has been none."""
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

    async def open_interest(self, instrument: Instrument) -> OpenInterest:
        """Return the open base quantity and its value at the mark price, None without a price."""
        name = instrument.exchange_symbol
        row, price = await asyncio.gather(
            self._reads.ask("open_interest", symbol=name), self._mark_price(name)
        )
        amount = self._quarantine.one("open_interest", row, lambda r: required(r, "openInterest"))
        contracts = amount * instrument.contract_size
        notional = None if price is None else contracts * price
        return OpenInterest(instrument.to_base_quantity(amount), notional)

    async def depth(self, instrument: Instrument, levels: int) -> exchange_pb2.GetOrderBookResponse:
        """Return the best levels of each side, as many as the next depth the venue takes."""
        # USD-M refuses any other limit (-4021).
        limit = next((size for size in _DEPTHS if size >= levels), _DEPTHS[-1])
        row = await self._reads.ask("depth", symbol=instrument.exchange_symbol, limit=limit)
        received = to_millis(self._reads.venue.clock.now())
        return self._quarantine.one(
            "depth", row, lambda one: to_order_book(one, instrument, received)
        )

    async def candles(self, instrument: Instrument, span: CandleSpan) -> list[resources_pb2.Candle]:
        """Return candles; the last is closed only when the venue's time is past it."""
        # Read before the candles: a candle that ends between the two reads is not yet complete.
        now = await self._venue_time(instrument.exchange_symbol)
        rows = await self._reads.ask(
            "klines",
            symbol=instrument.exchange_symbol,
            interval=span.interval,
            limit=span.limit,
            startTime=span.start,
            endTime=None if span.end is None else span.end - 1,
        )
        return await collect_in_turns(
            self._quarantine, "klines", rows, lambda row: to_candle(row, instrument, now)
        )

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
