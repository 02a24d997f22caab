"""The half of the connector that reads: composed here, used by the servicer's data methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.connector.account_reader import AccountReader
from services.connector.account_stream import AccountStreams
from services.connector.configuration_reader import ConfigurationReader
from services.connector.funding_reader import FundingReader
from services.connector.kept_answers import KeptAnswers
from services.connector.market_reader import MarketReader
from services.connector.market_stream import MarketStreams
from services.connector.raw_account import RawAccount
from services.connector.raw_funding import RawFunding
from services.connector.raw_market import RawMarket
from services.connector.row_quarantine import RowQuarantine
from services.connector.stream_hub import HubOptions
from services.connector.stream_sources import RawSources, UnifiedSources
from services.connector.stream_tap import MessageTap
from services.connector.unified_account import UnifiedAccount
from services.connector.unified_funding import UnifiedFunding
from services.connector.unified_market import UnifiedMarket
from services.connector.unified_reads import UnifiedReads
from services.connector.venue_reads import CALLS, VenueReads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.connector.stream_observer import DataObserver
    from services.connector.stream_sources import StreamSources
    from services.connector.venue import Venue
    from services.connector.venue_questions import (
        AccountQuestions,
        FundingQuestions,
        MarketQuestions,
    )


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


@dataclass(frozen=True, slots=True)
class Questions:
    """What answers the readers' questions about one venue account."""

    market: MarketQuestions
    funding: FundingQuestions
    account: AccountQuestions
    reads: VenueReads | UnifiedReads


def open_questions(venue: Venue, quarantine: RowQuarantine) -> Questions:
    """Return what answers for `venue`: its own bulk rows where we read those, else ccxt."""
    if venue.code in CALLS:
        raw = VenueReads(venue)
        return Questions(
            RawMarket(raw, quarantine),
            RawFunding(raw, quarantine),
            RawAccount(raw, quarantine),
            raw,
        )
    unified = UnifiedReads(venue)
    return Questions(
        UnifiedMarket(unified, quarantine),
        UnifiedFunding(unified, quarantine),
        UnifiedAccount(unified, quarantine),
        unified,
    )


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
    questions = open_questions(venue, quarantine)
    funding = FundingReader(venue, questions.funding)
    market = MarketReader(venue, questions.market, funding, reload_markets)
    account = AccountReader(venue, questions.account)
    reads = questions.reads
    sources: StreamSources = (
        RawSources(reads, tap, market, funding, account)
        if isinstance(reads, VenueReads)
        else UnifiedSources(reads, tap, market, funding, account, bounds.poll_seconds)
    )
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
