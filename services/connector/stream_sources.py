"""Where the rows of each stream come from: one factory per kind of stream and way of reading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from services.connector.raw_account_sources import AccountSource, PositionSource
from services.connector.raw_market_sources import CandleSource, FundingSource, PriceSource
from services.connector.unified_account_sources import (
    UnifiedAccountSource,
    UnifiedPositionSource,
)
from services.connector.unified_market_sources import (
    UnifiedCandleSource,
    UnifiedFundingSource,
    UnifiedPriceSource,
)

if TYPE_CHECKING:
    from opensqt.market_maker.v1 import events_pb2, resources_pb2
    from services.connector.account_reader import AccountReader
    from services.connector.funding_reader import FundingReader
    from services.connector.market_reader import MarketReader
    from services.connector.stream_hub import StreamSource
    from services.connector.stream_keys import CandleKey
    from services.connector.stream_tap import MessageTap
    from services.connector.unified_reads import UnifiedReads
    from services.connector.venue_reads import VenueReads


class StreamSources(Protocol):
    """Makes the upstream subscription of each kind of stream."""

    def prices(self, symbols: tuple[str, ...]) -> StreamSource[events_pb2.PriceChange]:
        """Return prices of these canonical symbols."""
        ...

    def funding(self, symbol: str) -> StreamSource[events_pb2.FundingUpdate]:
        """Return funding of one perpetual, of all for the empty symbol."""
        ...

    def candles(self, key: CandleKey) -> StreamSource[resources_pb2.Candle]:
        """Return candles of these symbols."""
        ...

    def account(self) -> StreamSource[resources_pb2.Account]:
        """Return the account after each change."""
        ...

    def positions(self) -> StreamSource[resources_pb2.Position]:
        """Return the positions: a snapshot with its marker, then changes."""
        ...


class RawSources:
    """Sources that read the venue's own messages (Binance)."""

    def __init__(
        self,
        reads: VenueReads,
        tap: MessageTap,
        market: MarketReader,
        funding: FundingReader,
        account: AccountReader,
    ) -> None:
        self._reads = reads
        self._tap = tap
        self._market = market
        self._funding = funding
        self._account = account

    def prices(self, symbols: tuple[str, ...]) -> StreamSource[events_pb2.PriceChange]:
        """Return book tickers and 24 h tickers, merged."""
        return PriceSource(self._reads, self._tap, symbols)

    def funding(self, symbol: str) -> StreamSource[events_pb2.FundingUpdate]:
        """Return mark price events."""
        return FundingSource(self._reads, self._tap, self._funding, symbol)

    def candles(self, key: CandleKey) -> StreamSource[resources_pb2.Candle]:
        """Return kline events."""
        return CandleSource(self._reads, self._tap, self._market, key)

    def account(self) -> StreamSource[resources_pb2.Account]:
        """Return the account after each event that names it."""
        return AccountSource(self._reads, self._tap, self._account)

    def positions(self) -> StreamSource[resources_pb2.Position]:
        """Return positions as ACCOUNT_UPDATE events name them."""
        return PositionSource(self._reads, self._tap, self._account)


class UnifiedSources:
    """Sources that go through ccxt's unified `watch_*` (every other venue)."""

    def __init__(
        self,
        reads: UnifiedReads,
        tap: MessageTap,
        market: MarketReader,
        funding: FundingReader,
        account: AccountReader,
        poll_seconds: float,
    ) -> None:
        self._reads = reads
        self._tap = tap
        self._market = market
        self._funding = funding
        self._account = account
        self._poll_seconds = poll_seconds

    def prices(self, symbols: tuple[str, ...]) -> StreamSource[events_pb2.PriceChange]:
        """Return tickers and best prices, merged."""
        return UnifiedPriceSource(self._reads, self._tap, symbols)

    def funding(self, symbol: str) -> StreamSource[events_pb2.FundingUpdate]:
        """Return rates as polled: few venues stream them, and none of all symbols at once."""
        return UnifiedFundingSource(self._reads.venue, self._funding, symbol, self._poll_seconds)

    def candles(self, key: CandleKey) -> StreamSource[resources_pb2.Candle]:
        """Return candles as ccxt keeps them."""
        return UnifiedCandleSource(self._reads, self._tap, self._market, key)

    def account(self) -> StreamSource[resources_pb2.Account]:
        """Return the account after each message about balances."""
        return UnifiedAccountSource(self._reads, self._tap, self._account)

    def positions(self) -> StreamSource[resources_pb2.Position]:
        """Return positions, read after each message about them."""
        return UnifiedPositionSource(self._reads, self._tap, self._account)
