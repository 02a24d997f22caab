"""The half of the connector that reads: composed here, used by the servicer's data methods."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

from services.connector.account_reader import AccountReader
from services.connector.account_stream import AccountStreams
from services.connector.configuration_reader import ConfigurationReader
from services.connector.funding_reader import FundingReader
from services.connector.kept_answers import KeptAnswers
from services.connector.market_reader import MarketReader
from services.connector.market_stream import MarketStreams
from services.connector.row_quarantine import RowQuarantine
from services.connector.stream_hub import HubOptions
from services.connector.stream_tap import MessageTap

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.connector.stream_observer import DataObserver
    from services.connector.stream_sources import ReadingWay
    from services.connector.venue import Venue


RAW_VENUES: Final = frozenset({"binance", "binanceusdm"})
"""ccxt's classes whose bulk rows we read ourselves."""


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
    kept: KeptAnswers

    async def close(self) -> None:
        """End all subscribers and stop their sources; call before the ccxt instances are closed."""
        await self.market_streams.close()
        await self.account_streams.close()


def open_way(venue: Venue, quarantine: RowQuarantine) -> ReadingWay:
    """Return the way `venue` is read: by its own bulk rows where we know those, else by ccxt's."""
    # The other way is not imported: a process serves one venue.
    if venue.profile.ccxt_id in RAW_VENUES:
        raw: ReadingWay = import_module("services.connector.raw_part").RawWay(venue, quarantine)
        return raw
    way: ReadingWay = import_module("services.connector.unified_part").UnifiedWay(venue, quarantine)
    return way


def build_data_part(
    venue: Venue,
    reload_markets: Callable[[], Awaitable[None]],
    options: HubOptions | None = None,
    observer: DataObserver | None = None,
    *,
    kept_seconds: float = 300.0,
) -> DataPart:
    """Compose the readers of `venue`; `reload_markets` reads the trading rules anew.

    `kept_seconds` bounds the age of answers that cost much and change seldom.
    """
    quarantine = RowQuarantine(observer=observer)
    # One tap for all streams: it replaces methods of the instance, which nests badly.
    tap = MessageTap(venue.exchange)
    bounds = options or HubOptions()
    way = open_way(venue, quarantine)
    questions = way.questions
    funding = FundingReader(venue, questions.funding)
    market = MarketReader(venue, questions.market, funding, reload_markets)
    account = AccountReader(venue, questions.account)
    sources = way.sources(tap, market, funding, account, bounds.poll_seconds)
    return DataPart(
        venue=venue,
        market=market,
        funding=funding,
        account=account,
        configuration=ConfigurationReader(venue, account),
        market_streams=MarketStreams(venue, sources, market, bounds, observer),
        account_streams=AccountStreams(venue, sources, bounds, observer),
        quarantine=quarantine,
        kept=KeptAnswers(account, venue.clock, kept_seconds),
    )
