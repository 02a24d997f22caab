"""Streams of prices, funding and candles, each upstream subscription shared by its subscribers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from services.common.errors import InvalidFieldError
from services.connector.market_events import (
    PriceBoard,
    funding_update_of,
    to_funding_update,
    to_stream_candle,
)
from services.connector.market_reader import CandleRequest
from services.connector.row_numbers import text
from services.connector.stream_hub import HubOptions, StreamHub, StreamObserver
from services.connector.watch_source import WatchSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from opensqt.market_maker.v1 import events_pb2, resources_pb2
    from services.connector.funding_reader import FundingReader
    from services.connector.market_reader import MarketReader
    from services.connector.stream_tap import MessageTap
    from services.connector.venue_reads import VenueReads

MAX_SYMBOLS: Final = 100
"""Most symbols of one subscription: Binance takes 200 streams on a connection, we use two each."""
_BULK_FROM: Final = 5
_SNAPSHOT_CANDLES: Final = 2


@dataclass(frozen=True, slots=True)
class CandleKey:
    """One candle subscription: canonical symbols, sorted, and the length of a candle."""

    symbols: tuple[str, ...]
    interval: str


class PriceSource(WatchSource["events_pb2.PriceChange"]):
    """Book tickers and 24 h tickers of some symbols, merged to one row per symbol."""

    def __init__(self, reads: VenueReads, tap: MessageTap, symbols: tuple[str, ...]) -> None:
        venue = reads.venue
        self._reads = reads
        self._instruments = [venue.instruments.get(symbol) for symbol in symbols]
        self._board = PriceBoard(venue.name, venue.instruments, symbols)
        unified = [instrument.unified for instrument in self._instruments]
        super().__init__(
            venue,
            tap,
            (
                # Both: book tickers carry no last price, day tickers on spot carry no book.
                lambda: venue.exchange.watch_bids_asks(unified),
                lambda: venue.exchange.watch_tickers(unified),
            ),
            self._board.on_event,
            key=lambda row: row.symbol,
        )

    async def reset(self) -> None:
        """Stop watching; the next snapshot counts, not what was told before."""
        await super().reset()
        # A row merged from before and after a gap would mix two moments.
        self._board.restart()

    async def snapshot(self) -> Sequence[events_pb2.PriceChange]:
        """Return the prices now."""
        prices = await self._rows_of("price")
        tops = await self._rows_of("book_tickers")
        return [
            self._board.on_reads(
                prices.get(instrument.exchange_symbol),
                tops.get(instrument.exchange_symbol),
                instrument,
            )
            for instrument in self._instruments
        ]

    async def _rows_of(self, question: str) -> dict[str, dict[str, Any]]:
        if len(self._instruments) >= _BULK_FROM:
            rows = await self._reads.ask(question)
            rows = rows if isinstance(rows, list) else []
        else:
            rows = [
                await self._reads.ask(question, symbol=instrument.exchange_symbol)
                for instrument in self._instruments
            ]
        return {row["symbol"]: row for row in rows if isinstance(row, dict) and "symbol" in row}


class FundingSource(WatchSource["events_pb2.FundingUpdate"]):
    """Mark price events of one perpetual, or of all for the empty symbol."""

    def __init__(
        self, reads: VenueReads, tap: MessageTap, funding: FundingReader, symbol: str
    ) -> None:
        venue = reads.venue
        self._funding = funding
        self._symbol = symbol
        self._book = venue.instruments
        self._name = venue.name
        unified = [venue.instruments.get(symbol).unified] if symbol else None
        super().__init__(
            venue,
            tap,
            (lambda: venue.exchange.watch_mark_prices(unified),),
            self._on_event,
            key=lambda row: row.symbol,
        )

    async def snapshot(self) -> Sequence[events_pb2.FundingUpdate]:
        """Return the funding now; reads the intervals that the events do not carry."""
        rates = (
            [await self._funding.rate(self._symbol)]
            if self._symbol
            else await self._funding.rates()
        )
        return [funding_update_of(rate) for rate in rates]

    def _on_event(self, event: dict[str, Any]) -> list[events_pb2.FundingUpdate]:
        if event.get("e") != "markPriceUpdate":
            return []
        instrument = self._book.find_exchange_symbol(text(event, "s"))
        if instrument is None or self._symbol not in ("", instrument.symbol):
            return []
        # As last read: an event must not wait for a request.
        interval = self._funding.known_intervals(instrument.exchange_symbol)
        return [to_funding_update(event, instrument, self._name, interval)]


class CandleSource(WatchSource["resources_pb2.Candle"]):
    """Kline events of some symbols and one interval."""

    def __init__(
        self, reads: VenueReads, tap: MessageTap, market: MarketReader, key: CandleKey
    ) -> None:
        venue = reads.venue
        self._market = market
        self._wanted = key
        self._book = venue.instruments
        pairs = [[venue.instruments.get(symbol).unified, key.interval] for symbol in key.symbols]
        super().__init__(
            venue,
            tap,
            (lambda: venue.exchange.watch_ohlcv_for_symbols(pairs),),
            self._on_event,
            key=candle_key,
        )

    async def snapshot(self) -> Sequence[resources_pb2.Candle]:
        """Return the last candles of each symbol, so that one closed during a gap is not missed."""
        found: list[resources_pb2.Candle] = []
        for symbol in self._wanted.symbols:
            request = CandleRequest(symbol, self._wanted.interval, _SNAPSHOT_CANDLES, None, None)
            found.extend(await self._market.candles(request))
        return found

    def _on_event(self, event: dict[str, Any]) -> list[resources_pb2.Candle]:
        if event.get("e") != "kline" or event["k"].get("i") != self._wanted.interval:
            return []
        instrument = self._book.find_exchange_symbol(text(event["k"], "s"))
        if instrument is None or instrument.symbol not in self._wanted.symbols:
            return []
        return [to_stream_candle(event, instrument)]


def candle_key(candle: resources_pb2.Candle) -> tuple[str, int]:
    """Return what a newer candle row replaces: the same symbol and opening time."""
    return candle.symbol, candle.timestamp


class MarketStreams:
    """The hubs of market data; a reader that is behind gets the newest per symbol."""

    def __init__(
        self,
        reads: VenueReads,
        tap: MessageTap,
        market: MarketReader,
        funding: FundingReader,
        options: HubOptions,
        observer: StreamObserver | None = None,
    ) -> None:
        self._reads = reads
        self._market = market
        clock = reads.venue.clock
        self.prices: StreamHub[tuple[str, ...], events_pb2.PriceChange] = StreamHub(
            "prices",
            lambda symbols: PriceSource(reads, tap, symbols),
            clock,
            options,
            key=lambda row: row.symbol,
            observer=observer,
        )
        self.funding: StreamHub[str, events_pb2.FundingUpdate] = StreamHub(
            "funding",
            lambda symbol: FundingSource(reads, tap, funding, symbol),
            clock,
            options,
            key=lambda row: row.symbol,
            observer=observer,
        )
        # By opening time too: the last row of a closed candle is not replaced by the next one.
        self.candles: StreamHub[CandleKey, resources_pb2.Candle] = StreamHub(
            "candles",
            lambda key: CandleSource(reads, tap, market, key),
            clock,
            options,
            key=candle_key,
            observer=observer,
        )

    def subscribe_prices(
        self, symbols: Iterable[str]
    ) -> AbstractAsyncContextManager[AsyncIterator[events_pb2.PriceChange]]:
        """Stream prices of these symbols; raise InvalidFieldError for none or too many."""
        return self.prices.subscribe(self._canonical(symbols))

    def subscribe_funding(
        self, symbol: str
    ) -> AbstractAsyncContextManager[AsyncIterator[events_pb2.FundingUpdate]]:
        """Stream funding of one perpetual, of all for the empty symbol."""
        self._reads.venue.require_perpetual("funding rate")
        found = self._reads.venue.instruments.get(symbol).symbol if symbol else ""
        return self.funding.subscribe(found)

    def subscribe_candles(
        self, symbols: Iterable[str], interval: str
    ) -> AbstractAsyncContextManager[AsyncIterator[resources_pb2.Candle]]:
        """Stream candles of these symbols; raise InvalidFieldError for none or too many."""
        key = CandleKey(self._canonical(symbols), self._market.read_interval(interval))
        return self.candles.subscribe(key)

    async def close(self) -> None:
        """End all subscribers."""
        for hub in (self.prices, self.funding, self.candles):
            await hub.close()

    def _canonical(self, symbols: Iterable[str]) -> tuple[str, ...]:
        book = self._reads.venue.instruments
        found = tuple(sorted({book.get(symbol).symbol for symbol in symbols}))
        if not found:
            raise InvalidFieldError("symbols", "needs at least one symbol")
        if len(found) > MAX_SYMBOLS:
            raise InvalidFieldError("symbols", f"has more than {MAX_SYMBOLS} symbols")
        return found
