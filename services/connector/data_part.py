"""The half of the connector that reads: composed here, used by the servicer's data methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from services.connector.account_reader import AccountReader
from services.connector.account_stream import AccountStreams
from services.connector.configuration_reader import ConfigurationReader
from services.connector.funding_reader import FundingReader
from services.connector.market_reader import MarketReader
from services.connector.market_stream import MarketStreams
from services.connector.raw_account import RawAccount
from services.connector.raw_funding import RawFunding
from services.connector.raw_market import RawMarket
from services.connector.row_quarantine import RowObserver, RowQuarantine
from services.connector.stream_hub import HubOptions, StreamObserver
from services.connector.stream_tap import MessageTap
from services.connector.venue_reads import VenueReads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.connector.venue import Venue


class DataObserver(StreamObserver, RowObserver, Protocol):
    """Who counts what goes wrong while reading."""


@dataclass(frozen=True, slots=True)
class DataPart:
    """Readers and streams of one venue account."""

    venue: Venue
    market: MarketReader
    funding: FundingReader
    account: AccountReader
    configuration: ConfigurationReader
    market_streams: MarketStreams
    account_streams: AccountStreams
    quarantine: RowQuarantine

    async def close(self) -> None:
        """End all subscribers and stop their sources; call before the ccxt instances are closed."""
        await self.market_streams.close()
        await self.account_streams.close()


def build_data_part(
    venue: Venue,
    reload_markets: Callable[[], Awaitable[None]],
    options: HubOptions | None = None,
    observer: DataObserver | None = None,
) -> DataPart:
    """Compose the readers of `venue`; `reload_markets` reads the trading rules anew."""
    quarantine = RowQuarantine(observer=observer)
    reads = VenueReads(venue)
    # One tap for all streams: it replaces methods of the instance, which nests badly.
    tap = MessageTap(venue.exchange)
    bounds = options or HubOptions()
    funding = FundingReader(venue, RawFunding(reads, quarantine))
    market = MarketReader(venue, RawMarket(reads, quarantine), funding, reload_markets)
    account = AccountReader(venue, RawAccount(reads, quarantine))
    return DataPart(
        venue=venue,
        market=market,
        funding=funding,
        account=account,
        configuration=ConfigurationReader(venue, account),
        market_streams=MarketStreams(reads, tap, market, funding, bounds, observer),
        account_streams=AccountStreams(reads, tap, account, bounds, observer),
        quarantine=quarantine,
    )
