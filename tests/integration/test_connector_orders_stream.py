"""The order stream over gRPC: snapshot, changes, forced fills, resume after a cut."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from opensqt.market_maker.v1 import events_pb2, exchange_pb2, types_pb2
from services.common.call_errors import translated
from services.common.errors import InvalidFieldError
from tests.support.connector import (
    BUY,
    LIMIT,
    SELL,
    best_prices,
    number,
    order,
    patient_part,
    running_connector,
)
from tests.support.connector_streams import read_until
from tests.support.simulator import ACCOUNT, Control, running_simulator


@dataclass(frozen=True, slots=True)
class Bench:
    """A connector on its simulator."""

    code: str
    stub: Any
    control: Control

    async def rest(self, name: str) -> None:
        """Place a limit order that rests."""
        bid, _ = await best_prices(self.stub)
        price = str((bid * Decimal("0.98")).quantize(Decimal(1)))
        wanted = order(BUY, type=LIMIT, price=price, client_order_id=name)
        await self.stub.PlaceOrder(wanted, timeout=5)


@pytest.fixture(params=["binance", "binanceusdm"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Run a simulator and a connector of each kind on it."""
    async with running_simulator() as simulator:
        part = patient_part(request.param, simulator.address, tmp_path)
        async with running_connector(part) as connector:
            yield Bench(request.param, connector.stub, Control(simulator.address))


def is_caught_up(update: events_pb2.OrderUpdate) -> bool:
    """Tell whether an update is the end of a snapshot."""
    return bool(update.caught_up)


async def test_snapshot_of_live_orders_comes_first(bench: Bench) -> None:
    """A new subscriber gets the live orders, then the marker, then changes."""
    await bench.rest("s1")
    call = bench.stub.SubscribeOrders(exchange_pb2.SubscribeOrdersRequest())
    snapshot = await read_until(call, is_caught_up)
    assert [(one.client_order_id, one.snapshot) for one in snapshot[:-1]] == [("s1", True)]
    await bench.stub.PlaceOrder(order(BUY, client_order_id="s2"), timeout=5)
    # An update carries all that is known: the event of the acceptance may tell the fill already.
    changes = await read_until(call, lambda one: one.HasField("last_trade"))
    assert changes[-1].client_order_id == "s2"
    assert changes[-1].status == types_pb2.ORDER_STATUS_FILLED
    assert number(changes[-1].executed_qty) == Decimal("0.01")
    assert number(changes[-1].last_trade.quantity) > 0
    assert changes[-1].fees
    call.cancel()


async def test_a_cut_stream_is_followed_by_a_fresh_snapshot(bench: Bench) -> None:
    """After a drop the subscriber gets the live orders again, without subscribing again."""
    call = bench.stub.SubscribeOrders(exchange_pb2.SubscribeOrdersRequest())
    await read_until(call, is_caught_up)
    await bench.rest("s3")
    await bench.control.post("streams/cut")
    seen = await read_until(call, is_caught_up)
    assert "s3" in [one.client_order_id for one in seen if one.snapshot]
    await bench.stub.PlaceOrder(order(BUY, client_order_id="s4"), timeout=5)
    await read_until(call, lambda one: one.client_order_id == "s4")
    call.cancel()


async def test_forced_fill_is_told_as_such(bench: Bench) -> None:
    """A liquidation, which nobody here ordered, is on the stream and marked."""
    if bench.code == "binance":
        return
    await bench.stub.PlaceOrder(order(BUY, "0.01"), timeout=5)
    call = bench.stub.SubscribeOrders(exchange_pb2.SubscribeOrdersRequest())
    await read_until(call, is_caught_up)
    await bench.control.post("liquidate", {"account": ACCOUNT, "symbol": "BTCUSDT"})
    seen = await read_until(call, lambda one: one.forced_fill)
    assert seen[-1].forced_fill == types_pb2.FORCED_FILL_LIQUIDATION
    assert seen[-1].side == SELL
    call.cancel()


async def test_canceled_order_is_told(bench: Bench) -> None:
    """A cancel through the connector shows on the stream under the order's own id."""
    await bench.rest("s5")
    call = bench.stub.SubscribeOrders(exchange_pb2.SubscribeOrdersRequest())
    await read_until(call, is_caught_up)
    await bench.stub.CancelOrder(
        exchange_pb2.CancelOrderRequest(symbol="BTCUSDT", client_order_id="s5"), timeout=5
    )
    canceled = types_pb2.ORDER_STATUS_CANCELED
    seen = await read_until(call, lambda one: one.status == canceled)
    assert seen[-1].client_order_id == "s5"
    call.cancel()


async def test_margin_short_borrows_and_buying_back_repays(bench: Bench) -> None:
    """A spot margin sale of coins that are not there borrows them; the purchase back repays."""
    if bench.code != "binance":
        with pytest.raises(InvalidFieldError), translated():
            await bench.stub.PlaceOrder(order(SELL, use_margin=True), timeout=5)
        return
    sold = await bench.stub.PlaceOrder(order(SELL, "0.01", use_margin=True), timeout=5)
    assert number(sold.executed_qty) == Decimal("0.01")
    assert sold.use_margin
    (wallet,) = await bench.control.get("balances")
    assert Decimal(wallet["owed"]["BTC"]) >= Decimal("0.01")
    got = await bench.stub.GetOrder(
        exchange_pb2.GetOrderRequest(
            symbol="BTCUSDT", exchange_order_id=sold.exchange_order_id, use_margin=True
        ),
        timeout=5,
    )
    assert number(got.net_quantity) == Decimal("0.01")
    bought = await bench.stub.PlaceOrder(order(BUY, "0.0101", use_margin=True), timeout=5)
    assert number(bought.executed_qty) == Decimal("0.0101")
    (wallet,) = await bench.control.get("balances")
    assert Decimal(wallet["owed"].get("BTC", "0")) < Decimal("0.0001")
