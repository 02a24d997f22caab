"""Orders of a connector on the Bybit dialect: acknowledged only, closed by stream and by query."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from opensqt.market_maker.v1 import exchange_pb2, types_pb2
from services.common.call_errors import translated
from services.common.errors import OpensqtError, RejectedError
from tests.support.connector import (
    BUY,
    GTC,
    GTX,
    IOC,
    LIMIT,
    SELL,
    by_id,
    connector_part,
    connector_process,
    eventually,
    number,
    order,
    running_connector,
)
from tests.support.simulator import ACCOUNT, Control, running_simulator

SPOT, LINEAR = "bybit-spot", "bybit-linear"
BOTH = pytest.mark.parametrize("code", [SPOT, LINEAR])


@dataclass(frozen=True, slots=True)
class Bench:
    """A connector on its simulator."""

    code: str
    stub: Any
    control: Control
    address: str

    async def price(self) -> Decimal:
        """Return the venue's last price of BTCUSDT in whole dollars."""
        category = self.code.removeprefix("bybit-")
        url = f"http://{self.address}/v5/market/tickers?category={category}&symbol=BTCUSDT"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            row = (await response.json())["result"]["list"][0]
        return Decimal(row["lastPrice"]).quantize(Decimal(1))

    async def executed(self, client_order_id: str) -> list[Decimal]:
        """Return what the venue's books say of the orders under this client id."""
        rows = await self.control.get("orders")
        return [
            Decimal(row["executed"]) for row in rows if row["client_order_id"] == client_order_id
        ]


@pytest.fixture
async def bench(code: str, tmp_path: Path) -> AsyncIterator[Bench]:
    """Run a simulator and a connector on it."""
    async with running_simulator() as simulator:
        part = connector_part(code, simulator.address, tmp_path)
        async with running_connector(part) as connector:
            yield Bench(code, connector.stub, Control(simulator.address), simulator.address)


@BOTH
async def test_a_market_order_is_closed_by_the_stream_with_fills_and_fees(bench: Bench) -> None:
    """The acknowledgement tells nothing: order and executions come by stream, without a query."""
    # Whatever asks by REST fails, so only the stream can have told.
    await bench.control.fault({"type": "http_status", "status": 500}, operation="get_order")
    placed = await bench.stub.PlaceOrder(order(BUY, "0.01", client_order_id="one"), timeout=5)
    assert placed.status == types_pb2.ORDER_STATUS_FILLED
    assert number(placed.executed_qty) == Decimal("0.01")
    assert await bench.executed("one") == [Decimal("0.01")]
    fills = await bench.control.get("trades")
    paid = sum(Decimal(fill["price"]) * Decimal(fill["quantity"]) for fill in fills)
    assert number(placed.cumulative_quote) == paid
    asset, net = ("BTC", "0.00999") if bench.code == SPOT else ("USDT", "0.01")
    assert [fee.asset for fee in placed.fees] == [asset]
    assert number(placed.net_quantity) == Decimal(net)
    sent = (await bench.control.get("requests"))[0]["parameters"]
    assert sent["qty"] == "0.01"
    assert sent.get("marketUnit") == ("baseCoin" if bench.code == SPOT else None)
    assert "isLeverage" not in sent
    assert sent.get("positionIdx") == (None if bench.code == SPOT else "0")


@BOTH
async def test_a_silent_stream_leaves_the_order_to_queries(bench: Bench) -> None:
    """With every event held back the order is closed by query and its fills by the executions."""
    await bench.control.fault({"type": "event_late", "seconds": 60}, operation="order_event")
    placed = await bench.stub.PlaceOrder(order(SELL, "0.02", client_order_id="quiet"), timeout=8)
    assert placed.status == types_pb2.ORDER_STATUS_FILLED
    assert number(placed.executed_qty) == Decimal("0.02")
    assert len(placed.fees) == 1
    assert len(await bench.control.get("requests")) == 1


@BOTH
async def test_a_bounded_order_that_meets_half_tells_the_half(bench: Bench) -> None:
    """An IOC with a bound ends cancelled, with what was executed and its fees."""
    await bench.control.fault({"type": "partial", "ratio": "0.5"}, operation="place_order")
    placed = await bench.stub.PlaceOrder(
        order(BUY, "0.02", slippage_bound_ratio="0.01", client_order_id="half"), timeout=5
    )
    assert placed.status == types_pb2.ORDER_STATUS_CANCELED
    assert number(placed.executed_qty) == Decimal("0.01")
    assert await bench.executed("half") == [Decimal("0.01")]
    sent = (await bench.control.get("requests"))[0]["parameters"]
    assert (sent["orderType"], sent["timeInForce"]) == ("Limit", "IOC")


@BOTH
async def test_a_lost_reply_is_found_by_client_id_and_sent_once(bench: Bench) -> None:
    """The connection breaks after the venue has acted: one order there, and its fill is told."""
    await bench.control.fault({"type": "drop_after"}, operation="place_order")
    placed = await bench.stub.PlaceOrder(order(BUY, "0.01", client_order_id="lost"), timeout=8)
    assert number(placed.executed_qty) == Decimal("0.01")
    assert await bench.executed("lost") == [Decimal("0.01")]


@BOTH
async def test_an_order_that_never_arrived_is_proven_so_after_the_fence(bench: Bench) -> None:
    """The request is dropped on the way: an error that says so, and no order at the venue."""
    await bench.control.fault({"type": "drop_before"}, operation="place_order")
    with pytest.raises(OpensqtError) as caught, translated():
        await bench.stub.PlaceOrder(order(BUY, "0.01", client_order_id="never"), timeout=8)
    assert caught.value.reason == "ORDER_NOT_ARRIVED"
    assert await bench.control.get("orders") == []


@BOTH
async def test_refusals_carry_the_venues_code(bench: Bench) -> None:
    """Too little money is a definite refusal with HTTP 200 and the venue's own code."""
    poor = {"name": ACCOUNT, "spot": {"USDT": "1"}, "futures": {"USDT": "1"}}
    await bench.control.post("accounts", poor)
    with pytest.raises(RejectedError) as caught, translated():
        await bench.stub.PlaceOrder(order(BUY, "0.01", client_order_id="poor"), timeout=5)
    wanted = "170131" if bench.code == SPOT else "110007"
    assert caught.value.reason == "ORDER_REJECTED"
    assert caught.value.metadata["venueCode"] == wanted
    assert await bench.control.get("orders") == []


@BOTH
async def test_a_resting_order_is_answered_open_and_cancelled_once(bench: Bench) -> None:
    """A limit order rests, is found by client id, and its cancel ends with nothing executed."""
    price = (await bench.price()) * 9 // 10
    fields = {"type": LIMIT, "time_in_force": GTC, "price": str(price)}
    placed = await bench.stub.PlaceOrder(
        order(BUY, "0.01", client_order_id="rest", **fields), timeout=5
    )
    assert placed.status == types_pb2.ORDER_STATUS_NEW
    found = await bench.stub.GetOrder(by_id("rest"), timeout=5)
    assert found.exchange_order_id == placed.exchange_order_id
    request = exchange_pb2.CancelOrderRequest(symbol="BTCUSDT", client_order_id="rest")
    await bench.stub.CancelOrder(request, timeout=5)

    async def is_cancelled() -> bool:
        row = await bench.stub.GetOrder(by_id("rest"), timeout=5)
        return bool(row.status == types_pb2.ORDER_STATUS_CANCELED)

    await eventually(is_cancelled)
    assert await bench.executed("rest") == [Decimal(0)]


@BOTH
async def test_a_cancel_that_comes_too_late_tells_the_fill(bench: Bench) -> None:
    """The order filled before the cancel: the venue says it is gone, the answer says filled."""
    await bench.stub.PlaceOrder(order(BUY, "0.01", client_order_id="gone"), timeout=5)
    request = exchange_pb2.CancelOrderRequest(symbol="BTCUSDT", client_order_id="gone")
    await bench.stub.CancelOrder(request, timeout=5)
    row = await bench.stub.GetOrder(by_id("gone"), timeout=5)
    assert row.status == types_pb2.ORDER_STATUS_FILLED
    assert number(row.executed_qty) == Decimal("0.01")


@BOTH
async def test_post_only_that_would_take_ends_cancelled_with_nothing(bench: Bench) -> None:
    """The venue acknowledges it and cancels it after; nothing is executed."""
    price = (await bench.price()) * 11 // 10
    placed = await bench.stub.PlaceOrder(
        order(
            BUY, "0.01", type=LIMIT, time_in_force=GTX, price=str(price), client_order_id="maker"
        ),
        timeout=5,
    )
    assert placed.status in (types_pb2.ORDER_STATUS_CANCELED, types_pb2.ORDER_STATUS_NEW)
    row = await bench.stub.GetOrder(by_id("maker"), timeout=5)
    assert row.status == types_pb2.ORDER_STATUS_CANCELED
    assert number(row.executed_qty) == 0


@pytest.mark.parametrize("code", [LINEAR])
async def test_reduce_only_closes_a_position_and_never_opens_one(bench: Bench) -> None:
    """It goes out marked; without a position the venue refuses with 110017."""
    await bench.stub.PlaceOrder(order(BUY, "0.02", client_order_id="in"), timeout=5)
    out = order(SELL, "0.02", client_order_id="out", reduce_only=True)
    placed = await bench.stub.PlaceOrder(out, timeout=5)
    assert number(placed.executed_qty) == Decimal("0.02")
    assert await bench.control.get("positions") == []
    again = order(SELL, "0.02", client_order_id="again", reduce_only=True)
    with pytest.raises(RejectedError) as caught, translated():
        await bench.stub.PlaceOrder(again, timeout=5)
    assert caught.value.metadata["venueCode"] == "110017"


@pytest.mark.parametrize("code", [LINEAR])
@pytest.mark.parametrize("silent", [False, True])
async def test_reduce_only_of_more_than_the_position_does_what_there_was(
    bench: Bench, *, silent: bool
) -> None:
    """The venue cuts the order to the position; it is still ours, by stream and by query."""
    await bench.stub.PlaceOrder(order(BUY, "0.02", client_order_id="in"), timeout=5)
    if silent:
        await bench.control.fault({"type": "event_late", "seconds": 60}, operation="order_event")
    out = order(SELL, "0.05", client_order_id="out", reduce_only=True)
    placed = await bench.stub.PlaceOrder(out, timeout=8)
    assert number(placed.executed_qty) == Decimal("0.02")
    assert await bench.executed("out") == [Decimal("0.02")]
    assert await bench.control.get("positions") == []


@pytest.mark.parametrize("code", [LINEAR])
async def test_a_killed_connector_leaves_its_order_to_the_next_one(
    code: str, tmp_path: Path
) -> None:
    """Killed with an acknowledged order in its ledger: the next start tells what it executed."""
    async with running_simulator() as simulator:
        control = Control(simulator.address)
        part = connector_part(code, simulator.address, tmp_path)
        await control.fault({"type": "delay", "seconds": 30, "when": "after"}, method="POST")
        async with connector_process(part, tmp_path) as connector:
            request = order(BUY, "0.01", client_order_id="killed", time_in_force=IOC)
            call = connector.stub.PlaceOrder(request)

            async def is_there() -> bool:
                return bool(await control.get("orders"))

            await eventually(is_there)
            assert connector.process is not None
            connector.process.kill()
            await connector.process.wait()
            await call.code()
        await control.delete("faults")
        async with running_connector(part) as successor:

            async def is_told() -> bool:
                row = await successor.stub.GetOrder(by_id("killed"), timeout=5)
                return bool(row.status == types_pb2.ORDER_STATUS_FILLED and row.fees)

            await eventually(is_told)
        assert len(await control.get("requests")) == 1
