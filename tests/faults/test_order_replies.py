"""Orders whose request or reply is lost, late or broken. The simulator's books are the witness."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest

from opensqt.market_maker.v1 import resources_pb2, types_pb2
from services.common.call_errors import translated
from services.common.errors import (
    AlreadyExistsError,
    NotFoundError,
    OutcomeUnknownError,
    RejectedError,
    RetryableError,
)
from tests.support.connector import (
    BUY,
    by_id,
    connector_part,
    eventually,
    number,
    order,
    running_connector,
)
from tests.support.simulator import Control, running_simulator

FENCE_SECONDS = 1.2
TRIES = 3
QUANTITY = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Bench:
    """A connector on its simulator."""

    code: str
    stub: Any
    control: Control

    async def orders(self) -> list[dict[str, Any]]:
        """Return the orders in the venue's own books."""
        return list(await self.control.get("orders"))

    async def requests(self) -> list[dict[str, Any]]:
        """Return the order requests that reached the venue."""
        return list(await self.control.get("requests"))

    async def fault_applied(self) -> bool:
        """Tell whether the armed fault has struck."""
        return bool((await self.control.get("faults"))[0]["applied"])

    async def executed(self) -> Decimal:
        """Return all that was executed in the venue's own books."""
        fills = await self.control.get("trades")
        return sum((Decimal(fill["quantity"]) for fill in fills), Decimal(0))


@pytest.fixture(params=["binance", "binanceusdm"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Run a simulator and a connector of each kind on it."""
    async with running_simulator() as simulator:
        part = connector_part(
            request.param, simulator.address, tmp_path, request_timeout_seconds=0.8
        )
        async with running_connector(part) as connector:
            yield Bench(request.param, connector.stub, Control(simulator.address))


async def place(bench: Bench, seconds: float = 6.0, **fields: Any) -> resources_pb2.Order:
    """Place a market order and translate its error."""
    with translated():
        placed: resources_pb2.Order = await bench.stub.PlaceOrder(
            order(BUY, str(QUANTITY), **fields), timeout=seconds
        )
    return placed


AFTER: list[dict[str, Any]] = [
    {"type": "drop_after"},
    {"type": "empty_body"},
    {"type": "truncate_body", "bytes": 40},
    {"type": "truncate_body", "bytes": 40, "declared": True},
    {"type": "http_status", "status": 500, "body": "", "when": "after"},
    {"type": "http_status", "status": 502, "body": "<html>bad gateway</html>", "when": "after"},
    {"type": "http_status", "status": 504, "body": "", "when": "after"},
    {"type": "http_status", "status": 524, "body": "<html></html>", "when": "after"},
    {"type": "http_status", "status": 200, "body": "<html>welcome</html>", "when": "after"},
    {"type": "http_status", "status": 403, "body": "<html>WAF</html>", "when": "after"},
    {
        "type": "http_status",
        "status": 503,
        "body": '{"code":-1008,"msg":"Server is currently overloaded."}',
        "when": "after",
    },
    {
        "type": "http_status",
        "status": 500,
        "body": '{"code":-1000,"msg":"An unknown error occured."}',
        "when": "after",
    },
    {"type": "delay", "seconds": 1.5, "when": "after"},
]


async def test_reply_lost_after_acceptance_is_one_order_with_its_fill(bench: Bench) -> None:
    """However the reply is lost, the call returns the fill of the one order that was sent."""
    for number_sent, action in enumerate(AFTER, start=1):
        await bench.control.fault(action, operation="place_order")
        placed = await place(bench, client_order_id=f"lost{number_sent}")
        assert placed.status == types_pb2.ORDER_STATUS_FILLED, action
        assert number(placed.executed_qty) == QUANTITY, action
        assert placed.fees, action
        assert placed.HasField("net_quantity"), action
        assert len(await bench.requests()) == number_sent, action
        assert await bench.executed() == QUANTITY * number_sent, action
        await bench.control.delete("faults")


@pytest.mark.parametrize("broken", ["drop_after", "empty_body"])
async def test_without_the_stream_a_query_finds_the_fill(bench: Bench, broken: str) -> None:
    """When events come too late to help, the order is found by its client order id."""
    await bench.control.fault({"type": "event_late", "seconds": 60}, operation="order_event")
    await bench.control.fault({"type": broken}, operation="place_order")
    placed = await place(bench)
    assert number(placed.executed_qty) == QUANTITY
    assert placed.fees
    assert len(await bench.requests()) == 1


async def test_request_lost_before_the_venue_is_proven_by_the_fence(bench: Bench) -> None:
    """An order that never arrived is a definite failure, told no sooner than the fence allows."""
    await bench.control.fault({"type": "drop_before"}, operation="place_order")
    started = time.monotonic()
    with pytest.raises(RejectedError) as lost:
        await place(bench, client_order_id="gone1")
    assert lost.value.reason == "ORDER_NOT_ARRIVED"
    assert time.monotonic() - started >= FENCE_SECONDS
    assert await bench.orders() == []
    with pytest.raises(NotFoundError) as missing, translated():
        await bench.stub.GetOrder(by_id("gone1"), timeout=5)
    assert missing.value.reason == "ORDER_NOT_ARRIVED"


async def test_the_id_of_an_order_that_never_arrived_is_spent(bench: Bench) -> None:
    """The same id asked for again gives the same answer and sends nothing."""
    await bench.control.fault({"type": "drop_before"}, operation="place_order")
    for _ in range(2):
        with pytest.raises(RejectedError) as lost:
            await place(bench, client_order_id="gone2")
        assert lost.value.reason == "ORDER_NOT_ARRIVED"
        await bench.control.delete("faults")
    assert await bench.orders() == []


async def test_late_execution_is_waited_for(bench: Bench) -> None:
    """After "execution status unknown" the order that executes later is found, not sent again."""
    await bench.control.fault({"type": "late_execution", "seconds": 0.6}, operation="place_order")
    placed = await place(bench)
    assert number(placed.executed_qty) == QUANTITY
    assert len(await bench.requests()) == 1
    assert await bench.executed() == QUANTITY


async def test_outcome_unknown_at_the_deadline_and_truth_later(bench: Bench) -> None:
    """A caller short of time is told that the outcome is unknown; a later Get tells the truth."""
    await bench.control.fault({"type": "late_execution", "seconds": 1.0}, operation="place_order")
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await bench.stub.PlaceOrder(order(BUY, "0.01", client_order_id="slow1"), timeout=0.8)
    assert unknown.value.code() == grpc.StatusCode.UNKNOWN
    with pytest.raises(OutcomeUnknownError) as told, translated():
        raise unknown.value
    assert told.value.reason == "ORDER_OUTCOME_UNKNOWN"
    assert told.value.metadata["clientOrderId"] == "slow1"
    with translated():
        got = await bench.stub.GetOrder(by_id("slow1"), timeout=5)
    assert number(got.executed_qty) == QUANTITY
    assert len(await bench.requests()) == 1


async def test_caller_that_hangs_up_cancels_nothing(bench: Bench) -> None:
    """The order of a caller who cancels its call goes on; the same request again returns it."""
    await bench.control.fault(
        {"type": "delay", "seconds": 0.4, "when": "before"}, operation="place_order"
    )
    wanted = order(BUY, "0.01", client_order_id="hang1")
    call = bench.stub.PlaceOrder(wanted, timeout=5)
    await eventually(bench.fault_applied)
    call.cancel()
    with translated():
        placed = await bench.stub.PlaceOrder(wanted, timeout=5)
    assert number(placed.executed_qty) == QUANTITY
    assert len(await bench.requests()) == 1


async def test_same_id_and_content_joins_the_order_in_flight(bench: Bench) -> None:
    """Ten calls at once with one id are one order, and all get its fill."""
    await bench.control.fault(
        {"type": "delay", "seconds": 0.2, "when": "before"}, operation="place_order"
    )
    placed = await asyncio.gather(*(place(bench, client_order_id="many1") for _ in range(10)))
    assert {one.exchange_order_id for one in placed} == {placed[0].exchange_order_id}
    assert len(await bench.requests()) == 1


async def test_same_id_other_content_already_exists(bench: Bench) -> None:
    """An id that was used for another order is refused, in flight and after, and sends nothing."""
    await place(bench, client_order_id="used1")
    with pytest.raises(AlreadyExistsError) as taken, translated():
        await bench.stub.PlaceOrder(order(BUY, "0.02", client_order_id="used1"), timeout=5)
    assert taken.value.reason == "CLIENT_ORDER_ID_EXISTS"
    again = await place(bench, client_order_id="used1")
    assert number(again.executed_qty) == QUANTITY
    assert len(await bench.requests()) == 1


async def test_same_number_in_other_notation_is_the_same_content(bench: Bench) -> None:
    """`0.010` and `0.01` are one quantity."""
    await place(bench, client_order_id="same1")
    again = await bench.stub.PlaceOrder(order(BUY, "0.010", client_order_id="same1"), timeout=5)
    assert again.client_order_id == "same1"
    assert len(await bench.requests()) == 1


UNKNOWNS = [(-1007, 408), (-1006, 500), (-1000, 400)]
REJECTS = [(-2010, 400), (-1111, 400), (-1013, 400), (-2019, 400), (-1121, 400)]


async def refused_twice(bench: Bench, name: str, code: int) -> float:
    """Ask for an order that the venue refuses, and for the same again; return the seconds."""
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(RejectedError) as refused:
            await place(bench, client_order_id=name)
        assert refused.value.metadata["venueCode"] == str(code)
    return time.monotonic() - started


async def test_documented_refusal_is_told_at_once(bench: Bench) -> None:
    """A refusal on the allow-list needs no fence, and is kept: the same request is not resent."""
    for number_sent, (code, status) in enumerate(REJECTS, start=1):
        await bench.control.fault(
            {"type": "reject", "code": code, "msg": "refused", "status": status},
            operation="place_order",
            times=TRIES,
        )
        names = [f"no{number_sent}t{turn}" for turn in range(TRIES)]
        seconds = [await refused_twice(bench, name, code) for name in names]
        # The quickest of them: a fence would hold up each, a pause of the machine does not.
        assert min(seconds) < FENCE_SECONDS
        assert len(await bench.requests()) == TRIES * number_sent
        await bench.control.delete("faults")


async def test_codes_that_say_unknown_are_asked_about(bench: Bench) -> None:
    """The venue's "we do not know" is resolved: here nothing happened, and the fence proves it."""
    rules = [
        {
            "id": str(code),
            "match": {"operation": "place_order", "nth": nth},
            "action": {"type": "reject", "code": code, "msg": "unknown", "status": status},
        }
        for nth, (code, status) in enumerate(UNKNOWNS, start=1)
    ]
    await bench.control.post("faults", rules)
    for outcome in await asyncio.gather(*(place(bench) for _ in rules), return_exceptions=True):
        assert isinstance(outcome, RejectedError)
        assert outcome.reason == "ORDER_NOT_ARRIVED"
    assert await bench.executed() == 0


async def test_rate_limit_is_retryable_and_leaves_the_id_free(bench: Bench) -> None:
    """After 429 nothing was done: the error says when to come back, and the id stays usable."""
    await bench.control.fault(
        {"type": "rate_limit", "status": 429, "retry_after": 1}, operation="place_order", times=1
    )
    with pytest.raises(RetryableError) as limited:
        await place(bench, client_order_id="calm1")
    assert limited.value.reason == "VENUE_RATE_LIMITED"
    placed = await place(bench, client_order_id="calm1")
    assert number(placed.executed_qty) == QUANTITY


async def test_queries_that_fail_do_not_stop_the_search(bench: Bench) -> None:
    """While the venue answers queries with 502, the outcome stays open; then it is found."""
    await bench.control.fault({"type": "event_late", "seconds": 60}, operation="order_event")
    await bench.control.fault({"type": "drop_after"}, operation="place_order")
    await bench.control.fault(
        {"type": "http_status", "status": 502, "body": "<html>"}, operation="get_order", times=4
    )
    placed = await place(bench, seconds=8)
    assert number(placed.executed_qty) == QUANTITY


async def test_duplicate_and_reordered_events_count_once(bench: Bench) -> None:
    """Events twice or in the wrong order leave executed and fees as the venue has them."""
    await bench.control.fault({"type": "event_duplicate"}, operation="order_event")
    await bench.control.fault({"type": "drop_after"}, operation="place_order")
    placed = await place(bench)
    fills = await bench.control.get("trades")
    assert number(placed.executed_qty) == await bench.executed()
    assert len(placed.trades) == len(fills)


async def test_stream_cut_in_mid_order_loses_no_fill(bench: Bench) -> None:
    """With the stream cut as the fill is told, and the reply lost, the fill is still found."""
    await bench.control.fault({"type": "stream_cut"}, operation="order_event", times=1)
    await bench.control.fault({"type": "drop_after"}, operation="place_order", times=1)
    placed = await place(bench)
    assert number(placed.executed_qty) == QUANTITY
    assert len(await bench.requests()) == 1


async def test_one_lost_order_does_not_delay_others(bench: Bench) -> None:
    """While one order is in doubt, the next goes through at once."""
    await bench.control.fault({"type": "drop_before"}, operation="place_order", times=1)
    doubt = asyncio.create_task(place(bench, client_order_id="doubt1"))
    await eventually(bench.fault_applied)
    placed = await place(bench, client_order_id="clear1")
    assert number(placed.executed_qty) == QUANTITY
    assert not doubt.done()
    with pytest.raises(RejectedError):
        await doubt
