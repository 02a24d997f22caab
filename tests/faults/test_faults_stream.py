"""Rows 13, 18, 19 and 22: fills and forced closes as the user stream tells them, or does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import grpc
import pytest

from opensqt.market_maker.v1 import events_pb2, exchange_pb2, types_pb2
from tests.support.connector import GTC, LIMIT, best_prices, eventually
from tests.support.fault_bench import QUANTITY, SYMBOL, Cell, FaultBench, executed_of
from tests.support.simulator import ACCOUNT
from tests.support.venue_bodies import canceled_reply

DERIVATIVES = ("binanceusdm", "okx-swap", "bybit-linear")


async def collect(call: Any, found: list[events_pb2.OrderUpdate]) -> None:
    """Put the updates of a call into a list as they come."""
    while (update := await call.read()) is not grpc.aio.EOF:
        found.append(update)


@asynccontextmanager
async def updates(bench: FaultBench) -> AsyncIterator[list[events_pb2.OrderUpdate]]:
    """Collect the order updates of a subscriber whose snapshot has arrived."""
    found: list[events_pb2.OrderUpdate] = []
    call = bench.stub.SubscribeOrders(exchange_pb2.SubscribeOrdersRequest())

    async def caught_up() -> bool:
        return any(update.caught_up for update in found)

    task = asyncio.create_task(collect(call, found))
    try:
        await eventually(caught_up)
        yield found
    finally:
        call.cancel()
        await asyncio.gather(task, return_exceptions=True)


def filled_in(found: list[events_pb2.OrderUpdate], name: str) -> Decimal:
    """Return the sum of the fills told about an order, each trade counted once."""
    trades = {
        update.last_trade.trade_id: Decimal(update.last_trade.quantity.value)
        for update in found
        if update.client_order_id == name and update.HasField("last_trade")
    }
    return sum(trades.values(), Decimal(0))


@pytest.mark.fault(13, "fill after the cancel was acknowledged")
async def test_row_13(bench: FaultBench, cell: Cell) -> None:
    """The venue says canceled with nothing executed, then fills: the fill counts."""
    bid, _ = await best_prices(bench.stub)
    price = bid.quantize(Decimal(1)) - 1
    await bench.place("late1", type=LIMIT, time_in_force=GTC, price=price)
    reply = canceled_reply(bench.venue, "late1", (await bench.orders())[0], price)
    action = {"type": "http_status", "status": 200, "body": reply, "when": "before"}
    await bench.fault(action, "cancel_order", times=1)
    request = exchange_pb2.CancelOrderRequest(symbol=SYMBOL, client_order_id="late1")
    await bench.stub.CancelOrder(request, timeout=8)

    async def is_filled() -> bool:
        await bench.control.post("clock", {"advance_seconds": 1800})
        return await bench.executed() == QUANTITY

    await eventually(is_filled)

    async def is_counted() -> bool:
        return executed_of(await bench.get("late1")) == QUANTITY

    await eventually(is_counted)
    await cell.settle(bench, orders=1, filled=QUANTITY, arrived=1)


@pytest.mark.fault(18, "events twice, and in the wrong order")
@pytest.mark.parametrize("kind", ["event_duplicate", "event_reorder"])
async def test_row_18(bench: FaultBench, cell: Cell, kind: str) -> None:
    """Executed quantity and trades are as the venue has them."""
    await bench.fault({"type": kind}, "order_event")
    await bench.fault({"type": "drop_after"}, "place_order")
    placed = await bench.place("join1")
    assert executed_of(placed) == QUANTITY
    assert len(placed.trades) == len(await bench.control.get("trades"))
    await cell.settle(bench, orders=1, filled=QUANTITY, arrived=1)


@pytest.mark.fault(19, "user stream cut as the fill is told")
async def test_row_19(bench: FaultBench, cell: Cell) -> None:
    """A subscriber gets the fill after the resume, once."""
    async with updates(bench) as found:
        await bench.fault({"type": "stream_cut"}, "order_event", times=1)
        await bench.fault({"type": "drop_after"}, "place_order", times=1)
        placed = await bench.place("cut1")
        assert executed_of(placed) == QUANTITY

        async def is_told() -> bool:
            return filled_in(found, "cut1") == QUANTITY

        await eventually(is_told, 10)
    await cell.settle(bench, orders=1, filled=QUANTITY, arrived=1)


@pytest.mark.fault(22, "position closed by liquidation", venues=DERIVATIVES)
async def test_row_22(bench: FaultBench, cell: Cell) -> None:
    """The forced fill that nobody here ordered is told as such."""
    await bench.place("long1", 10 * QUANTITY)
    async with updates(bench) as found:
        await bench.control.post("liquidate", {"account": ACCOUNT, "symbol": SYMBOL})

        async def is_told() -> bool:
            wanted = types_pb2.FORCED_FILL_LIQUIDATION
            return any(update.forced_fill == wanted for update in found)

        await eventually(is_told, 10)
    orders = await bench.orders()
    closed = Decimal(orders[-1]["executed"])
    assert closed == 10 * QUANTITY
    cell.enter(len(orders), await bench.executed())
