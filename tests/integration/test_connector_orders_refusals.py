"""What a stranger's request gets: INVALID_ARGUMENT with the field named, and nothing is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.type import decimal_pb2

from opensqt.market_maker.v1 import exchange_pb2, resources_pb2, types_pb2
from services.common.call_errors import translated
from services.common.errors import InvalidFieldError, NotFoundError
from tests.support.connector import (
    BUY,
    FOK,
    GTC,
    IOC,
    LIMIT,
    MARKET,
    by_id,
    order,
    patient_part,
    running_connector,
)
from tests.support.simulator import Control, running_simulator


@dataclass(frozen=True, slots=True)
class Bench:
    """A connector on its simulator."""

    code: str
    stub: Any
    control: Control


@pytest.fixture(params=["binance", "binanceusdm"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Run a simulator and a connector of each kind on it."""
    async with running_simulator() as simulator:
        part = patient_part(request.param, simulator.address, tmp_path)
        async with running_connector(part) as connector:
            yield Bench(request.param, connector.stub, Control(simulator.address))


async def refused_field(bench: Bench, request: resources_pb2.PlaceOrderRequest) -> str:
    """Return the field that the refusal of an order names; fails unless it is INVALID_ARGUMENT."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await bench.stub.PlaceOrder(request, timeout=5)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(InvalidFieldError) as told, translated():
        raise refused.value
    assert await bench.control.get("requests") == []
    return told.value.field


GARBAGE = ["NaN", "Infinity", "1e999999", "1_000", "١", "", "-1", "0", "+1", " 1", "1" * 40]


async def test_garbage_in_any_decimal_is_refused_by_name(bench: Bench) -> None:
    """Each decimal field with each kind of garbage is INVALID_ARGUMENT naming that field."""
    for field in ("quantity", "price", "worst_price", "slippage_bound_ratio"):
        for text in GARBAGE:
            kind = LIMIT if field == "price" else MARKET
            request = order(type=kind)
            getattr(request, field).CopyFrom(decimal_pb2.Decimal(value=text))
            assert await refused_field(bench, request) == field, (field, text)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"side": types_pb2.ORDER_SIDE_UNSPECIFIED}, "side"),
    ({"type": types_pb2.ORDER_TYPE_UNSPECIFIED}, "type"),
    ({"side": 77}, "side"),
    ({"time_in_force": 77}, "time_in_force"),
    ({"order_class": 77}, "order_class"),
    ({"symbol": ""}, "symbol"),
    ({"quantity": "0.0123456789"}, "quantity"),
    ({"quantity": "0.0000000001"}, "quantity"),
    ({"quantity": "999999999"}, "quantity"),
    ({"type": LIMIT}, "price"),
    ({"type": LIMIT, "price": "50000.123456"}, "price"),
    ({"type": LIMIT, "price": "1", "quantity": "0.001"}, "quantity"),
    ({"price": "50000"}, "price"),
    ({"time_in_force": GTC}, "time_in_force"),
    ({"time_in_force": FOK}, "time_in_force"),
    ({"post_only": True}, "post_only"),
    ({"type": LIMIT, "price": "50000", "post_only": True, "time_in_force": IOC}, "post_only"),
    ({"type": LIMIT, "price": "50000", "worst_price": "50000"}, "worst_price"),
    ({"worst_price": "50000", "slippage_bound_ratio": "0.01"}, "slippage_bound_ratio"),
    ({"slippage_bound_ratio": "0.9"}, "slippage_bound_ratio"),
    ({"client_order_id": "x" * 65}, "client_order_id"),
    ({"client_order_id": "käse"}, "client_order_id"),
]


async def test_wrong_field_is_named(bench: Bench) -> None:
    """A combination that makes no order is refused before anything is sent."""
    for fields, field in WRONG:
        assert await refused_field(bench, order(**{"side": BUY, **fields})) == field, fields


async def test_margin_is_refused_where_there_is_none(bench: Bench) -> None:
    """A perpetual has no margin account to send to."""
    if bench.code == "binanceusdm":
        assert await refused_field(bench, order(use_margin=True)) == "use_margin"


async def test_unknown_symbol_is_not_found(bench: Bench) -> None:
    """A symbol the venue does not list is NOT_FOUND with a reason of its own."""
    with pytest.raises(NotFoundError) as missing, translated():
        await bench.stub.PlaceOrder(order(symbol="NOSUCHUSDT"), timeout=5)
    assert missing.value.reason == "SYMBOL_NOT_FOUND"


async def test_all_three_names_of_a_symbol_are_taken(bench: Bench) -> None:
    """Canonical, the venue's own and ccxt's unified form name the same instrument."""
    unified = "BTC/USDT" if bench.code == "binance" else "BTC/USDT:USDT"
    for name in ("BTCUSDT", unified):
        placed = await bench.stub.PlaceOrder(order(symbol=name), timeout=5)
        assert placed.symbol == "BTCUSDT"


async def test_an_order_must_be_named(bench: Bench) -> None:
    """Get and Cancel without any id are INVALID_ARGUMENT."""
    for call, request in (
        (bench.stub.GetOrder, by_id("")),
        (bench.stub.CancelOrder, exchange_pb2.CancelOrderRequest(symbol="BTCUSDT")),
        (bench.stub.BatchCancelOrders, exchange_pb2.BatchCancelOrdersRequest(symbol="BTCUSDT")),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(request, timeout=5)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_batch_names_the_field_by_its_index(bench: Bench) -> None:
    """A bad field inside a batch is told with its place in it."""
    request = exchange_pb2.BatchPlaceOrdersRequest(orders=[order(), order(quantity="NaN")])
    response = await bench.stub.BatchPlaceOrders(request, timeout=5)
    assert response.errors[0].error_message.startswith("orders[1].quantity")
