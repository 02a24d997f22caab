"""Reading a venue by its own bulk rows and messages (Binance), composed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.connector.raw_account import RawAccount
from services.connector.raw_account_sources import AccountSource, PositionSource
from services.connector.raw_funding import RawFunding
from services.connector.raw_market import RawMarket
from services.connector.raw_market_sources import CandleSource, FundingSource, PriceSource
from services.connector.venue_questions import Questions
from services.connector.venue_reads import VenueReads

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


class RawWay:
    """Questions and sources over one set of raw reads."""

    def __init__(self, venue: Venue, quarantine: RowQuarantine) -> None:
        self._reads = VenueReads(venue)
        self.questions = Questions(
            RawMarket(self._reads, quarantine),
            RawFunding(self._reads, quarantine),
            RawAccount(self._reads, quarantine),
        )

    def sources(
        self,
        tap: MessageTap,
        market: MarketReader,
        funding: FundingReader,
        account: AccountReader,
        poll_seconds: float,
    ) -> StreamSources:
        """Return sources that read the venue's messages; nothing here is polled."""
        del poll_seconds
        return RawSources(self._reads, tap, market, funding, account)


@dataclass(frozen=True, slots=True)
class RawSources:
    """Sources that read the venue's own messages (Binance)."""

    _reads: VenueReads
    _tap: MessageTap
    _market: MarketReader
    _funding: FundingReader
    _account: AccountReader

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
