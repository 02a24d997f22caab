"""Rows 9 to 18, 20, 21, 23 and 24: what an order became, and what only looks like it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from opensqt.market_maker.v1 import exchange_pb2, types_pb2
from services.common.call_errors import translated
from services.common.errors import (
    AlreadyExistsError,
    OpensqtError,
    RejectedError,
    RetryableError,
)
from tests.support.connector import GTC, IOC, LIMIT, best_prices, eventually
from tests.support.fault_bench import QUANTITY, SYMBOL, Cell, FaultBench, executed_of

DERIVATIVES = ("binanceusdm", "okx-swap", "bybit-linear")


async def resting_price(bench: FaultBench) -> Decimal:
    """Return a price at which an order to buy rests: a tenth below the best bid, in whole units."""
    bid, _ = await best_prices(bench.stub)
    return (bid * Decimal("0.9")).quantize(Decimal(1))


async def rest(bench: FaultBench, name: str, price: Decimal) -> Any:
    """Place a limit order that rests."""
    return await bench.place(name, type=LIMIT, time_in_force=GTC, price=price)


async def cancel(bench: FaultBench, name: str) -> Any:
    """Cancel by client order id; return the order as the answer has it."""
    request = exchange_pb2.CancelOrderRequest(symbol=SYMBOL, client_order_id=name)
    with translated():
        return (await bench.stub.CancelOrder(request, timeout=8)).order


@pytest.mark.fault(9, "definite refusal")
async def test_row_9(bench: FaultBench, cell: Cell) -> None:
    """Told at once with the venue's code, kept, and never sent again."""
    code, words = bench.words.refusal
    status = 400 if bench.venue.startswith("binance") else 200
    action = {"type": "reject", "code": code, "msg": words, "status": status}
    await bench.fault(action, "place_order", times=1)
    for _ in range(2):
        with pytest.raises(RejectedError) as refused:
            await bench.place("no1")
        assert refused.value.metadata["venueCode"] == str(code)
    await cell.settle(bench, orders=0, filled=0, arrived=1)


@pytest.mark.fault(10, "partial fill, the rest expires")
async def test_row_10(bench: FaultBench, cell: Cell) -> None:
    """Executed is what was filled, whatever word the order ended with."""
    await bench.fault({"type": "partial", "ratio": "0.4"}, "place_order")
    _, ask = await best_prices(bench.stub)
    bound = (ask * Decimal("1.05")).quantize(Decimal(1))
    placed = await bench.place("part1", 10 * QUANTITY, type=LIMIT, time_in_force=IOC, price=bound)
    filled = await bench.executed()
    assert executed_of(placed) == filled
    assert 0 < filled < 10 * QUANTITY
    assert placed.status not in (types_pb2.ORDER_STATUS_NEW, types_pb2.ORDER_STATUS_FILLED)
    await cell.settle(bench, orders=1, filled=4 * QUANTITY, arrived=1)


@pytest.mark.fault(11, "zero fill, IOC expires")
async def test_row_11(bench: FaultBench, cell: Cell) -> None:
    """Nothing executed, nothing paid, and closed."""
    await bench.fault({"type": "zero_fill"}, "place_order")
    _, ask = await best_prices(bench.stub)
    bound = (ask * Decimal("1.05")).quantize(Decimal(1))
    placed = await bench.place("none1", type=LIMIT, time_in_force=IOC, price=bound)
    assert executed_of(placed) == 0
    assert not placed.fees
    assert placed.status in (types_pb2.ORDER_STATUS_EXPIRED, types_pb2.ORDER_STATUS_CANCELED)
    await cell.settle(bench, orders=1, filled=0, arrived=1)


@pytest.mark.fault(12, "accepted unfilled, canceled later")
async def test_row_12(bench: FaultBench, cell: Cell) -> None:
    """A resting order is open, not a zero fill; canceled it is closed with nothing executed."""
    placed = await rest(bench, "rest1", await resting_price(bench))
    assert placed.status == types_pb2.ORDER_STATUS_NEW
    assert executed_of(placed) == 0
    ended = await cancel(bench, "rest1")
    assert ended.status == types_pb2.ORDER_STATUS_CANCELED
    await cell.settle(bench, orders=1, filled=0, arrived=1)


@pytest.mark.fault(14, "cancel of an order that has filled")
async def test_row_14(bench: FaultBench, cell: Cell) -> None:
    """The answer is the fill, not an error."""
    await bench.silence_events()
    await bench.place("done1")
    ended = await cancel(bench, "done1")
    assert executed_of(ended) == QUANTITY
    assert ended.status == types_pb2.ORDER_STATUS_FILLED
    await cell.settle(bench, orders=1, filled=QUANTITY, arrived=1)


@pytest.mark.fault(14, "cancel of an order nobody has")
async def test_row_14_unknown(bench: FaultBench, cell: Cell) -> None:
    """Told as such."""
    with pytest.raises(OpensqtError) as missing:
        await cancel(bench, "never1")
    assert missing.value.reason == "ORDER_NOT_FOUND"
    await cell.settle(bench, orders=0, filled=0, arrived=0)


@pytest.mark.fault(15, "same id again while the first is in flight")
async def test_row_15(bench: FaultBench, cell: Cell) -> None:
    """Ten calls with one id are one order, and all of them get its fill."""
    await bench.fault({"type": "delay", "seconds": 0.2, "when": "after"}, "place_order")
    placed = await asyncio.gather(*(bench.place("many1") for _ in range(10)))
    assert {one.exchange_order_id for one in placed} == {placed[0].exchange_order_id}
    assert {executed_of(one) for one in placed} == {QUANTITY}
    await cell.settle(bench, orders=1, filled=QUANTITY, arrived=1)


@pytest.mark.fault(16, "same id again after the first has filled")
async def test_row_16(bench: FaultBench, cell: Cell) -> None:
    """The first order's state is returned, and nothing reaches the venue."""
    first = await bench.place("twice1")
    assert await bench.place("twice1") == first
    await cell.settle(bench, orders=1, filled=QUANTITY, arrived=1)


@pytest.mark.fault(17, "same id, other content")
async def test_row_17(bench: FaultBench, cell: Cell) -> None:
    """ALREADY_EXISTS, in flight and after, and nothing reaches the venue."""
    await bench.fault({"type": "delay", "seconds": 0.3, "when": "after"}, "place_order")
    first = asyncio.create_task(bench.place("used1"))
    await eventually(bench.has_struck)
    for _ in range(2):
        with pytest.raises(AlreadyExistsError) as taken:
            await bench.place("used1", 2 * QUANTITY)
        assert taken.value.reason == "CLIENT_ORDER_ID_EXISTS"
        assert executed_of(await first) == QUANTITY
    await cell.settle(bench, orders=1, filled=QUANTITY, arrived=1)


@pytest.mark.fault(20, "trade rows not readable while the order says filled")
async def test_row_20(bench: FaultBench, cell: Cell) -> None:
    """The fees come when the trades do, and no fill counts twice."""
    await bench.silence_events()
    action = {"type": "http_status", "status": 502, "body": "<html>"}
    await bench.fault(action, "get_trades", times=2)
    placed = await bench.place("fees1")
    assert executed_of(placed) == QUANTITY
    found = await bench.get("fees1")
    assert executed_of(found) == QUANTITY
    assert sum(Decimal(trade.quantity.value) for trade in found.trades) in (0, QUANTITY)
    await cell.settle(bench, orders=1, filled=QUANTITY, arrived=1)


@pytest.mark.fault(21, "quantity off the lot, notional too small")
async def test_row_21(bench: FaultBench, cell: Cell) -> None:
    """Refused by name of the field before anything is sent."""
    with pytest.raises(RejectedError) as off:
        await bench.place("odd1", Decimal("0.0000001"))
    assert "quantity" in off.value.message
    await cell.settle(bench, orders=0, filled=0, arrived=0)


@pytest.mark.fault(24, "stamp outside the venue's window")
async def test_row_24(bench: FaultBench, cell: Cell) -> None:
    """A request that reached the venue too late was not executed: definite, its id is free."""
    action = {"type": "delay", "seconds": 1.0, "when": "before"}
    await bench.fault(action, "place_order", times=1)
    with pytest.raises((RetryableError, RejectedError)):
        await bench.place("stale1")
    assert await bench.orders() == []
    assert executed_of(await bench.place("fresh1")) == QUANTITY
    await cell.settle(bench, orders=1, filled=QUANTITY, arrived=2)
