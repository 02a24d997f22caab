"""Orders on the OKX and Bybit dialects: acknowledged only, closed by stream and by query."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
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
    LIMIT,
    SELL,
    best_prices,
    by_id,
    connector_part,
    eventually,
    number,
    order,
    running_connector,
)
from tests.support.simulator import ACCOUNT, Control, running_simulator

OKX_SPOT, OKX_SWAP = "okx-spot", "okx-swap"
BYBIT_SPOT, BYBIT_LINEAR = "bybit-spot", "bybit-linear"
SPOT = (OKX_SPOT, BYBIT_SPOT)
EVERY = pytest.mark.parametrize("code", [OKX_SPOT, OKX_SWAP, BYBIT_SPOT, BYBIT_LINEAR])
# Both families and both products, where the code of one does not depend on the other.
CROSSWISE = pytest.mark.parametrize("code", [OKX_SWAP, BYBIT_SPOT])
PERPETUAL = pytest.mark.parametrize("code", [OKX_SWAP, BYBIT_LINEAR])
ONLY_OKX = pytest.mark.parametrize("code", [OKX_SWAP])
ONLY_BYBIT = pytest.mark.parametrize("code", [BYBIT_LINEAR])

Words = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a venue calls things: parameters sent (None: not sent) and codes of refusals."""

    market: Words
    bounded: Words
    post_only: Words
    no_money: str
    no_position: str = ""


_OKX_SPOT_MARKET: Words = {
    "clOrdId": "one",
    "ordType": "market",
    "tdMode": "cash",
    "sz": "0.01",
    "tgtCcy": "base_ccy",
    "posSide": None,
    "tag": None,
}
# A hundredth of a coin is one contract.
_OKX_SWAP_MARKET: Words = {
    **_OKX_SPOT_MARKET,
    "ordType": "optimal_limit_ioc",
    "tdMode": "cross",
    "sz": "1",
    "tgtCcy": None,
    "posSide": "net",
}
_OKX_OTHERS: tuple[Words, Words] = ({"ordType": "ioc"}, {"ordType": "post_only"})
_BYBIT_OTHERS: tuple[Words, Words] = (
    {"orderType": "Limit", "timeInForce": "IOC"},
    {"orderType": "Limit", "timeInForce": "PostOnly"},
)
_BYBIT_MARKET: Words = {"orderLinkId": "one", "qty": "0.01", "isLeverage": None}

DIALECTS: Mapping[str, Dialect] = {
    OKX_SPOT: Dialect(_OKX_SPOT_MARKET, *_OKX_OTHERS, no_money="51008"),
    OKX_SWAP: Dialect(_OKX_SWAP_MARKET, *_OKX_OTHERS, no_money="51008", no_position="51169"),
    BYBIT_SPOT: Dialect(
        {**_BYBIT_MARKET, "marketUnit": "baseCoin", "positionIdx": None},
        *_BYBIT_OTHERS,
        no_money="170131",
    ),
    BYBIT_LINEAR: Dialect(
        {**_BYBIT_MARKET, "marketUnit": None, "positionIdx": "0"},
        *_BYBIT_OTHERS,
        no_money="110007",
        no_position="110017",
    ),
}


@dataclass(frozen=True, slots=True)
class Bench:
    """A connector on its simulator."""

    code: str
    stub: Any
    control: Control

    @property
    def dialect(self) -> Dialect:
        """The venue's words."""
        return DIALECTS[self.code]

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

    async def assert_sent(self, words: Words) -> None:
        """Check the parameters of the last order request that arrived."""
        sent = await self.sent()
        assert {name: sent.get(name) for name in words} == words


@pytest.fixture
async def bench(code: str, tmp_path: Path) -> AsyncIterator[Bench]:
    """Run a simulator and a connector on it."""
    async with running_simulator() as simulator:
        part = connector_part(code, simulator.address, tmp_path)
        async with running_connector(part) as connector:
            yield Bench(code, connector.stub, Control(simulator.address))


@EVERY
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
    asset, net = ("BTC", "0.00999") if bench.code in SPOT else ("USDT", "0.01")
    assert [fee.asset for fee in placed.fees] == [asset]
    assert number(placed.net_quantity) == Decimal(net)
    await bench.assert_sent(bench.dialect.market)


@EVERY
async def test_a_silent_stream_leaves_the_order_to_queries(bench: Bench) -> None:
    """With every event held back the order is closed by query, fills and fee by theirs."""
    await bench.control.fault({"type": "event_late", "seconds": 60}, operation="order_event")
    placed = await bench.stub.PlaceOrder(order(SELL, "0.02", client_order_id="quiet"), timeout=8)
    assert placed.status == types_pb2.ORDER_STATUS_FILLED
    assert number(placed.executed_qty) == Decimal("0.02")
    assert len(placed.fees) == 1
    assert len(await bench.control.get("requests")) == 1


@CROSSWISE
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
    await bench.assert_sent(bench.dialect.bounded)


@ONLY_OKX
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


@CROSSWISE
async def test_a_lost_reply_is_found_by_client_id_and_sent_once(bench: Bench) -> None:
    """The connection breaks after the venue has acted: one order there, and its fill is told."""
    await bench.control.fault({"type": "drop_after"}, operation="place_order")
    placed = await bench.stub.PlaceOrder(order(BUY, "0.01", client_order_id="lost"), timeout=8)
    assert number(placed.executed_qty) == Decimal("0.01")
    assert await bench.executed("lost") == [Decimal("0.01")]


@CROSSWISE
async def test_an_order_that_never_arrived_is_proven_so_after_the_fence(bench: Bench) -> None:
    """The request is dropped on the way: an error that says so, and no order at the venue."""
    await bench.control.fault({"type": "drop_before"}, operation="place_order")
    with pytest.raises(OpensqtError) as caught, translated():
        await bench.stub.PlaceOrder(order(BUY, "0.01", client_order_id="never"), timeout=8)
    assert caught.value.reason == "ORDER_NOT_ARRIVED"
    assert await bench.control.get("orders") == []


@ONLY_OKX
async def test_a_request_held_up_past_its_expiry_is_refused_by_the_venue(bench: Bench) -> None:
    """Held up for longer than it is valid: not executed, and said so, with no order there."""
    await bench.control.fault(
        {"type": "delay", "seconds": 1.2, "when": "before"}, operation="place_order"
    )
    with pytest.raises(OpensqtError) as caught, translated():
        await bench.stub.PlaceOrder(order(BUY, "0.01", client_order_id="stale"), timeout=8)
    assert caught.value.metadata["venueCode"] == "50036"
    assert int((await bench.sent())["expTime"]) > 0
    assert await bench.control.get("orders") == []


@EVERY
async def test_refusals_carry_the_venues_code(bench: Bench) -> None:
    """Too little money is a definite refusal with HTTP 200 and the venue's own code."""
    poor = {"name": ACCOUNT, "spot": {"USDT": "1"}, "futures": {"USDT": "1"}}
    await bench.control.post("accounts", poor)
    with pytest.raises(RejectedError) as caught, translated():
        await bench.stub.PlaceOrder(order(BUY, "0.01", client_order_id="poor"), timeout=5)
    assert caught.value.reason == "ORDER_REJECTED"
    assert caught.value.metadata == {"httpStatus": "200", "venueCode": bench.dialect.no_money}
    assert await bench.control.get("orders") == []


@EVERY
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


@CROSSWISE
async def test_a_cancel_that_comes_too_late_tells_the_fill(bench: Bench) -> None:
    """The order filled before the cancel: the venue says it is gone, the answer says filled."""
    await bench.stub.PlaceOrder(order(BUY, "0.01", client_order_id="gone"), timeout=5)
    request = exchange_pb2.CancelOrderRequest(symbol="BTCUSDT", client_order_id="gone")
    await bench.stub.CancelOrder(request, timeout=5)
    row = await bench.stub.GetOrder(by_id("gone"), timeout=5)
    assert row.status == types_pb2.ORDER_STATUS_FILLED
    assert number(row.executed_qty) == Decimal("0.01")


@EVERY
async def test_post_only_that_would_take_ends_cancelled_with_nothing(bench: Bench) -> None:
    """The venue acknowledges it and cancels it after; nothing is executed."""
    _, ask = await best_prices(bench.stub)
    fields = {"type": LIMIT, "time_in_force": GTX, "price": str(ask + 5)}
    placed = await bench.stub.PlaceOrder(
        order(BUY, "0.01", client_order_id="maker", **fields), timeout=5
    )
    assert placed.status in (types_pb2.ORDER_STATUS_CANCELED, types_pb2.ORDER_STATUS_NEW)
    row = await bench.stub.GetOrder(by_id("maker"), timeout=5)
    assert row.status == types_pb2.ORDER_STATUS_CANCELED
    assert number(row.executed_qty) == 0
    await bench.assert_sent(bench.dialect.post_only)


@PERPETUAL
async def test_reduce_only_closes_a_position_and_never_opens_one(bench: Bench) -> None:
    """It goes out marked; without a position the venue refuses with a code of its own."""
    await bench.stub.PlaceOrder(order(BUY, "0.02", client_order_id="in"), timeout=5)
    out = order(SELL, "0.02", client_order_id="out", reduce_only=True)
    placed = await bench.stub.PlaceOrder(out, timeout=5)
    assert number(placed.executed_qty) == Decimal("0.02")
    await bench.assert_sent({"reduceOnly": "true"})
    assert await bench.control.get("positions") == []
    again = order(SELL, "0.02", client_order_id="again", reduce_only=True)
    with pytest.raises(RejectedError) as caught, translated():
        await bench.stub.PlaceOrder(again, timeout=5)
    assert caught.value.metadata["venueCode"] == bench.dialect.no_position


@ONLY_BYBIT
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


@ONLY_OKX
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


@ONLY_OKX
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
    async with asyncio.timeout(60):
        async for update in call:
            if update.caught_up:
                await bench.control.post(action, {"account": ACCOUNT, "symbol": "BTCUSDT"})
            if update.forced_fill and number(update.executed_qty) > 0:
                break
    call.cancel()
    assert (update.forced_fill, update.side) == (told, SELL)
    assert number(update.executed_qty) == Decimal("0.03")
