"""Sources of market streams from the venue's own events: Binance, whose raw messages we read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from services.connector.market_events import PriceBoard, to_funding_update, to_stream_candle
from services.connector.row_numbers import text
from services.connector.stream_backfill import CandleBackfill, FundingBackfill
from services.connector.stream_keys import candle_key
from services.connector.watch_source import WatchSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opensqt.market_maker.v1 import events_pb2, resources_pb2
    from services.connector.funding_reader import FundingReader
    from services.connector.market_reader import MarketReader
    from services.connector.stream_keys import CandleKey
    from services.connector.stream_tap import MessageTap
    from services.connector.venue_reads import VenueReads

_BULK_FROM: Final = 5


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
        self._backfill = FundingBackfill(funding)
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
        """Return settlements that passed in a gap and the funding now; reads the intervals too."""
        rates = (
            [await self._funding.rate(self._symbol)]
            if self._symbol
            else await self._funding.rates()
        )
        return await self._backfill.snapshot(rates)

    def _on_event(self, event: dict[str, Any]) -> list[events_pb2.FundingUpdate]:
        if event.get("e") != "markPriceUpdate":
            return []
        instrument = self._book.find_exchange_symbol(text(event, "s"))
        if instrument is None or self._symbol not in ("", instrument.symbol):
            return []
        # As last read: an event must not wait for a request.
        interval = self._funding.known_intervals(instrument.exchange_symbol)
        row = to_funding_update(event, instrument, self._name, interval)
        self._backfill.note(row)
        return [row]


class CandleSource(WatchSource["resources_pb2.Candle"]):
    """Kline events of some symbols and one interval."""

    def __init__(
        self, reads: VenueReads, tap: MessageTap, market: MarketReader, key: CandleKey
    ) -> None:
        venue = reads.venue
        self._backfill = CandleBackfill(market, key.symbols, key.interval)
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
        """Return the last candles of each symbol, after a gap all that were missed."""
        return await self._backfill.snapshot()

    async def receive(self) -> Sequence[resources_pb2.Candle]:
        """Wait for the next rows; what is missing before them is read first."""
        return await self._backfill.complete(await super().receive())

    def _on_event(self, event: dict[str, Any]) -> list[resources_pb2.Candle]:
        if event.get("e") != "kline" or event["k"].get("i") != self._wanted.interval:
            return []
        instrument = self._book.find_exchange_symbol(text(event["k"], "s"))
        if instrument is None or instrument.symbol not in self._wanted.symbols:
            return []
        return [to_stream_candle(event, instrument)]
