"""A scripted connector and a gateway to it: what tests of the engine's edge to venues share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from opensqt.market_maker.v1 import (
    exchange_pb2,
    exchange_pb2_grpc,
    instrument_pb2,
    types_pb2,
)
from services.common.channels import open_channel
from services.common.errors import (
    OpensqtError,
)
from services.engine.connector_gateway import ConnectorGateway
from services.engine.instruments import InstrumentKind
from tests.support.connector_messages import (
    order,
    order_book,
    symbol_info,
    trading_fee,
)
from tests.support.scripted_service import (
    ScriptedService,
    served,
)

NAME = "binanceusdm"
SINCE = datetime(2026, 3, 1, tzinfo=UTC)
WAIT = 60.0
Answer = Any


def scripted(**answers: Answer) -> ScriptedService:
    """Return a connector of a perpetual venue with some answers of its own."""
    script = ScriptedService(exchange_pb2.DESCRIPTOR.services_by_name["ExchangeService"])
    script.answers = {
        "GetName": exchange_pb2.GetNameResponse(name=NAME),
        "GetType": exchange_pb2.GetTypeResponse(
            kind=instrument_pb2.INSTRUMENT_KIND_PERPETUAL,
            position_mode=types_pb2.POSITION_MODE_ONE_WAY,
            fence=Duration(seconds=16),
        ),
        "PlaceOrder": order(),
        "GetOrder": order(),
        "GetSymbolInfo": symbol_info(),
        "GetTradingFees": exchange_pb2.GetTradingFeesResponse(fees=[trading_fee()]),
        "GetAccountConfiguration": exchange_pb2.GetAccountConfigurationResponse(leverage=5),
        "GetOrderBook": order_book(),
        **answers,
    }
    return script


@asynccontextmanager
async def gateway_to(address: str, **options: Any) -> AsyncIterator[ConnectorGateway]:
    """Open a gateway to an address."""
    seconds: dict[str, float] = {"call_seconds": 5.0, "place_seconds": 5.0}
    kind = options.pop("kind", InstrumentKind.PERPETUAL)
    channel = open_channel(address)
    stub: Any = exchange_pb2_grpc.ExchangeServiceStub(channel)
    try:
        yield ConnectorGateway(NAME, kind, stub, **{**seconds, **options})
    finally:
        await channel.close()


@asynccontextmanager
async def gateway(script: ScriptedService, **options: Any) -> AsyncIterator[ConnectorGateway]:
    """Serve a script and open a gateway to it."""
    async with served(script) as address, gateway_to(address, **options) as opened:
        yield opened


async def raised(call: Awaitable[object]) -> OpensqtError:
    """Return the error of a call that must fail with one of ours."""
    with pytest.raises(OpensqtError) as caught:
        await call
    return caught.value


async def never(_request: object, _context: object) -> Any:
    """Answer nothing, ever."""
    await asyncio.Event().wait()


def abort(code: grpc.StatusCode, text: str) -> Callable[[Any, Any], Awaitable[Any]]:
    """Answer with a plain status, as a proxy that knows nothing of our reasons would."""

    async def answer(_request: Any, context: Any) -> None:
        await context.abort(code, text)

    return answer
