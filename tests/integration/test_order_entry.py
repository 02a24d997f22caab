"""Orders over one long-lived call: as by PlaceOrder, and what a break of the call leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from opensqt.market_maker.v1 import (
    exchange_pb2,
    exchange_pb2_grpc,
    order_entry_pb2,
    resources_pb2,
    types_pb2,
)
from services.common.call_errors import from_status, translated
from services.common.clock import SystemClock
from services.common.errors import (
    AlreadyExistsError,
    InvalidFieldError,
    OpensqtError,
    OutcomeUnknownError,
    RejectedError,
)
from services.common.metrics import ServiceMetrics
from services.common.server import GrpcServer
from services.common.settings import ServerSettings
from services.common.time_codec import to_duration
from services.connector.servicer import SERVICE_NAME
from services.connector.servicers.order_entry import MOST_ENTRIES, OrderEntryMethods
from services.engine.order_entry import OrderEntry, open_order_entry
from tests.support.connector import (
    BUY,
    by_id,
    connector_part,
    decimal,
    eventually,
    number,
    order,
    running_connector,
)
from tests.support.simulator import Control, running_simulator

Entry = order_entry_pb2.EnterOrdersRequest
Answer = order_entry_pb2.EnterOrdersResponse


def entry(number_: int, name: str, quantity: str = "0.01", **fields: Any) -> Entry:
    """Return an entry of a market order to buy."""
    timeout = to_duration(timedelta(seconds=10))
    placed = order(BUY, quantity, client_order_id=name, **fields)
    return Entry(entry_id=number_, order=placed, timeout=timeout)


async def answers_to(stub: Any, *entries: Entry) -> dict[int, Answer]:
    """Send entries over one call and return the answers by entry id, the opening one left out."""

    async def requests() -> AsyncIterator[Entry]:
        for one in entries:
            yield one

    rows = [row async for row in stub.EnterOrders(requests(), timeout=20)]
    assert not rows[0].entry_id
    assert len(rows) == len(entries) + 1
    return {row.entry_id: row for row in rows[1:]}


def error_of(answer: Answer) -> OpensqtError:
    """Return the error that an answer carries."""
    assert answer.HasField("error")
    return from_status(answer.error)


async def test_entries_are_placed_as_orders_are(tmp_path: Path) -> None:
    """Fill, refusal, repeat and a broken entry, each answered on its own; one order per id."""
    async with running_simulator() as simulator:
        part = connector_part("binanceusdm", simulator.address, tmp_path)
        async with running_connector(part) as connector:
            found = await answers_to(
                connector.stub,
                entry(1, "e1"),
                entry(2, "e2", "-1"),
                entry(3, "e1"),
                entry(4, "e1", "0.02"),
                Entry(entry_id=5),
                entry(0, "e6"),
            )
            assert number(found[1].order.executed_qty) == number(decimal("0.01"))
            assert found[3].order == found[1].order
            refused = error_of(found[2])
            assert isinstance(refused, InvalidFieldError)
            assert refused.field == "order.quantity"
            assert isinstance(error_of(found[4]), AlreadyExistsError)
            assert isinstance(error_of(found[5]), InvalidFieldError)
            assert isinstance(error_of(found[0]), InvalidFieldError)
            unary = await connector.stub.PlaceOrder(order(BUY, "0.01", client_order_id="e1"))
            assert unary == found[1].order
        orders = await Control(simulator.address).get("orders")
        assert [row["client_order_id"] for row in orders] == ["e1"]


async def test_ending_the_call_cancels_no_order(tmp_path: Path) -> None:
    """A caller who hangs up in mid order finds it filled, and at the venue once."""
    async with running_simulator() as simulator:
        control = Control(simulator.address)
        part = connector_part("binance", simulator.address, tmp_path)
        async with running_connector(part) as connector:
            await control.fault(
                {"type": "delay", "seconds": 0.3, "when": "after"}, operation="place_order"
            )

            async def struck() -> bool:
                return bool((await control.get("faults"))[0]["applied"])

            call = connector.stub.EnterOrders()
            await call.write(entry(1, "gone1"))
            await eventually(struck)
            call.cancel()
            got = await connector.stub.GetOrder(by_id("gone1"), timeout=10)
            assert got.status == types_pb2.ORDER_STATUS_FILLED
        orders = await control.get("orders")
        assert [row["client_order_id"] for row in orders] == ["gone1"]


# The stubs call every method abstract; the base itself answers UNIMPLEMENTED for those left out.
_Base: Any = exchange_pb2_grpc.ExchangeServiceServicer


class Desk(OrderEntryMethods, _Base):  # type: ignore[misc]  # the base is Any, see above
    """A servicer whose orders the test answers; mutable, the test opens the gate."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.taken: list[str] = []

    async def _admit(self) -> None:
        """Admit everybody: no engine is overtaken here."""

    async def PlaceOrder(  # noqa: N802 - the contract's name
        self, request: resources_pb2.PlaceOrderRequest, _context: Any
    ) -> resources_pb2.Order:
        """Answer a single call as an entry."""
        return await self._place(request)

    async def _place(
        self, request: resources_pb2.PlaceOrderRequest, path: str = ""
    ) -> resources_pb2.Order:
        self.taken.append(request.client_order_id)
        if request.client_order_id.startswith("slow"):
            await self.gate.wait()
        if request.client_order_id == "refused":
            raise RejectedError("no", reason="ORDER_REJECTED")
        return resources_pb2.Order(client_order_id=request.client_order_id)


@asynccontextmanager
async def desk_and_entry() -> AsyncIterator[tuple[Desk, OrderEntry, grpc.aio.Server]]:
    """Serve a scripted desk and open the engine's order entry to it."""
    desk = Desk()
    server = grpc.aio.server()
    exchange_pb2_grpc.add_ExchangeServiceServicer_to_server(desk, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = exchange_pb2_grpc.ExchangeServiceStub(channel)
            async with open_order_entry("venue", stub, SystemClock()) as opened:
                await eventually(lambda: is_open(opened))
                yield desk, opened, server
    finally:
        await server.stop(None)


async def is_open(opened: OrderEntry) -> bool:
    """Tell whether orders can be handed over."""
    return opened.is_open


def request(name: str) -> resources_pb2.PlaceOrderRequest:
    """Return an order request with an id."""
    return resources_pb2.PlaceOrderRequest(client_order_id=name)


async def test_a_slow_entry_keeps_no_other_waiting() -> None:
    """Answers come as they are known, each to its own caller."""
    async with desk_and_entry() as (desk, opened, _server):
        slow = asyncio.create_task(opened.place(request("slow"), 10))
        assert (await opened.place(request("quick"), 10)).client_order_id == "quick"
        with pytest.raises(RejectedError):
            await opened.place(request("refused"), 10)
        assert not slow.done()
        desk.gate.set()
        assert (await slow).client_order_id == "slow"


async def test_a_broken_call_leaves_its_entries_unknown_and_is_opened_again() -> None:
    """Nobody is told that an order failed, nothing is handed over twice."""
    async with desk_and_entry() as (desk, opened, server):
        slow = asyncio.create_task(opened.place(request("slow"), 10))
        await eventually(lambda: has_taken(desk, "slow"))
        await server.stop(None)
        with pytest.raises(OutcomeUnknownError) as failed:
            await slow
        assert failed.value.client_order_id == "slow"
        assert not opened.is_open
        assert desk.taken == ["slow"]


async def has_taken(desk: Desk, name: str) -> bool:
    """Tell whether the desk has an order."""
    return name in desk.taken


async def test_an_entry_without_answer_in_time_is_unknown() -> None:
    """The caller's patience ends its wait, not the order."""
    async with desk_and_entry() as (desk, opened, _server):
        with pytest.raises(OutcomeUnknownError):
            await opened.place(request("slow"), 0.05)
        desk.gate.set()
        assert (await opened.place(request("next"), 10)).client_order_id == "next"
        assert desk.taken == ["slow", "next"]


async def test_who_still_waits_at_the_end_is_told() -> None:
    """The engine stops: the order is with the connector, its outcome unknown here."""
    async with desk_and_entry() as (desk, opened, _server):
        slow = asyncio.create_task(opened.place(request("slow"), 10))
        await eventually(lambda: has_taken(desk, "slow"))
    with pytest.raises(OutcomeUnknownError):
        await slow


async def test_entries_at_work_are_bounded() -> None:
    """One more than the bound is refused at once, and never placed."""
    async with desk_and_entry() as (desk, opened, _server):
        slow = [
            asyncio.create_task(opened.place(request(f"slow{n}"), 10)) for n in range(MOST_ENTRIES)
        ]
        await eventually(lambda: has_taken(desk, f"slow{MOST_ENTRIES - 1}"))
        with pytest.raises(OpensqtError) as refused:
            await opened.place(request("more"), 10)
        assert refused.value.reason == "CALL_LIMIT_REACHED"
        desk.gate.set()
        await asyncio.gather(*slow)
        assert "more" not in desk.taken


async def refusal_of(placing: Awaitable[Any]) -> str:
    """Return the reason an order was refused for."""
    with pytest.raises(OpensqtError) as refused, translated():
        await placing
    return refused.value.reason


async def test_entries_share_their_callers_quota_with_its_calls_and_exits_have_more() -> None:
    """Two at work fill it, whichever way they came; an exit is placed then, one beyond is not."""
    desk = Desk()
    settings = ServerSettings(principal_calls=2, principal_exits=1, drain_seconds=0.2)
    server = GrpcServer(settings, metrics=ServiceMetrics("connector"))
    server.add(exchange_pb2_grpc.add_ExchangeServiceServicer_to_server, desk, SERVICE_NAME)
    async with server, grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = exchange_pb2_grpc.ExchangeServiceStub(channel)
        async with open_order_entry("venue", stub, SystemClock()) as opened:
            await eventually(lambda: is_open(opened))
            slow = [asyncio.create_task(opened.place(request(f"slow{n}"), 10)) for n in range(2)]
            await eventually(lambda: has_taken(desk, "slow1"))
            assert await refusal_of(opened.place(request("more"), 10)) == "CALL_LIMIT_REACHED"
            assert await refusal_of(stub.PlaceOrder(request("more"))) == "CALL_LIMIT_REACHED"
            leave, beyond = request("slow exit"), request("exit")
            leave.order_class = beyond.order_class = types_pb2.ORDER_CLASS_EXIT
            slow.append(asyncio.create_task(opened.place(leave, 10)))
            await eventually(lambda: has_taken(desk, "slow exit"))
            assert await refusal_of(opened.place(beyond, 10)) == "CALL_LIMIT_REACHED"
            desk.gate.set()
            await asyncio.gather(*slow)
            assert (await opened.place(request("next"), 10)).client_order_id == "next"
            desk.gate.clear()
            left = [asyncio.create_task(opened.place(request(f"slow{n}"), 10)) for n in (3, 4)]
            await eventually(lambda: has_taken(desk, "slow4"))
        # The caller is gone, and its places with it.
        for one in left:
            one.cancel()
        await eventually(lambda: is_placed(stub, "last"))
    assert "more" not in desk.taken
    assert "exit" not in desk.taken


async def is_placed(stub: Any, name: str) -> bool:
    """Try to place an order by a single call."""
    try:
        await stub.PlaceOrder(request(name))
    except grpc.aio.AioRpcError:
        return False
    return True


async def test_exits_have_room_in_the_call_beyond_its_entries() -> None:
    """As many entries as one call may have at work, and then an exit."""
    async with desk_and_entry() as (desk, opened, _server):
        slow = [
            asyncio.create_task(opened.place(request(f"slow{n}"), 10)) for n in range(MOST_ENTRIES)
        ]
        await eventually(lambda: has_taken(desk, f"slow{MOST_ENTRIES - 1}"))
        leave = request("exit")
        leave.reduce_only = True
        assert (await opened.place(leave, 10)).client_order_id == "exit"
        desk.gate.set()
        await asyncio.gather(*slow)


async def test_a_connector_without_order_entry_gets_single_calls() -> None:
    """The gateway's orders then go by PlaceOrder; the entry stays shut."""
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = exchange_pb2_grpc.ExchangeServiceStub(channel)
        async with open_order_entry("venue", stub, SystemClock()) as opened:
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.GetName(exchange_pb2.GetNameRequest(), timeout=30)
            assert not opened.is_open
    await server.stop(None)


class SwallowedCall:
    """A call that tells a cancellation as its own end, as gRPC does where both meet."""

    def __aiter__(self) -> SwallowedCall:
        """Be its own iterator."""
        return self

    async def __anext__(self) -> object:
        """Wait for ever."""
        try:
            return await asyncio.Event().wait()
        except asyncio.CancelledError:
            none = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNIMPLEMENTED, none, none) from None

    def cancel(self) -> None:
        """Take it."""


async def test_an_entry_ends_although_its_call_ends_in_the_same_moment() -> None:
    """Whoever stops is not kept by a call that took the word for its own end."""
    stub: Any = SimpleNamespace(EnterOrders=lambda *_args, **_names: SwallowedCall())
    async with asyncio.timeout(20), open_order_entry("venue", stub, SystemClock()):
        for _ in range(5):
            await asyncio.sleep(0)
