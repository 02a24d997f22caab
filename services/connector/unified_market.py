"""Market data through ccxt's unified methods, for every venue without readers of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from services.common.codec import to_millis
from services.connector.market_mapping import INTERVALS
from services.connector.row_numbers import milliseconds, positive, required
from services.connector.row_turns import collect_in_turns
from services.connector.unified_rows import (
    to_unified_book,
    to_unified_candle,
    to_unified_ticker,
)
from services.connector.venue_questions import CandleSpan, OpenInterest

if TYPE_CHECKING:
    from collections.abc import Collection
    from decimal import Decimal

    from opensqt.market_maker.v1 import exchange_pb2, resources_pb2
    from services.connector.instruments import Instrument
    from services.connector.row_quarantine import RowQuarantine
    from services.connector.unified_reads import UnifiedReads

_MOST_CANDLES: Final = 1_000
_MOST_CALLS: Final = 12


class UnifiedMarket:
    """Answers `MarketQuestions`."""

    def __init__(self, reads: UnifiedReads, quarantine: RowQuarantine) -> None:
        self._reads = reads
        self._quarantine = quarantine

    @property
    def candle_lengths(self) -> Collection[str]:
        """Return the candle lengths that ccxt knows the venue to have."""
        return [one for one in INTERVALS if one in self._reads.venue.exchange.timeframes]

    @property
    def most_candles(self) -> int:
        """Return how many candles one answer may have: several of the venue's own."""
        return _MOST_CANDLES

    async def last_price(self, instrument: Instrument) -> Decimal | None:
        """Return the price of the last print, None when there has been none."""
        exchange = self._reads.venue.exchange
        row = await self._reads.ask("price", lambda: exchange.fetch_ticker(instrument.unified))
        price = self._quarantine.one("ticker", row, _last_price)
        return None if price is None else instrument.to_base_price(price)

    async def tickers(self) -> list[resources_pb2.Ticker]:
        """Return 24 h figures of all symbols, with the best of the book where the venue has it."""
        book, traits = self._reads.venue.instruments, self._reads.traits

        def convert(pair: tuple[str, dict[str, Any]]) -> resources_pb2.Ticker | None:
            instrument = book.find(pair[0])
            return None if instrument is None else to_unified_ticker(pair[1], instrument, traits)

        rows = await self._raw_tickers()
        return await collect_in_turns(self._quarantine, "tickers", list(rows.items()), convert)

    async def open_interest(self, instrument: Instrument) -> OpenInterest:
        """Return the open base quantity and its value at the mark (else last) price."""
        reads, name = self._reads, instrument.unified
        exchange = reads.venue.exchange
        ticker = reads.ask("price", lambda: exchange.fetch_ticker(name))
        if reads.offers("fetchOpenInterest"):
            row, top = await asyncio.gather(
                reads.ask("open_interest", lambda: exchange.fetch_open_interest(name)), ticker
            )
            amount = self._quarantine.one(
                "open_interest", row, lambda one: required(one, "openInterestAmount")
            )
        else:
            # Gate has no such call; its ticker counts the contracts that are open.
            field = reads.traits.ticker_open_interest
            top = await ticker
            if field is None:
                raise reads.not_offered("open interest")
            amount = self._quarantine.one(
                "open_interest", top, lambda one: required(one["info"], field)
            )
        quantity = instrument.to_base_quantity(amount)
        price = positive(top, "markPrice") or _last_price(top)
        notional = None if price is None else quantity * instrument.to_base_price(price)
        return OpenInterest(quantity, notional)

    async def depth(self, instrument: Instrument, levels: int) -> exchange_pb2.GetOrderBookResponse:
        """Return the best levels of each side, no more than the venue gives at once."""
        depths = self._reads.traits.depths
        limit = next((size for size in depths if size >= levels), depths[-1])
        exchange = self._reads.venue.exchange
        row = await self._reads.ask(
            "order_book", lambda: exchange.fetch_order_book(instrument.unified, limit)
        )
        received = to_millis(self._reads.venue.clock.now())
        return self._quarantine.one(
            "depth", row, lambda one: to_unified_book(one, instrument, received)
        )

    async def candles(self, instrument: Instrument, span: CandleSpan) -> list[resources_pb2.Candle]:
        """Return candles; one is closed when the venue's time is past its last millisecond."""
        # Read before the candles: a candle that ends between the two reads is not yet complete.
        now = await self._reads.market_time(instrument)
        length = round(INTERVALS[span.interval].total_seconds() * 1000)
        # The candle that runs opens at or before the minute that runs.
        end = now + 1 if span.end is None else span.end
        begin = span.start
        if begin is None:
            # The opening of the last candle wanted, and as many before it.
            begin = (end - 1) // length * length - (span.limit - 1) * length
        found: dict[int, resources_pb2.Candle] = {}
        for row in await self._raw_candles(instrument, span, (begin, end), length):
            closed = milliseconds(row[0]) + length <= now
            candle = to_unified_candle(row, instrument, self._reads.traits, closed=closed)
            found[candle.timestamp] = candle
        return sorted(found.values(), key=lambda one: one.timestamp)[: span.limit]

    async def _raw_candles(
        self, instrument: Instrument, span: CandleSpan, bounds: tuple[int, int], length: int
    ) -> list[list[Any]]:
        """Return the venue's candles that open within the bounds, in as many calls as it takes."""
        step = self._reads.traits.most_candles
        begin, end = bounds
        rows: list[list[Any]] = []
        for _ in range(_MOST_CALLS):
            until = min(begin + step * length, end)
            rows.extend(await self._ask_candles(instrument, span.interval, (begin, until), length))
            begin = until
            if begin >= end or len(rows) >= span.limit:
                break
        return rows

    async def _ask_candles(
        self, instrument: Instrument, interval: str, bounds: tuple[int, int], length: int
    ) -> list[list[Any]]:
        exchange = self._reads.venue.exchange
        begin, until = bounds
        # Some venues take the end in, others leave it out: one more than the bounds hold, so that
        # the one too many, which comes first on venues that count from the newest, costs none.
        asked = max(1, -(-(until - begin) // length)) + 1
        answer = await self._reads.ask(
            "klines",
            lambda: exchange.fetch_ohlcv(
                instrument.unified, interval, begin, asked, {"until": until}
            ),
        )

        def within(row: list[Any]) -> list[Any] | None:
            return row if begin <= milliseconds(row[0]) < until else None

        return self._quarantine.collect("klines", answer, within)

    async def _raw_tickers(self) -> dict[str, dict[str, Any]]:
        exchange, params = self._reads.venue.exchange, dict(self._reads.traits.params)
        rows = await self._reads.ask(
            "all_day_tickers", lambda: exchange.fetch_tickers(None, params)
        )
        return rows if isinstance(rows, dict) else {}


def _last_price(row: dict[str, Any]) -> Decimal | None:
    # Hyperliquid tells no print, but the middle of the book.
    return positive(row, "last") or positive(row, "close")
