"""Orders through the real connector, real gRPC and real ccxt on the simulator: what was filled."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest

from opensqt.market_maker.v1 import exchange_pb2, types_pb2
from services.common.call_errors import translated
from services.common.errors import InvalidFieldError, NotFoundError, RejectedError
from tests.support.connector import (
    BUY,
    FOK,
    GTC,
    GTX,
    IOC,
    LIMIT,
    SELL,
    best_prices,
    by_id,
    number,
    order,
    patient_part,
    running_connector,
)
from tests.support.simulator import ACCOUNT, Control, running_simulator

SPOT, PERPETUAL = "binance", "binanceusdm"


@dataclass(frozen=True, slots=True)
class Bench:
    """A connector on its simulator."""

    code: str
    stub: Any
    control: Control


@pytest.fixture(params=[SPOT, PERPETUAL])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Run a simulator and a connector of each kind on it."""
    async with running_simulator() as simulator:
        part = patient_part(request.param, simulator.address, tmp_path)
        async with running_connector(part) as connector:
            yield Bench(request.param, connector.stub, Control(simulator.address))


async def test_market_order_returns_closed_with_fills_fees_and_net(bench: Bench) -> None:
    """A market order comes back filled; the fee of a spot purchase is off the net quantity."""
    placed = await bench.stub.PlaceOrder(order(BUY, "0.01"), timeout=5)
    assert placed.status == types_pb2.ORDER_STATUS_FILLED
    assert number(placed.executed_qty) == Decimal("0.01")
    fills = await bench.control.get("trades")
    paid = sum(Decimal(fill["price"]) * Decimal(fill["quantity"]) for fill in fills)
    assert number(placed.cumulative_quote) == paid
    assert abs(number(placed.avg_price) - paid / Decimal("0.01")) < Decimal("1e-15")
    if bench.code == SPOT:
        assert [(fee.asset, number(fee.amount)) for fee in placed.fees] == [
            ("BTC", Decimal("0.00001"))
        ]
        assert number(placed.net_quantity) == Decimal("0.00999")
    else:
        assert [fee.asset for fee in placed.fees] == ["USDT"]
        assert number(placed.fees[0].amount) == pytest.approx(paid * Decimal("0.0005"))
        assert number(placed.net_quantity) == Decimal("0.01")


async def test_partial_ioc_tells_what_was_executed(bench: Bench) -> None:
    """An IOC that meets half of what it asked ends expired, with the half and its fees."""
    await bench.control.fault({"type": "partial", "ratio": "0.5"}, operation="place_order")
    _, ask = await best_prices(bench.stub)
    placed = await bench.stub.PlaceOrder(
        order(BUY, "0.02", worst_price=str(ask * Decimal("1.01"))), timeout=5
    )
    assert number(placed.executed_qty) == Decimal("0.01")
    assert placed.status in (types_pb2.ORDER_STATUS_EXPIRED, types_pb2.ORDER_STATUS_CANCELED)
    assert placed.fees
    assert number(placed.net_quantity) <= Decimal("0.01")


async def test_zero_fill_is_a_known_zero(bench: Bench) -> None:
    """An IOC that meets nothing comes back at once, executed zero and net zero."""
    await bench.control.fault({"type": "zero_fill"}, operation="place_order")
    _, ask = await best_prices(bench.stub)
    placed = await bench.stub.PlaceOrder(
        order(BUY, "0.02", worst_price=str(ask * Decimal("1.01"))), timeout=5
    )
    assert placed.HasField("executed_qty")
    assert number(placed.executed_qty) == 0
    assert number(placed.net_quantity) == 0
    assert not placed.fees


@pytest.mark.parametrize("side", [BUY, SELL])
async def test_worst_price_goes_out_as_limit_ioc_on_the_safe_side(bench: Bench, side: int) -> None:
    """A bounded market order is a limit IOC whose price is never worse than the bound."""
    bid, ask = await best_prices(bench.stub)
    worst = ask * Decimal("1.01") if side == BUY else bid * Decimal("0.99")
    worst = worst.quantize(Decimal("0.0001")) + Decimal("0.00005")
    placed = await bench.stub.PlaceOrder(
        order(types_pb2.OrderSide.ValueType(side), worst_price=str(worst)), timeout=5
    )
    assert placed.type == types_pb2.ORDER_TYPE_MARKET
    assert not placed.HasField("price")
    sent = (await bench.control.get("requests"))[-1]["parameters"]
    assert (sent["type"], sent["timeInForce"]) == ("LIMIT", "IOC")
    price = Decimal(sent["price"])
    assert (price <= worst) if side == BUY else (price >= worst)
    assert abs(price - worst) <= Decimal("0.1")


async def test_slippage_bound_is_measured_from_the_opposite_side(bench: Bench) -> None:
    """The bound becomes a limit price that far off the best price the order can meet."""
    _, ask = await best_prices(bench.stub)
    await bench.stub.PlaceOrder(order(BUY, slippage_bound_ratio="0.01"), timeout=5)
    sent = (await bench.control.get("requests"))[-1]["parameters"]
    assert sent["timeInForce"] == "IOC"
    assert abs(Decimal(sent["price"]) / ask - Decimal("1.01")) < Decimal("0.005")


async def test_market_order_goes_out_in_base_quantity(bench: Bench) -> None:
    """No order of ours is sent by quote quantity, the trap of a market order with a price."""
    await bench.stub.PlaceOrder(order(BUY, "0.01"), timeout=5)
    sent = (await bench.control.get("requests"))[-1]["parameters"]
    assert Decimal(sent["quantity"]) == Decimal("0.01")
    assert "quoteOrderQty" not in sent


async def test_fill_or_kill_that_cannot_fill_executes_nothing(bench: Bench) -> None:
    """A FOK below the market is refused or expires, and nothing is executed."""
    bid, _ = await best_prices(bench.stub)
    price = (bid * Decimal("0.99")).quantize(Decimal(1))
    wanted = order(BUY, "0.01", type=LIMIT, price=str(price), time_in_force=FOK)
    # USD-M refuses such an order (-5021), spot takes and expires it.
    with contextlib.suppress(RejectedError), translated():
        placed = await bench.stub.PlaceOrder(wanted, timeout=5)
        assert placed.status == types_pb2.ORDER_STATUS_EXPIRED
    assert await bench.control.get("trades") == []


async def test_resting_order_is_listed_got_and_canceled(bench: Bench) -> None:
    """A limit order rests, is found by each of its ids, and its cancel tells the end."""
    bid, _ = await best_prices(bench.stub)
    price = (bid * Decimal("0.98")).quantize(Decimal(1))
    placed = await bench.stub.PlaceOrder(
        order(BUY, "0.01", type=LIMIT, price=str(price), client_order_id="rest1"), timeout=5
    )
    assert placed.status == types_pb2.ORDER_STATUS_NEW
    assert placed.time_in_force == GTC
    listed = await bench.stub.GetOpenOrders(
        exchange_pb2.GetOpenOrdersRequest(symbol="BTCUSDT"), timeout=5
    )
    assert [one.client_order_id for one in listed.orders] == ["rest1"]
    for named in (
        {"client_order_id": "rest1"},
        {"order_id": placed.order_id},
        {"exchange_order_id": placed.exchange_order_id},
    ):
        got = await bench.stub.GetOrder(
            exchange_pb2.GetOrderRequest(symbol="BTCUSDT", **named), timeout=5
        )
        assert got.client_order_id == "rest1"
    canceled = await bench.stub.CancelOrder(
        exchange_pb2.CancelOrderRequest(symbol="BTCUSDT", client_order_id="rest1"), timeout=5
    )
    assert canceled.order.status == types_pb2.ORDER_STATUS_CANCELED
    assert number(canceled.order.executed_qty) == 0
    again = await bench.stub.CancelOrder(
        exchange_pb2.CancelOrderRequest(symbol="BTCUSDT", client_order_id="rest1"), timeout=5
    )
    assert again.order.status == types_pb2.ORDER_STATUS_CANCELED


async def test_post_only_that_would_take_is_refused(bench: Bench) -> None:
    """A post-only order at a taking price is rejected or expires without a fill."""
    _, ask = await best_prices(bench.stub)
    price = (ask * Decimal("1.01")).quantize(Decimal(1))
    wanted = order(BUY, "0.01", type=LIMIT, price=str(price), post_only=True, time_in_force=GTX)
    with contextlib.suppress(RejectedError), translated():
        placed = await bench.stub.PlaceOrder(wanted, timeout=5)
        assert placed.status == types_pb2.ORDER_STATUS_EXPIRED
    assert await bench.control.get("trades") == []


async def test_reduce_only_is_for_perpetuals(bench: Bench) -> None:
    """Spot refuses reduce-only by field; a perpetual closes what is open with it."""
    if bench.code == SPOT:
        with pytest.raises(InvalidFieldError) as refused, translated():
            await bench.stub.PlaceOrder(order(SELL, reduce_only=True), timeout=5)
        assert refused.value.field == "reduce_only"
        return
    await bench.stub.PlaceOrder(order(BUY, "0.01"), timeout=5)
    closed = await bench.stub.PlaceOrder(order(SELL, "0.01", reduce_only=True), timeout=5)
    assert closed.reduce_only
    assert await bench.control.get("positions") == []


async def test_batch_places_the_good_and_names_the_bad(bench: Bench) -> None:
    """One bad order in a batch fails alone, with its index and reason."""
    request = exchange_pb2.BatchPlaceOrdersRequest(
        orders=[
            order(BUY, "0.01", client_order_id="b1"),
            order(BUY, "0.0123456789", client_order_id="b2"),
            order(BUY, "0.02", client_order_id="b3"),
            order(BUY, "0.03", client_order_id="b1"),
        ]
    )
    response = await bench.stub.BatchPlaceOrders(request, timeout=5)
    assert not response.all_success
    assert [one.client_order_id for one in response.orders] == ["b1", "b3"]
    failed, twice = response.errors
    assert (failed.index, failed.client_order_id, failed.reason) == (1, "b2", "FIELD_INVALID")
    assert (twice.index, twice.client_order_id, twice.reason) == (3, "b1", "FIELD_INVALID")
    assert failed.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


async def test_batch_cancel_and_cancel_all_leave_nothing_open(bench: Bench) -> None:
    """Cancels by client id and for a whole symbol reach every live order."""
    bid, _ = await best_prices(bench.stub)
    price = str((bid * Decimal("0.98")).quantize(Decimal(1)))
    for name in ("c1", "c2", "c3"):
        await bench.stub.PlaceOrder(
            order(BUY, "0.01", type=LIMIT, price=price, client_order_id=name), timeout=5
        )
    response = await bench.stub.BatchCancelOrders(
        exchange_pb2.BatchCancelOrdersRequest(
            symbol="BTCUSDT", client_order_ids=["c1", "nobody", "c2"]
        ),
        timeout=5,
    )
    assert [(row.index, row.reason) for row in response.errors] == [(1, "ORDER_NOT_FOUND")]
    await bench.stub.CancelAllOrders(
        exchange_pb2.CancelAllOrdersRequest(symbol="BTCUSDT"), timeout=5
    )
    listed = await bench.stub.GetOpenOrders(exchange_pb2.GetOpenOrdersRequest(), timeout=5)
    assert not listed.orders


async def test_trades_page_through_every_execution(bench: Bench) -> None:
    """Pages of one trade each give every execution once, oldest first."""
    for name in ("p1", "p2", "p3"):
        await bench.stub.PlaceOrder(order(BUY, "0.01", client_order_id=name), timeout=5)
    books = await bench.control.get("trades")
    start = books[0]["time"] - 1000
    seen: list[str] = []
    token = ""
    while True:
        request = exchange_pb2.GetTradesRequest(symbol="BTCUSDT", page_size=1, page_token=token)
        request.start_time.FromMilliseconds(start)
        page = await bench.stub.GetTrades(request, timeout=5)
        seen.extend(trade.trade_id for trade in page.trades)
        token = page.next_page_token
        if not token:
            break
    assert seen == [str(fill["trade_id"]) for fill in books]
    named = await bench.stub.GetTrades(
        exchange_pb2.GetTradesRequest(symbol="BTCUSDT", client_order_id="p2"), timeout=5
    )
    assert {trade.client_order_id for trade in named.trades} == {"p2"}


async def test_unknown_order_is_not_found(bench: Bench) -> None:
    """An id nobody used is NOT_FOUND, not an empty order."""
    with pytest.raises(NotFoundError) as missing, translated():
        await bench.stub.GetOrder(by_id("nobody"), timeout=5)
    assert missing.value.reason == "ORDER_NOT_FOUND"


async def test_refusal_of_the_venue_is_told_with_its_code(bench: Bench) -> None:
    """An order beyond the balance fails with the venue's code, and Get shows it as rejected."""
    poor = {"name": ACCOUNT, "spot": {"USDT": "10"}, "futures": {"USDT": "10"}}
    await bench.control.post("accounts", poor)
    with pytest.raises(RejectedError) as refused, translated():
        await bench.stub.PlaceOrder(order(BUY, "0.5", client_order_id="toobig"), timeout=5)
    assert refused.value.reason == "ORDER_REJECTED"
    assert refused.value.metadata["venueCode"] in ("-2010", "-2019")
    got = await bench.stub.GetOrder(by_id("toobig"), timeout=5)
    assert got.status == types_pb2.ORDER_STATUS_REJECTED
    assert number(got.executed_qty) == 0


async def test_id_that_the_venue_would_refuse_is_kept_for_the_caller(bench: Bench) -> None:
    """A caller's id of another form goes out under a derived one; the caller sees its own."""
    name = "desk #7: a rather long name, with spaces"
    placed = await bench.stub.PlaceOrder(order(BUY, client_order_id=name), timeout=5)
    assert placed.client_order_id == name
    got = await bench.stub.GetOrder(by_id(name), timeout=5)
    assert got.exchange_order_id == placed.exchange_order_id
    sent = (await bench.control.get("requests"))[-1]["client_order_id"]
    assert sent.isalnum()
    assert sent.islower()
    assert len(sent) <= 26


async def test_ioc_limit_is_sent_as_asked(bench: Bench) -> None:
    """A limit IOC of the caller's keeps its price on the wire."""
    _, ask = await best_prices(bench.stub)
    price = (ask * Decimal("1.01")).quantize(Decimal(1))
    placed = await bench.stub.PlaceOrder(
        order(BUY, "0.01", type=LIMIT, price=str(price), time_in_force=IOC), timeout=5
    )
    assert number(placed.price) == price
    assert placed.time_in_force == IOC
    assert placed.status == types_pb2.ORDER_STATUS_FILLED
