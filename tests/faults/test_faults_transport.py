"""Rows 1 to 8, 25 to 27 and 35: requests and replies that are lost, late or broken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.common.call_errors import translated
from services.common.errors import (
    OpensqtError,
    OutcomeUnknownError,
    RejectedError,
    RetryableError,
)
from tests.support.connector import BUY, eventually, order
from tests.support.fault_bench import QUANTITY, Cell, FaultBench, executed_of

BROKEN_BODIES: list[dict[str, Any]] = [
    {"type": "empty_body"},
    {"type": "http_status", "status": 200, "body": "<html>welcome</html>", "when": "after"},
    {"type": "truncate_body", "bytes": 30},
    {"type": "truncate_body", "bytes": 30, "declared": True},
    {"type": "http_status", "status": 200, "body": '{"hello":[1,2]}', "when": "after"},
    {"type": "http_status", "status": 200, "body": "[]", "when": "after"},
    {"type": "http_status", "status": 200, "body": '{"orderId":null}', "when": "after"},
]


@pytest.mark.fault(1, "request lost before the venue")
async def test_row_1(bench: FaultBench, cell: Cell) -> None:
    """Proven never to have arrived, by the fence; its id is spent; a new id is filled."""
    await bench.fault({"type": "drop_before"}, "place_order", times=1)
    for _ in range(2):
        with pytest.raises(RejectedError) as lost:
            await bench.place("gone1")
        assert lost.value.reason == "ORDER_NOT_ARRIVED"
    assert await bench.orders() == []
    placed = await bench.place("again1")
    assert executed_of(placed) == QUANTITY
    await cell.settle(bench, orders=1, filled=QUANTITY, arrived=2)


@pytest.mark.fault(2, "accepted, reply lost: the stream tells")
async def test_row_2_by_stream(bench: FaultBench, cell: Cell) -> None:
    """The fill of the one order is returned."""
    await bench.fault({"type": "drop_after"}, "place_order")
    placed = await bench.place("lost1")
    assert executed_of(placed) == QUANTITY
    assert placed.HasField("net_quantity")
    await cell.settle(bench, orders=1, filled=QUANTITY, arrived=1)


@pytest.mark.fault(2, "accepted, reply lost: only a question tells")
async def test_row_2_by_query(bench: FaultBench, cell: Cell) -> None:
    """Without events the order is found by its client order id."""
    await bench.silence_events()
    await bench.fault({"type": "drop_after"}, "place_order")
    placed = await bench.place("lost1")
    assert executed_of(placed) == QUANTITY
    await cell.settle(bench, orders=1, filled=QUANTITY, arrived=1)


@pytest.mark.fault(3, "status unknown, executes later")
async def test_row_3(bench: FaultBench, cell: Cell) -> None:
    """The order that executes within the venue's bound is found and not sent again."""
    await bench.fault({"type": "late_execution", "seconds": 0.4}, "place_order")
    placed = await bench.place("late1")
    assert executed_of(placed) == QUANTITY
    await cell.settle(bench, orders=1, filled=QUANTITY, arrived=1)


@pytest.mark.fault(4, "5xx with a code in it, nothing executed")
async def test_row_4(bench: FaultBench, cell: Cell) -> None:
    """A code behind a server error proves nothing: the fence does."""
    code, status = bench.words.overloaded
    action = {"type": "reject", "code": code, "msg": "overloaded", "status": status}
    await bench.fault(action, "place_order")
    with pytest.raises(RejectedError) as lost:
        await bench.place("busy1")
    assert lost.value.reason == "ORDER_NOT_ARRIVED"
    await cell.settle(bench, orders=0, filled=0, arrived=1)


@pytest.mark.fault(4, "5xx after acceptance")
async def test_row_4_after(bench: FaultBench, cell: Cell) -> None:
    """Whatever server error hides the reply, the fill is found."""
    for count, status in enumerate((500, 502, 503, 504, 524), start=1):
        action = {"type": "http_status", "status": status, "body": "", "when": "after"}
        await bench.fault(action, "place_order")
        assert executed_of(await bench.place(f"hid{count}")) == QUANTITY
    await cell.settle(bench, orders=5, filled=5 * QUANTITY, arrived=5)


@pytest.mark.fault(5, "HTTP 200 with a broken body")
async def test_row_5(bench: FaultBench, cell: Cell) -> None:
    """Empty, HTML, truncated or of another shape: the fill is found, the connector goes on."""
    for count, action in enumerate(BROKEN_BODIES, start=1):
        await bench.fault(action, "place_order")
        assert executed_of(await bench.place(f"broken{count}")) == QUANTITY, action
        await bench.control.delete("faults")
    sent = len(BROKEN_BODIES)
    await cell.settle(bench, orders=sent, filled=sent * QUANTITY, arrived=sent)


@pytest.mark.fault(6, "429 with Retry-After")
async def test_row_6(bench: FaultBench, cell: Cell) -> None:
    """A definite refusal that says when to come back; nothing of the class goes out before."""
    action = {"type": "rate_limit", "status": 429, "retry_after": 1}
    await bench.fault(action, "place_order", times=1)
    with pytest.raises(RetryableError) as limited:
        await bench.place("calm1")
    assert limited.value.reason == "VENUE_RATE_LIMITED"
    with pytest.raises(RetryableError):
        await bench.place("calm2", seconds=0.3)
    # The first was refused for certain, so its id is free; this call waits for its turn.
    assert executed_of(await bench.place("calm3")) == QUANTITY
    await cell.settle(bench, orders=1, filled=QUANTITY, arrived=2)


@pytest.mark.fault(7, "418 ban", venues=("binance", "binanceusdm"))
async def test_row_7(bench: FaultBench, cell: Cell) -> None:
    """Nothing at all is sent until the ban ends, exits included; then trading goes on."""
    action = {"type": "rate_limit", "status": 418, "retry_after": 2}
    await bench.fault(action, "place_order", times=1)
    with pytest.raises(RetryableError):
        await bench.place("ban1")
    with pytest.raises(OpensqtError):
        await bench.place("ban2", seconds=0.3)
    assert len(await bench.arrivals()) == 1
    assert executed_of(await bench.place("ban3")) == QUANTITY
    await cell.settle(bench, orders=1, filled=QUANTITY, arrived=2)


@pytest.mark.fault(8, "403 page of a firewall")
async def test_row_8(bench: FaultBench, cell: Cell) -> None:
    """It proves nothing about the order: here it was taken, and is found."""
    action = {"type": "http_status", "status": 403, "body": "<html>WAF</html>", "when": "after"}
    await bench.fault(action, "place_order")
    assert executed_of(await bench.place("wall1")) == QUANTITY
    await cell.settle(bench, orders=1, filled=QUANTITY, arrived=1)


@pytest.mark.fault(25, "venue slower than our patience")
async def test_row_25(bench: FaultBench, cell: Cell) -> None:
    """A reply after the client's timeout is a lost reply; another order is not delayed by it."""
    action = {"type": "delay", "seconds": 2.0, "when": "after"}
    await bench.fault(action, "place_order", times=1)
    slow = asyncio.create_task(bench.place("slow1"))
    await eventually(bench.has_struck)
    assert executed_of(await bench.place("quick1")) == QUANTITY
    assert executed_of(await slow) == QUANTITY
    await cell.settle(bench, orders=2, filled=2 * QUANTITY, arrived=2)


@pytest.mark.fault(26, "venue down, then back")
async def test_row_26(bench: FaultBench, cell: Cell) -> None:
    """While nothing answers, orders stay in doubt or are not sent; afterwards all is told."""
    await bench.control.post(
        "faults", [{"id": "down", "match": {}, "action": {"type": "drop_before"}}]
    )
    with pytest.raises(OpensqtError) as down:
        await bench.place("down1", seconds=2.0)
    assert isinstance(down.value, (OutcomeUnknownError, RetryableError))
    await bench.control.delete("faults")
    with pytest.raises(RejectedError):
        await bench.get("down1", seconds=10)
    assert executed_of(await bench.place("up1", seconds=10)) == QUANTITY
    await cell.settle(bench, orders=1, filled=QUANTITY)


@pytest.mark.fault(35, "caller's deadline passes in mid order")
async def test_row_35(bench: FaultBench, cell: Cell) -> None:
    """The order goes on; the same request again returns its fill and sends nothing."""
    await bench.fault({"type": "delay", "seconds": 1.2, "when": "after"}, "place_order")
    await bench.silence_events()
    wanted = order(BUY, str(QUANTITY), client_order_id="short1")
    # As the engine reads it: a deadline of its own that passes first tells as little.
    with pytest.raises(OutcomeUnknownError) as unknown, translated(client_order_id="short1"):
        await bench.stub.PlaceOrder(wanted, timeout=0.8)
    assert unknown.value.metadata["clientOrderId"] == "short1"
    assert executed_of(await bench.place("short1")) == QUANTITY
    await cell.settle(bench, orders=1, filled=QUANTITY, arrived=1)


@pytest.mark.fault(35, "caller hangs up in mid order")
async def test_row_35_hang_up(bench: FaultBench, cell: Cell) -> None:
    """Cancelling the call cancels nothing."""
    await bench.fault({"type": "delay", "seconds": 0.3, "when": "before"}, "place_order")
    call = bench.stub.PlaceOrder(order(BUY, str(QUANTITY), client_order_id="hung1"), timeout=8)
    await eventually(bench.has_struck)
    call.cancel()
    assert executed_of(await bench.get("hung1")) == QUANTITY
    await cell.settle(bench, orders=1, filled=QUANTITY, arrived=1)
