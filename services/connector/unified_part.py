"""Reading a venue through ccxt's unified methods (all but Binance), composed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.connector.unified_account import UnifiedAccount
from services.connector.unified_account_sources import (
    UnifiedAccountSource,
    UnifiedPositionSource,
)
from services.connector.unified_funding import UnifiedFunding
from services.connector.unified_market import UnifiedMarket
from services.connector.unified_market_sources import (
    UnifiedCandleSource,
    UnifiedFundingSource,
    UnifiedPriceSource,
)
from services.connector.unified_reads import UnifiedReads
from services.connector.venue_questions import Questions

if TYPE_CHECKING:
    from opensqt.market_maker.v1 import events_pb2, resources_pb2
    from services.connector.account_reader import AccountReader
    from services.connector.funding_reader import FundingReader
    from services.connector.market_reader import MarketReader
    from services.connector.row_quarantine import RowQuarantine
    from services.connector.stream_hub import StreamSource
    from services.connector.stream_keys import CandleKey
    from services.connector.stream_sources import StreamSources
    from services.connector.stream_tap import MessageTap
    from services.connector.venue import Venue


class UnifiedWay:
    """Questions and sources over one set of unified reads."""

    def __init__(self, venue: Venue, quarantine: RowQuarantine) -> None:
        self._reads = UnifiedReads(venue)
        self.questions = Questions(
            UnifiedMarket(self._reads, quarantine),
            UnifiedFunding(self._reads, quarantine),
            UnifiedAccount(self._reads, quarantine),
        )

    def sources(
        self,
        tap: MessageTap,
        market: MarketReader,
        funding: FundingReader,
        account: AccountReader,
        poll_seconds: float,
    ) -> StreamSources:
        """Return sources over ccxt's `watch_*`; funding is polled."""
        return UnifiedSources(self._reads, tap, market, funding, account, poll_seconds)


@dataclass(frozen=True, slots=True)
class UnifiedSources:
    """Sources that go through ccxt's unified `watch_*` (every other venue)."""

    _reads: UnifiedReads
    _tap: MessageTap
    _market: MarketReader
    _funding: FundingReader
    _account: AccountReader
    _poll_seconds: float

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
