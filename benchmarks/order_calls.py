"""The calls that are timed: an order through the connector, and the parts of its floor."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import aiohttp
import grpc
from google.type import decimal_pb2

from benchmarks.echo_server import METHOD
from opensqt.market_maker.v1 import (
    exchange_pb2_grpc,
    order_entry_pb2,
    resources_pb2,
    types_pb2,
)
from services.connector.ccxt_lean import import_venue_class
from services.connector.exchange_factory import rewrite_urls
from services.connector.ledger import Ledger, LedgerRow, Phase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    Call = Callable[[], Awaitable[object]]

API_KEY: Final = "bench-key"
API_SECRET: Final = "bench-secret"  # noqa: S105 - of a venue that checks none
_QUANTITY, _PRICE = "0.100", "100.00"
_numbers = count(time.time_ns())


def new_id() -> str:
    """Return a client order id that no other call of this run has."""
    return f"bench{next(_numbers)}"


def new_order(*, is_market: bool = False) -> resources_pb2.PlaceOrderRequest:
    """Return a request for an order that rests, or for a market order."""
    request = resources_pb2.PlaceOrderRequest(
        client_order_id=new_id(),
        symbol="BTCUSDT",
        side=types_pb2.ORDER_SIDE_BUY,
        type=types_pb2.ORDER_TYPE_MARKET if is_market else types_pb2.ORDER_TYPE_LIMIT,
        quantity=decimal_pb2.Decimal(value=_QUANTITY),
    )
    if not is_market:
        request.price.value = _PRICE
        request.time_in_force = types_pb2.TIME_IN_FORCE_GTC
    return request


def place_call(channel: grpc.aio.Channel, *, is_market: bool = False) -> Call:
    """Return the call that places an order through a connector: resting, or a market order."""
    stub: Any = exchange_pb2_grpc.ExchangeServiceStub(channel)

    async def place() -> object:
        return await stub.PlaceOrder(new_order(is_market=is_market), timeout=30.0)

    return place


@asynccontextmanager
async def entry_call(channel: grpc.aio.Channel) -> AsyncIterator[Call]:
    """Yield the call that places a resting order over one long-lived EnterOrders call."""
    stub: Any = exchange_pb2_grpc.ExchangeServiceStub(channel)
    stream = stub.EnterOrders()
    waiting: dict[int, asyncio.Future[object]] = {}
    # gRPC takes one message of a call at a time.
    turn = asyncio.Lock()

    async def read() -> None:
        while (answer := await stream.read()) is not grpc.aio.EOF:
            found = waiting.pop(answer.entry_id, None)
            if found is not None:
                found.set_result(answer)

    async def enter() -> object:
        entry = next(_numbers)
        answered = waiting[entry] = asyncio.get_running_loop().create_future()
        request = order_entry_pb2.EnterOrdersRequest(entry_id=entry, order=new_order())
        async with turn:
            await stream.write(request)
        return await answered

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(read())
        try:
            yield enter
        finally:
            reading.cancel()
            stream.cancel()


def echo_call(channel: grpc.aio.Channel) -> Call:
    """Return the call that the empty gRPC server answers."""
    echo: Any = channel.unary_unary(METHOD)

    async def call() -> object:
        return await echo(b"", timeout=30.0)

    return call


def floor_call(parts: Mapping[str, Call], times: Mapping[str, list[float]]) -> Call:
    """Return the call that makes the parts of the floor one after the other, as an order has them.

    Seconds of each part are added to its list in `times`. Repeated back to back a part finds
    caches, connection and disk as the last one left them, which no part of an order ever does.
    """

    async def call() -> None:
        for name, part in parts.items():
            begun = time.perf_counter()
            await part()
            times[name].append(time.perf_counter() - begun)

    return call


@asynccontextmanager
async def ledger_call(path: Path) -> AsyncIterator[Call]:
    """Yield the call that commits one row of the order ledger."""
    ledger = Ledger(path)
    ledger.open()

    async def record() -> object:
        name = new_id()
        # As long as the rows of this run's orders are.
        row = LedgerRow(name, name, "0" * 64, "BTCUSDT", Phase.OPEN, 0, "i" * 300)
        return await ledger.record(row)

    try:
        yield record
    finally:
        ledger.close()


@asynccontextmanager
async def ccxt_call(venue: str, *, with_limiter: bool) -> AsyncIterator[Call]:
    """Yield ccxt's own `create_order` on the venue at `host:port`, nothing of ours around it."""
    exchange: Any = import_venue_class("binanceusdm")(
        {
            "apiKey": API_KEY,
            "secret": API_SECRET,
            "enableRateLimit": with_limiter,
            "options": {"fetchCurrencies": False, "fetchMargins": False},
        }
    )
    exchange.urls["api"] = rewrite_urls(exchange.urls["api"], f"http://{venue}")
    await exchange.load_markets()

    async def create() -> object:
        params = {"newClientOrderId": new_id()}
        return await exchange.create_order("BTC/USDT:USDT", "limit", "buy", 0.1, 100.0, params)

    try:
        yield create
    finally:
        await exchange.close()


@asynccontextmanager
async def aiohttp_call(venue: str) -> AsyncIterator[Call]:
    """Yield the same order as a bare signed POST."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        url = f"http://{venue}/fapi/v1/order"

        async def post() -> object:
            body = urlencode(
                {
                    "symbol": "BTCUSDT",
                    "side": "BUY",
                    "newClientOrderId": new_id(),
                    "type": "LIMIT",
                    "quantity": _QUANTITY,
                    "price": _PRICE,
                    "timeInForce": "GTC",
                    "timestamp": time.time_ns() // 1_000_000,
                }
            )
            signature = hmac.new(API_SECRET.encode(), body.encode(), hashlib.sha256).hexdigest()
            headers = {
                "X-MBX-APIKEY": API_KEY,
                "Content-Type": "application/x-www-form-urlencoded",
            }
            data = f"{body}&signature={signature}"
            async with session.post(url, data=data, headers=headers) as response:
                return await response.json()

        yield post
