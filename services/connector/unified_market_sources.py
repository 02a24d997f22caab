"""Sources of market streams through ccxt.pro's unified `watch_*`.

ccxt keeps the newest state of each symbol and wakes a watcher for one change of several; so the
watches only wake, and what changed is taken from the state of every symbol that is wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opensqt.market_maker.v1 import events_pb2, resources_pb2
from services.common.codec import from_millis, to_timestamp
from services.connector.market_events import set_price, set_top
from services.connector.row_numbers import milliseconds, positive
from services.connector.stream_backfill import CandleBackfill, FundingBackfill
from services.connector.stream_keys import candle_key, price_key
from services.connector.unified_rows import to_unified_candle
from services.connector.watch_source import SweepSource

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from services.connector.funding_reader import FundingReader
    from services.connector.instruments import Instrument
    from services.connector.market_reader import MarketReader
    from services.connector.stream_keys import CandleKey
    from services.connector.stream_tap import MessageTap
    from services.connector.unified_reads import UnifiedReads
    from services.connector.venue import Venue


class UnifiedPriceSource(SweepSource[events_pb2.PriceChange]):
    """Tickers, and best prices where the venue streams them apart, merged to one row per symbol."""

    def __init__(self, reads: UnifiedReads, tap: MessageTap, symbols: tuple[str, ...]) -> None:
        venue = reads.venue
        self._reads = reads
        self._instruments = [venue.instruments.get(symbol) for symbol in symbols]
        self._told: dict[str, events_pb2.PriceChange] = {}
        names = [instrument.unified for instrument in self._instruments]
        super().__init__(venue, tap, self._subscriptions(names), key=price_key)

    async def reset(self) -> None:
        """Stop watching; the next snapshot counts, not what was told before."""
        await super().reset()
        self._told.clear()
        for instrument in self._instruments:
            for kept in (self._venue.exchange.tickers, self._venue.exchange.bidsasks):
                # What ccxt remembers from before a gap would be told as if it were new.
                (kept or {}).pop(instrument.unified, None)

    async def snapshot(self) -> Sequence[events_pb2.PriceChange]:
        """Return the prices now."""
        exchange = self._venue.exchange
        names = [instrument.unified for instrument in self._instruments]
        params = dict(self._reads.traits.params)
        rows = await self._reads.ask(
            "all_day_tickers", lambda: exchange.fetch_tickers(names, params)
        )
        found = []
        for instrument in self._instruments:
            row = self._told.setdefault(instrument.symbol, self._blank(instrument))
            read = rows.get(instrument.unified) if isinstance(rows, dict) else None
            if read is not None:
                _lay(row, read, instrument)
                _lay_top(row, read, instrument)
            found.append(_copy(row))
        return found

    def sweep(self) -> Sequence[events_pb2.PriceChange]:
        """Return the rows that differ from what was told; none before the first snapshot."""
        exchange = self._venue.exchange
        changed = []
        for instrument in self._instruments:
            told = self._told.get(instrument.symbol)
            if told is None:
                continue
            row = _copy(told)
            ticker = (exchange.tickers or {}).get(instrument.unified)
            top = (exchange.bidsasks or {}).get(instrument.unified) or ticker
            if ticker is not None:
                _lay(row, ticker, instrument)
            if top is not None:
                _lay_top(row, top, instrument)
            if row != told:
                self._told[instrument.symbol] = row
                changed.append(_copy(row))
        return changed

    def _subscriptions(self, names: list[str]) -> list[Callable[[], Awaitable[Any]]]:
        exchange = self._reads.venue.exchange
        if self._reads.offers("watchBidsAsks"):
            # Bybit's spot tickers have no book, and others' come less often than their books.
            return [
                lambda: exchange.watch_tickers(names),
                lambda: exchange.watch_bids_asks(names),
            ]
        # Hyperliquid's tickers of many are middles alone; those of one have both sides.
        return [self._watch_one(name) for name in names]

    def _watch_one(self, name: str) -> Callable[[], Awaitable[Any]]:
        return lambda: self._reads.venue.exchange.watch_ticker(name)

    def _blank(self, instrument: Instrument) -> events_pb2.PriceChange:
        return events_pb2.PriceChange(exchange=self._venue.name, symbol=instrument.symbol)


class UnifiedCandleSource(SweepSource[resources_pb2.Candle]):
    """Candles as ccxt keeps them; one is closed once the next has begun."""

    def __init__(
        self, reads: UnifiedReads, tap: MessageTap, market: MarketReader, key: CandleKey
    ) -> None:
        venue = reads.venue
        self._reads = reads
        self._backfill = CandleBackfill(market, key.symbols, key.interval)
        self._interval = key.interval
        self._instruments = [venue.instruments.get(symbol) for symbol in key.symbols]
        self._seen: dict[str, list[Any]] = {}
        super().__init__(venue, tap, self._subscriptions(), key=candle_key)

    async def reset(self) -> None:
        """Stop watching and drop what ccxt keeps: its candles do not show the gap."""
        await super().reset()
        self._seen.clear()
        for instrument in self._instruments:
            kept = (self._venue.exchange.ohlcvs or {}).get(instrument.unified) or {}
            kept.pop(self._interval, None)

    async def snapshot(self) -> Sequence[resources_pb2.Candle]:
        """Return the last candles of each symbol, after a gap all that were missed."""
        return await self._backfill.snapshot()

    async def receive(self) -> Sequence[resources_pb2.Candle]:
        """Wait for the next rows; what is missing before them is read first."""
        return await self._backfill.complete(await super().receive())

    def sweep(self) -> Sequence[resources_pb2.Candle]:
        """Return the candles that differ from what was told, each closed one once more."""
        found = []
        for instrument in self._instruments:
            kept = (self._venue.exchange.ohlcvs or {}).get(instrument.unified) or {}
            rows = [list(row) for row in kept.get(self._interval) or ()]
            found.extend(self._fresh(instrument, rows))
        return found

    def _fresh(self, instrument: Instrument, rows: list[list[Any]]) -> list[resources_pb2.Candle]:
        seen = self._seen.get(instrument.symbol)
        # Some venues begin with a long past; the snapshot has told what of it counts.
        newer = rows[-2:] if seen is None else [row for row in rows if row[0] >= seen[0]]
        if not newer or newer[-1] == seen:
            return []
        self._seen[instrument.symbol] = newer[-1]
        traits = self._reads.traits
        return [
            to_unified_candle(row, instrument, traits, closed=row is not newer[-1]) for row in newer
        ]

    def _subscriptions(self) -> list[Callable[[], Awaitable[Any]]]:
        exchange = self._reads.venue.exchange
        names = [instrument.unified for instrument in self._instruments]
        if self._reads.offers("watchOHLCVForSymbols"):
            pairs = [[name, self._interval] for name in names]
            return [lambda: exchange.watch_ohlcv_for_symbols(pairs)]
        return [self._watch_one(name) for name in names]

    def _watch_one(self, name: str) -> Callable[[], Awaitable[Any]]:
        return lambda: self._reads.venue.exchange.watch_ohlcv(name, self._interval)


class UnifiedFundingSource:
    """Funding rates, polled; a source without a connection never drops, a failed poll does."""

    def __init__(
        self,
        venue: Venue,
        funding: FundingReader,
        symbol: str,
        poll_seconds: float,
    ) -> None:
        self._venue = venue
        self._funding = funding
        self._backfill = FundingBackfill(funding)
        self._symbol = symbol
        self._poll_seconds = poll_seconds

    async def receive(self) -> Sequence[events_pb2.FundingUpdate]:
        """Wait for the next poll and return its rows."""
        await self._venue.clock.sleep(self._poll_seconds)
        return await self.snapshot()

    async def snapshot(self) -> Sequence[events_pb2.FundingUpdate]:
        """Return settlements that passed since the last rows, and the funding now."""
        rates = (
            [await self._funding.rate(self._symbol)]
            if self._symbol
            else await self._funding.rates()
        )
        return await self._backfill.snapshot(rates)

    async def reset(self) -> None:
        """Forget nothing: what was told before a gap says which settlements passed in it."""


def _lay(row: events_pb2.PriceChange, read: Mapping[str, Any], instrument: Instrument) -> None:
    ticker = dict(read)
    set_price(row, "price", positive(ticker, "last") or positive(ticker, "close"), instrument)
    set_price(row, "mark_price", positive(ticker, "markPrice"), instrument)
    changed = milliseconds(ticker.get("timestamp"))
    if changed:
        row.timestamp.CopyFrom(to_timestamp(from_millis(changed)))


def _lay_top(row: events_pb2.PriceChange, read: Mapping[str, Any], instrument: Instrument) -> None:
    top = dict(read)
    # A ticker without any book says nothing about it; an empty side among two is empty.
    if positive(top, "bid") is None and positive(top, "ask") is None:
        return
    set_top(row, "bid", top, ("bid", "bidVolume"), instrument)
    set_top(row, "ask", top, ("ask", "askVolume"), instrument)


def _copy(row: events_pb2.PriceChange) -> events_pb2.PriceChange:
    found = events_pb2.PriceChange()
    found.CopyFrom(row)
    return found
