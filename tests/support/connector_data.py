"""The connector's data methods on a simulator, through real ccxt and real gRPC, in this process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import SecretStr

from opensqt.market_maker.v1 import exchange_pb2_grpc
from services.common.channels import open_channel
from services.common.clock import SystemClock
from services.common.metrics import ServiceMetrics
from services.common.server import GrpcServer
from services.common.settings import ServerSettings
from services.connector.data_part import DataPart, build_data_part
from services.connector.exchange_factory import build_exchange, new_session
from services.connector.instruments import InstrumentBook
from services.connector.rate_budget import RateBudget
from services.connector.servicers.account import AccountMethods
from services.connector.servicers.market import MarketMethods
from services.connector.stream_hub import HubOptions
from services.connector.symbols import build_instruments
from services.connector.venue import Venue
from services.connector.venues import find_profile
from tests.support.simulator import API_KEY, API_SECRET

SERVICE = "opensqt.market_maker.v1.ExchangeService"
FAST = HubOptions(first_backoff_seconds=0.02, max_backoff_seconds=0.2, idle_seconds=40.0)


class DataServicer(MarketMethods, AccountMethods, exchange_pb2_grpc.ExchangeServiceServicer):
    """The data half of the connector's servicer."""

    def __init__(self, data: DataPart) -> None:
        self._data = data


@dataclass(frozen=True, slots=True)
class Connected:
    """A running data half: the client's stub and what stands behind it."""

    stub: Any
    venue: Venue
    data: DataPart


@contextlib.asynccontextmanager
async def open_venue(code: str, url: str) -> AsyncIterator[Venue]:
    """Open a venue on the simulator at `url`, markets loaded; closes its connections at the end."""
    profile = find_profile(code)
    async with new_session() as session:
        exchange = build_exchange(
            profile,
            session,
            base_url=url,
            api_key=SecretStr(API_KEY),
            api_secret=SecretStr(API_SECRET),
            recv_window=timedelta(seconds=5),
            request_timeout=timedelta(seconds=5),
        )
        try:
            markets = await exchange.load_markets()
            clock = SystemClock()
            yield Venue(
                code=code,
                name=code,
                kind=profile.kind,
                exchange=exchange,
                trading=exchange,
                instruments=InstrumentBook(build_instruments(markets.values(), profile)),
                budget=RateBudget(profile.allowances, clock),
                clock=clock,
                profile=profile,
                fence=profile.fence,
            )
        finally:
            await exchange.close()


@contextlib.asynccontextmanager
async def connected(code: str, url: str, options: HubOptions = FAST) -> AsyncIterator[Connected]:
    """Serve the data methods of a venue on the simulator at `url` and connect a client."""
    async with open_venue(code, url) as venue:

        async def reload_markets() -> None:
            markets = await venue.exchange.load_markets(True)
            venue.instruments.replace(build_instruments(markets.values(), venue.profile))

        data = build_data_part(venue, reload_markets, options)
        # The order methods stay the base class's, which answer UNIMPLEMENTED.
        servicer = DataServicer(data)  # type: ignore[abstract]  # as said
        server = GrpcServer(ServerSettings(), metrics=ServiceMetrics("connector"))
        server.add(exchange_pb2_grpc.add_ExchangeServiceServicer_to_server, servicer, SERVICE)
        async with server:
            channel = open_channel(server.address)
            try:
                yield Connected(exchange_pb2_grpc.ExchangeServiceStub(channel), venue, data)
            finally:
                await channel.close()
                await data.close()
