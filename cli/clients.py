"""Stubs of the services `arb` talks to, each on a channel that closes with the block."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from opensqt.market_maker.v1 import engine_pb2_grpc, exchange_pb2_grpc, scanner_pb2_grpc
from services.common.channels import Deadlines, open_channel
from services.common.settings import read_secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc.aio

    from services.common.settings import EndpointSettings, VenueSettings


def _channel(endpoint: EndpointSettings) -> grpc.aio.Channel:
    return open_channel(
        endpoint.address,
        token=None if endpoint.token_file is None else read_secret(endpoint.token_file),
        tls=endpoint.tls,
        deadlines=Deadlines(endpoint.call_timeout),
    )


@asynccontextmanager
async def engine_client(
    endpoint: EndpointSettings,
) -> AsyncIterator[engine_pb2_grpc.EngineServiceAsyncStub]:
    """Open a channel to the engine."""
    async with _channel(endpoint) as channel:
        yield engine_pb2_grpc.EngineServiceStub(channel)


@asynccontextmanager
async def scanner_client(
    endpoint: EndpointSettings,
) -> AsyncIterator[scanner_pb2_grpc.ScannerServiceAsyncStub]:
    """Open a channel to the scanner."""
    async with _channel(endpoint) as channel:
        yield scanner_pb2_grpc.ScannerServiceStub(channel)


@asynccontextmanager
async def connector_client(
    venue: VenueSettings,
) -> AsyncIterator[exchange_pb2_grpc.ExchangeServiceAsyncStub]:
    """Open a channel to one connector."""
    async with open_channel(venue) as channel:
        yield exchange_pb2_grpc.ExchangeServiceStub(channel)
