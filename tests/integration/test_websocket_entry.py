"""Orders over the venue's WebSocket: the same outcomes as over HTTP, the same single sending."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.common.errors import OutcomeUnknownError, RejectedError
from tests.support.connector import connector_part, eventually
from tests.support.fault_bench import QUANTITY, FaultBench, executed_of, fault_bench

VENUES = ("binance", "binanceusdm")


@pytest.fixture(params=VENUES)
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FaultBench]:
    """Run a connector whose orders go by WebSocket, once its connection is open."""
    async with fault_bench(request.param, tmp_path, order_entry="websocket") as running:
        await eventually(lambda: _goes_by_websocket(running))
        await running.control.delete("faults")
        yield running


async def _goes_by_websocket(bench: FaultBench) -> bool:
    # One more connection than the streams of orders need: that of the entry.
    found: int = (await bench.control.get("streams"))["connections"]
    return found >= 2


async def only(bench: FaultBench) -> None:
    """Hold the books to one order of the right size, sent once and not by HTTP."""
    arrivals = await bench.arrivals()
    assert len(arrivals) == 1
    # The key is among the signed parameters of a WebSocket request, over HTTP it is a header.
    assert "apiKey" in arrivals[0]["parameters"]
    assert len(await bench.orders()) == 1
    assert await bench.executed() == QUANTITY


async def test_fill_is_the_replys(bench: FaultBench) -> None:
    """The order goes by WebSocket and its fill comes back."""
    placed = await bench.place("ws1")
    assert executed_of(placed) == QUANTITY
    assert placed.HasField("net_quantity")
    await only(bench)


@pytest.mark.parametrize("lost", ["drop_after", "empty_body", "late_execution"])
async def test_lost_reply_is_resolved(bench: FaultBench, lost: str) -> None:
    """The connection that breaks, the reply that is empty, the status unknown: one order, found."""
    seconds = {"seconds": 0.3} if lost == "late_execution" else {}
    await bench.fault({"type": lost, **seconds}, "place_order", times=1)
    assert executed_of(await bench.place("ws2")) == QUANTITY
    await only(bench)


async def test_request_lost_before_the_venue_is_proven_by_the_fence(bench: FaultBench) -> None:
    """A connection that breaks with the request in it proves nothing by itself."""
    await bench.fault({"type": "drop_before"}, "place_order", times=1)
    with pytest.raises(RejectedError) as lost:
        await bench.place("ws3")
    assert lost.value.reason == "ORDER_NOT_ARRIVED"
    assert await bench.orders() == []


async def test_silence_is_an_unknown_outcome(bench: FaultBench) -> None:
    """No reply in time: unknown to a caller in haste, true for one who asks later."""
    await bench.silence_events()
    await bench.fault({"type": "delay", "seconds": 1.8, "when": "after"}, "place_order")
    with pytest.raises(OutcomeUnknownError):
        await bench.place("ws4", seconds=1.0)
    assert executed_of(await bench.get("ws4")) == QUANTITY
    await only(bench)


async def test_refusal_is_definite_by_its_status_and_code(bench: FaultBench) -> None:
    """The same table as over HTTP: a refusal is one, a word behind a server error is none."""
    code, words = bench.words.refusal
    action = {"type": "reject", "code": code, "msg": words, "status": 400}
    await bench.fault(action, "place_order", times=1)
    with pytest.raises(RejectedError) as refused:
        await bench.place("ws5")
    assert refused.value.metadata["venueCode"] == str(code)
    await bench.control.delete("faults")
    await bench.fault({**action, "status": 503}, "place_order", times=1)
    with pytest.raises(RejectedError) as behind:
        await bench.place("ws6")
    assert behind.value.reason == "ORDER_NOT_ARRIVED"


async def test_with_the_connection_down_orders_go_by_http(bench: FaultBench) -> None:
    """An order is not kept waiting for the connection, and none goes both ways."""
    await bench.control.post("streams/cut")
    for name in ("ws7", "ws8"):
        assert executed_of(await bench.place(name)) == QUANTITY
    assert len(await bench.arrivals()) == 2
    assert await bench.executed() == 2 * QUANTITY


def test_a_venue_without_it_refuses_the_setting(tmp_path: Path) -> None:
    """The problem is told at the start, with what to do."""
    with pytest.raises(ValidationError, match="use rest"):
        connector_part("okx-swap", "127.0.0.1:1", tmp_path, order_entry="websocket")
