"""Every method of ExchangeService on every venue the simulator speaks, through real gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from opensqt.market_maker.v1 import exchange_pb2, resources_pb2, trading_state_pb2
from tests.support.connector import (
    GTC,
    LIMIT,
    RunningConnector,
    order,
    patient_part,
    running_connector,
)
from tests.support.simulator import running_simulator

E = exchange_pb2
SYMBOL = "BTCUSDT"
RESTING: dict[str, Any] = {"type": LIMIT, "time_in_force": GTC, "price": "30000"}
FIRST = "methods1"
SPOT_LACKS = {
    "GetPositions",
    "GetOpenInterest",
    "GetFundingRate",
    "GetFundingRates",
    "GetHistoricalFundingRates",
    "GetFundingPayments",
    "SubscribeFundingRate",
    "SubscribePositions",
}
PERPETUAL_LACKS = {"GetBorrowRates"}

# In this order: an order is placed, found, listed and canceled.
CALLS: dict[str, Any] = {
    "GetName": E.GetNameRequest(),
    "GetType": E.GetTypeRequest(),
    "PlaceOrder": order(**RESTING, client_order_id=FIRST),
    "GetOrder": E.GetOrderRequest(symbol=SYMBOL, client_order_id=FIRST),
    "GetOpenOrders": E.GetOpenOrdersRequest(symbol=SYMBOL),
    "CancelOrder": E.CancelOrderRequest(symbol=SYMBOL, client_order_id=FIRST),
    "BatchPlaceOrders": E.BatchPlaceOrdersRequest(
        orders=[order(**RESTING, client_order_id=f"methods{number}") for number in (2, 3)]
    ),
    "BatchCancelOrders": E.BatchCancelOrdersRequest(symbol=SYMBOL, client_order_ids=["methods2"]),
    "CancelAllOrders": E.CancelAllOrdersRequest(symbol=SYMBOL),
    "GetTrades": E.GetTradesRequest(symbol=SYMBOL),
    "GetAccount": E.GetAccountRequest(),
    "GetPositions": E.GetPositionsRequest(),
    "GetBalance": E.GetBalanceRequest(asset="USDT"),
    "GetLatestPrice": E.GetLatestPriceRequest(symbol=SYMBOL),
    "GetTickers": E.GetTickersRequest(),
    "GetOpenInterest": E.GetOpenInterestRequest(symbol=SYMBOL),
    "GetHistoricalKlines": E.GetHistoricalKlinesRequest(symbol=SYMBOL, interval="1h", limit=5),
    "FetchExchangeInfo": E.FetchExchangeInfoRequest(symbol=SYMBOL),
    "GetSymbolInfo": E.GetSymbolInfoRequest(symbol=SYMBOL),
    "GetSymbols": E.GetSymbolsRequest(),
    "GetFundingRate": E.GetFundingRateRequest(symbol=SYMBOL),
    "GetFundingRates": E.GetFundingRatesRequest(),
    "GetHistoricalFundingRates": E.GetHistoricalFundingRatesRequest(symbol=SYMBOL, limit=5),
    "GetOrderBook": E.GetOrderBookRequest(symbol=SYMBOL, depth=5),
    "GetTradingFees": E.GetTradingFeesRequest(symbol=SYMBOL),
    "GetFundingPayments": E.GetFundingPaymentsRequest(),
    "GetBorrowRates": E.GetBorrowRatesRequest(assets=["BTC"]),
    "GetAccountConfiguration": E.GetAccountConfigurationRequest(symbol=SYMBOL),
    "SubscribeFundingRate": E.SubscribeFundingRateRequest(symbol=SYMBOL),
    "SubscribePrice": E.SubscribePriceRequest(symbols=[SYMBOL]),
    "SubscribeOrders": E.SubscribeOrdersRequest(),
    "SubscribeKlines": E.SubscribeKlinesRequest(symbols=[SYMBOL], interval="1m"),
    "SubscribeAccount": E.SubscribeAccountRequest(),
    "SubscribePositions": E.SubscribePositionsRequest(),
    "EnterOrders": None,
    "GetTradingState": trading_state_pb2.GetTradingStateRequest(),
    "HaltTrading": trading_state_pb2.HaltTradingRequest(reason="a test", changed_by="a test"),
    "ResumeTrading": trading_state_pb2.ResumeTradingRequest(reason="a test", changed_by="a test"),
}
CODES = ("binance", "binanceusdm", "okx-spot", "okx-swap", "bybit-spot", "bybit-linear")
# Only a venue whose margin account our orders can use has a price of borrowing.
LACKS = {
    code: PERPETUAL_LACKS if code in ("binanceusdm", "okx-swap", "bybit-linear") else SPOT_LACKS
    for code in CODES
} | {code: SPOT_LACKS | {"GetBorrowRates"} for code in ("okx-spot", "bybit-spot")}
NO_SUCH_THING = {"NOT_ON_SPOT", "NOT_ON_FUTURES", "NOT_SUPPORTED_BY_VENUE"}


@pytest.fixture(params=["binance", "binanceusdm"])
async def connector(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[str, RunningConnector]]:
    """A connector of each kind on a simulator."""
    async with serving(request.param, tmp_path) as running:
        yield request.param, running


@asynccontextmanager
async def serving(code: str, folder: Path) -> AsyncIterator[RunningConnector]:
    """Serve one venue account on a simulator of its own."""
    async with (
        running_simulator() as simulator,
        running_connector(patient_part(code, simulator.address, folder)) as running,
    ):
        yield running


async def answer_of(stub: Any, name: str, request: Any) -> Any:
    """Return the reply, or the first message of a stream; raises AioRpcError."""
    method = getattr(stub, name)
    call = method(timeout=10) if request is None else method(request, timeout=10)
    if not name.startswith(("Subscribe", "Enter")):
        return await call
    try:
        first = await call.read()
    finally:
        call.cancel()
    return first


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """Return the ErrorInfo reason of a failed call."""
    held: Any = error
    status = rpc_status.from_call(held)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return str(info.reason)


def test_the_table_names_every_method_of_the_service() -> None:
    """A method added to the contract must be called here."""
    service = exchange_pb2.DESCRIPTOR.services_by_name["ExchangeService"]
    assert set(CALLS) == {method.name for method in service.methods}


@pytest.mark.parametrize("code", CODES)
async def test_every_method_works_or_says_that_the_venue_has_no_such_thing(
    code: str, tmp_path: Path
) -> None:
    """OK with something in it, or UNIMPLEMENTED with a reason."""
    async with serving(code, tmp_path) as running:
        for name, request in CALLS.items():
            if name in LACKS[code]:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await answer_of(running.stub, name, request)
                assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED, name
                assert reason_of(caught.value) in NO_SUCH_THING, name
                continue
            reply = await answer_of(running.stub, name, request)
            assert reply is not grpc.aio.EOF, name
            if isinstance(reply, resources_pb2.Order):
                assert reply.symbol == SYMBOL


BAD_FIELDS = (
    ("GetLatestPrice", E.GetLatestPriceRequest(), "symbol"),
    ("GetBalance", E.GetBalanceRequest(), "asset"),
    ("GetOrderBook", E.GetOrderBookRequest(symbol=SYMBOL, depth=-1), "depth"),
    ("GetHistoricalKlines", E.GetHistoricalKlinesRequest(symbol=SYMBOL), "interval"),
    (
        "GetHistoricalKlines",
        E.GetHistoricalKlinesRequest(symbol=SYMBOL, interval="1h", limit=-1),
        "limit",
    ),
    ("SubscribePrice", E.SubscribePriceRequest(), "symbols"),
    ("SubscribeKlines", E.SubscribeKlinesRequest(interval="1m"), "symbols"),
    ("SubscribeKlines", E.SubscribeKlinesRequest(symbols=[SYMBOL], interval="7m"), "interval"),
)


async def test_a_bad_field_is_refused_by_name(connector: tuple[str, RunningConnector]) -> None:
    """INVALID_ARGUMENT naming the field, on both kinds."""
    for name, request, field in BAD_FIELDS:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await answer_of(connector[1].stub, name, request)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, name
        assert (caught.value.details() or "").startswith(f"{field}:"), name


async def test_an_unknown_symbol_is_not_found(connector: tuple[str, RunningConnector]) -> None:
    """NOT_FOUND with reason SYMBOL_NOT_FOUND."""
    for name in ("GetLatestPrice", "GetSymbolInfo", "FetchExchangeInfo", "GetOrderBook"):
        request = getattr(E, f"{name}Request")(symbol="NOSUCHUSDT")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await answer_of(connector[1].stub, name, request)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND, name
        assert reason_of(caught.value) == "SYMBOL_NOT_FOUND"
