"""Where the rows of each stream come from: what a way of reading a venue must offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from opensqt.market_maker.v1 import events_pb2, resources_pb2
    from services.connector.account_reader import AccountReader
    from services.connector.funding_reader import FundingReader
    from services.connector.market_reader import MarketReader
    from services.connector.stream_hub import StreamSource
    from services.connector.stream_keys import CandleKey
    from services.connector.stream_tap import MessageTap
    from services.connector.venue_questions import Questions


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


class ReadingWay(Protocol):
    """One way of reading a venue: what answers the readers' questions, and what feeds streams."""

    @property
    def questions(self) -> Questions:
        """Return what answers the readers' questions."""
        ...

    def sources(
        self,
        tap: MessageTap,
        market: MarketReader,
        funding: FundingReader,
        account: AccountReader,
        poll_seconds: float,
    ) -> StreamSources:
        """Return what feeds the streams; `poll_seconds` is for what the venue does not stream."""
        ...
