"""A made-up venue that streams its prices and rates, with gaps and silences on command."""

# ruff: noqa: N802 - gRPC fixes the names of servicer methods

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from opensqt.market_maker.v1 import events_pb2
from services.common.codec import to_duration
from services.common.errors import UnreachableError
from tests.support.fake_exchange import FakeExchange, FakeListing, history, number


@dataclass(eq=False)
class _Reader:
    """One open stream; mutable, rows wait in it. None ends it with an error."""

    stream: str
    symbols: frozenset[str]
    rows: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)


@dataclass
class StreamingExchange(FakeExchange):
    """Streams what is listed, and what `move` changes; mutable, the test scripts it.

    `is_mute`: streams open and say nothing.
    """

    is_mute: bool = False
    readers: list[_Reader] = field(default_factory=list)
    opened: list[tuple[str, frozenset[str]]] = field(default_factory=list)

    def move(self, symbol: str, *, stay: bool = True, **changes: Any) -> None:
        """Change a listing and tell readers; without `stay` only they hear of it."""
        listing = replace(self.listings[symbol], **changes)
        if stay:
            self.listings[symbol] = listing
        if self.is_mute:
            return
        for reader in self.readers:
            if symbol in reader.symbols or not reader.symbols:
                reader.rows.put_nowait(self._row(reader.stream, listing))

    def cut(self) -> None:
        """End every stream with an error."""
        for reader in self.readers:
            reader.rows.put_nowait(None)

    async def SubscribePrice(
        self, request: Any, context: Any
    ) -> AsyncIterator[events_pb2.PriceChange]:
        """Stream best prices."""
        async for row in self._stream("prices", frozenset(request.symbols)):
            yield row

    async def SubscribeFundingRate(
        self, request: Any, context: Any
    ) -> AsyncIterator[events_pb2.FundingUpdate]:
        """Stream rates of the coming settlement of all perpetuals."""
        async for row in self._stream("rates", frozenset()):
            yield row

    async def _stream(self, stream: str, symbols: frozenset[str]) -> AsyncIterator[Any]:
        reader = _Reader(stream, symbols)
        self.readers.append(reader)
        self.opened.append((stream, symbols))
        try:
            for listing in [] if self.is_mute else list(self.listings.values()):
                if listing.symbol in symbols or not symbols:
                    yield self._row(stream, listing)
            while (row := await reader.rows.get()) is not None:
                yield row
            raise UnreachableError("the venue is gone", reason="STREAM_CUT")
        finally:
            self.readers.remove(reader)

    def _row(self, stream: str, listing: FakeListing) -> Any:
        if stream == "prices":
            return events_pb2.PriceChange(
                symbol=listing.symbol,
                best_bid_price=number(listing.bid),
                best_ask_price=number(listing.ask),
            )
        return events_pb2.FundingUpdate(
            symbol=listing.symbol,
            rate=number(listing.next_rate),
            interval=to_duration(timedelta(hours=listing.interval_hours)),
        )


def streaming_markets() -> tuple[StreamingExchange, StreamingExchange]:
    """Return a spot and a perpetual venue with one good symbol."""
    spot, perpetual = StreamingExchange(perpetual=False), StreamingExchange(perpetual=True)
    spot.list(FakeListing("AAAUSDT"))
    perpetual.list(FakeListing("AAAUSDT", rates=history("0.0005"), next_rate="0.0005"))
    return spot, perpetual


def are_open(*exchanges: StreamingExchange) -> Callable[[], bool]:
    """Return a condition: every venue has its streams read."""
    return lambda: all(
        {reader.stream for reader in each.readers}
        == ({"prices", "rates"} if each.perpetual else {"prices"})
        for each in exchanges
    )
