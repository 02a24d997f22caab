"""Orders of a connector on the OKX dialect: acknowledged only, contracts in, base units out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from opensqt.market_maker.v1 import exchange_pb2, types_pb2
from services.common.call_errors import translated
from services.common.errors import OpensqtError, RejectedError
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
    connector_part,
    connector_process,
    eventually,
    number,
    order,
    running_connector,
)
from tests.support.simulator import ACCOUNT, Control, running_simulator

SPOT, SWAP = "okx-spot", "okx-swap"
BOTH = pytest.mark.parametrize("code", [SPOT, SWAP])


@dataclass(frozen=True, slots=True)
class Bench:
    """A connector on its simulator."""

    code: str
    stub: Any
    control: Control

    async def executed(self, client_order_id: str) -> list[Decimal]:
        """Return what the venue's books say of the orders under this client id, in the base."""
        rows = await self.control.get("orders")
        return [
            Decimal(row["executed"]) for row in rows if row["client_order_id"] == client_order_id
        ]

    async def sent(self) -> dict[str, str]:
        """Return the parameters of the last order request that arrived."""
        parameters: dict[str, str] = (await self.control.get("requests"))[-1]["parameters"]
        return parameters


@pytest.fixture
async def bench(code: str, tmp_path: Path) -> AsyncIterator[Bench]:
    """Run a simulator and a connector on it."""
    async with running_simulator() as simulator:
        part = connector_part(code, simulator.address, tmp_path)
        async with running_connector(part) as connector:
            yield Bench(code, connector.stub, Control(simulator.address))


@BOTH
async def test_a_market_order_is_closed_by_the_stream_in_base_units(bench: Bench) -> None:
    """The acknowledgement tells nothing: the stream closes it, with fill and fee, unasked."""
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
    sent = await bench.sent()
    assert "tag" not in sent
    assert sent["clOrdId"] == "one"
    assert int(sent["expTime"]) > 0
    # A hundredth of a coin is one contract.
    swap = ("optimal_limit_ioc", "cross", "1")
    kind, mode, size = ("market", "cash", "0.01") if bench.code == SPOT else swap
    assert (sent["ordType"], sent["tdMode"], sent["sz"]) == (kind, mode, size)
    assert sent.get("tgtCcy") == ("base_ccy" if bench.code == SPOT else None)
    assert sent.get("posSide") == (None if bench.code == SPOT else "net")


@BOTH
async def test_a_silent_stream_leaves_the_order_to_queries(bench: Bench) -> None:
    """With every event held back the order is closed by query, fee and all."""
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
    assert placed.fees
    assert (await bench.sent())["ordType"] == "ioc"


@pytest.mark.parametrize("code", [SWAP])
async def test_fill_or_kill_that_cannot_fill_ends_with_nothing(bench: Bench) -> None:
    """The venue acknowledges it and cancels it; zero is known, not guessed."""
    await bench.control.fault({"type": "partial", "ratio": "0.5"}, operation="place_order")
    _, ask = await best_prices(bench.stub)
    fields = {"type": LIMIT, "time_in_force": FOK, "price": str(ask + 5)}
    placed = await bench.stub.PlaceOrder(
        order(BUY, "0.02", client_order_id="kill", **fields), timeout=5
    )
    assert placed.status == types_pb2.ORDER_STATUS_CANCELED
    assert number(placed.executed_qty) == 0
    assert await bench.executed("kill") == [Decimal(0)]


@BOTH
async def test_a_lost_reply_is_found_by_client_id_and_sent_once(bench: Bench) -> None:
    """The connection breaks after the venue has acted: one order there, and its fill is told."""
    await bench.control.fault({"type": "drop_after"}, operation="place_order")
    placed = await bench.stub.PlaceOrder(order(BUY, "0.01", client_order_id="lost"), timeout=8)
    assert number(placed.executed_qty) == Decimal("0.01")
    assert await bench.executed("lost") == [Decimal("0.01")]


@pytest.mark.parametrize("code", [SWAP])
async def test_an_order_that_never_arrived_is_proven_so_after_the_fence(bench: Bench) -> None:
    """The request is dropped on the way: an error that says so, and no order at the venue."""
    await bench.control.fault({"type": "drop_before"}, operation="place_order")
    with pytest.raises(OpensqtError) as caught, translated():
        await bench.stub.PlaceOrder(order(BUY, "0.01", client_order_id="never"), timeout=8)
    assert caught.value.reason == "ORDER_NOT_ARRIVED"
    assert await bench.control.get("orders") == []


@pytest.mark.parametrize("code", [SWAP])
async def test_a_request_held_up_past_its_expiry_is_refused_by_the_venue(bench: Bench) -> None:
    """Held up for longer than it is valid: not executed, and said so, with no order there."""
    await bench.control.fault(
        {"type": "delay", "seconds": 1.2, "when": "before"}, operation="place_order"
    )
    with pytest.raises(OpensqtError) as caught, translated():
        await bench.stub.PlaceOrder(order(BUY, "0.01", client_order_id="stale"), timeout=8)
    assert caught.value.metadata["venueCode"] == "50036"
    assert await bench.control.get("orders") == []


@BOTH
async def test_refusals_carry_the_code_of_the_row(bench: Bench) -> None:
    """Too little money is a definite refusal, with HTTP 200 and the code of the order's row."""
    poor = {"name": ACCOUNT, "spot": {"USDT": "1"}, "futures": {"USDT": "1"}}
    await bench.control.post("accounts", poor)
    with pytest.raises(RejectedError) as caught, translated():
        await bench.stub.PlaceOrder(order(BUY, "0.01", client_order_id="poor"), timeout=5)
    assert caught.value.reason == "ORDER_REJECTED"
    assert caught.value.metadata == {"httpStatus": "200", "venueCode": "51008"}
    assert await bench.control.get("orders") == []


@BOTH
async def test_a_resting_order_is_answered_open_and_cancelled_once(bench: Bench) -> None:
    """A limit order rests, is found by client id, and its cancel ends with nothing executed."""
    bid, _ = await best_prices(bench.stub)
    fields = {"type": LIMIT, "time_in_force": GTC, "price": str(bid - 100)}
    placed = await bench.stub.PlaceOrder(
        order(BUY, "0.01", client_order_id="rest", **fields), timeout=5
    )
    assert placed.status == types_pb2.ORDER_STATUS_NEW
    found = await bench.stub.GetOrder(by_id("rest"), timeout=5)
    assert found.exchange_order_id == placed.exchange_order_id
    assert number(found.quantity) == Decimal("0.01")
    request = exchange_pb2.CancelOrderRequest(symbol="BTCUSDT", client_order_id="rest")
    await bench.stub.CancelOrder(request, timeout=5)

    async def is_cancelled() -> bool:
        row = await bench.stub.GetOrder(by_id("rest"), timeout=5)
        return bool(row.status == types_pb2.ORDER_STATUS_CANCELED)

    await eventually(is_cancelled)
    assert await bench.executed("rest") == [Decimal(0)]


@pytest.mark.parametrize("code", [SWAP])
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
    _, ask = await best_prices(bench.stub)
    fields = {"type": LIMIT, "time_in_force": GTX, "price": str(ask + 5)}
    await bench.stub.PlaceOrder(order(BUY, "0.01", client_order_id="maker", **fields), timeout=5)
    row = await bench.stub.GetOrder(by_id("maker"), timeout=5)
    assert row.status == types_pb2.ORDER_STATUS_CANCELED
    assert number(row.executed_qty) == 0
    assert (await bench.sent())["ordType"] == "post_only"


@pytest.mark.parametrize("code", [SWAP])
async def test_reduce_only_closes_a_position_and_never_opens_one(bench: Bench) -> None:
    """It goes out marked; without a position the venue refuses with 51169."""
    await bench.stub.PlaceOrder(order(BUY, "0.02", client_order_id="in"), timeout=5)
    out = order(SELL, "0.02", client_order_id="out", reduce_only=True)
    placed = await bench.stub.PlaceOrder(out, timeout=5)
    assert number(placed.executed_qty) == Decimal("0.02")
    assert (await bench.sent())["reduceOnly"] == "true"
    assert await bench.control.get("positions") == []
    again = order(SELL, "0.02", client_order_id="again", reduce_only=True)
    with pytest.raises(RejectedError) as caught, translated():
        await bench.stub.PlaceOrder(again, timeout=5)
    assert caught.value.metadata["venueCode"] == "51169"


@pytest.mark.parametrize("code", [SWAP])
async def test_all_live_orders_of_a_symbol_are_cancelled_and_trades_listed(bench: Bench) -> None:
    """Three rest, none does after; what was executed before is listed in base units."""
    await bench.stub.PlaceOrder(order(BUY, "0.03", client_order_id="t1"), timeout=5)
    bid, _ = await best_prices(bench.stub)
    for step in range(3):
        fields = {"type": LIMIT, "time_in_force": GTC, "price": str(bid - 100 - step)}
        await bench.stub.PlaceOrder(
            order(BUY, "0.01", client_order_id=f"r{step}", **fields), timeout=5
        )
    asked = exchange_pb2.GetOpenOrdersRequest(symbol="BTCUSDT")
    assert len((await bench.stub.GetOpenOrders(asked, timeout=5)).orders) == 3
    await bench.stub.CancelAllOrders(
        exchange_pb2.CancelAllOrdersRequest(symbol="BTCUSDT"), timeout=5
    )
    assert len((await bench.stub.GetOpenOrders(asked, timeout=5)).orders) == 0
    trades = await bench.stub.GetTrades(exchange_pb2.GetTradesRequest(symbol="BTCUSDT"), timeout=5)
    assert sum(number(trade.quantity) for trade in trades.trades) == Decimal("0.03")


@pytest.mark.parametrize("code", [SWAP])
@pytest.mark.parametrize(
    ("action", "told"),
    [
        ("liquidate", types_pb2.FORCED_FILL_LIQUIDATION),
        ("adl", types_pb2.FORCED_FILL_AUTO_DELEVERAGING),
    ],
)
async def test_a_forced_fill_is_told_as_such_in_base_units(
    bench: Bench, action: str, told: types_pb2.ForcedFill.ValueType
) -> None:
    """A close that nobody here ordered is on the stream, marked, with its quantity."""
    await bench.stub.PlaceOrder(order(BUY, "0.03"), timeout=5)
    call = bench.stub.SubscribeOrders(exchange_pb2.SubscribeOrdersRequest())
    async with asyncio.timeout(5):
        async for update in call:
            if update.caught_up:
                await bench.control.post(action, {"account": ACCOUNT, "symbol": "BTCUSDT"})
            if update.forced_fill and number(update.executed_qty) > 0:
                break
    call.cancel()
    assert (update.forced_fill, update.side) == (told, SELL)
    assert number(update.executed_qty) == Decimal("0.03")


@pytest.mark.parametrize("code", [SWAP])
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
