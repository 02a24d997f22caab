"""Streams of prices, funding and candles, each upstream subscription shared by its subscribers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from services.common.errors import InvalidFieldError
from services.connector.stream_hub import HubOptions, StreamHub
from services.connector.stream_keys import CandleKey, candle_key, funding_key, price_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from contextlib import AbstractAsyncContextManager

    from opensqt.market_maker.v1 import events_pb2, resources_pb2
    from services.connector.market_reader import MarketReader
    from services.connector.stream_observer import DataObserver
    from services.connector.stream_sources import StreamSources
    from services.connector.venue import Venue

MAX_SYMBOLS: Final = 100
"""Most symbols of one subscription: Binance takes 200 streams on a connection, we use two each."""


class MarketStreams:
    """The hubs of market data; a reader that is behind gets the newest per symbol."""

    def __init__(
        self,
        venue: Venue,
        sources: StreamSources,
        market: MarketReader,
        options: HubOptions,
        observer: DataObserver | None = None,
    ) -> None:
        self._venue = venue
        self._market = market
        clock = venue.clock
        self.prices: StreamHub[tuple[str, ...], events_pb2.PriceChange] = StreamHub(
            "prices", sources.prices, clock, options, key=price_key, observer=observer
        )
        self.funding: StreamHub[str, events_pb2.FundingUpdate] = StreamHub(
            "funding", sources.funding, clock, options, key=funding_key, observer=observer
        )
        # By opening time too: the last row of a closed candle is not replaced by the next one.
        self.candles: StreamHub[CandleKey, resources_pb2.Candle] = StreamHub(
            "candles", sources.candles, clock, options, key=candle_key, observer=observer
        )
        if observer is not None:
            for hub in (self.prices, self.funding, self.candles):
                observer.watch_stream_silence(hub.name, hub.silence_seconds)

    def subscribe_prices(
        self, symbols: Iterable[str]
    ) -> AbstractAsyncContextManager[AsyncIterator[events_pb2.PriceChange]]:
        """Stream prices of these symbols; raise InvalidFieldError for none or too many."""
        return self.prices.subscribe(self._canonical(symbols))

    def subscribe_funding(
        self, symbol: str
    ) -> AbstractAsyncContextManager[AsyncIterator[events_pb2.FundingUpdate]]:
        """Stream funding of one perpetual, of all for the empty symbol."""
        self._venue.require_perpetual("funding rate")
        found = self._venue.instruments.get(symbol).symbol if symbol else ""
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
        book = self._venue.instruments
        found = tuple(sorted({book.get(symbol).symbol for symbol in symbols}))
        if not found:
            raise InvalidFieldError("symbols", "needs at least one symbol")
        if len(found) > MAX_SYMBOLS:
            raise InvalidFieldError("symbols", f"has more than {MAX_SYMBOLS} symbols")
        return found
