"""The engine's order-entry call: what a break of the call leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from opensqt.market_maker.v1 import order_entry_pb2, resources_pb2
from services.common.clock import SystemClock
from services.common.engine_epoch import Metadata
from services.common.errors import OutcomeUnknownError
from services.engine.connector_gateway import ConnectorGateway
from services.engine.instruments import InstrumentKind
from services.engine.order_entry import OrderEntry, open_order_entry

Request = order_entry_pb2.EnterOrdersRequest
Response = order_entry_pb2.EnterOrdersResponse


class Calls:
    """A stub whose first call is cancelled by gRPC, with an order taken and one left in its queue.

    Mutable: it keeps what each call was handed.
    """

    def __init__(self) -> None:
        self.taken: list[list[str]] = []
        self.shown: Metadata = ()

    def EnterOrders(  # noqa: N802 - its wire name
        self, requests: AsyncIterator[Request], *, metadata: Metadata
    ) -> Any:
        """Begin a call."""
        self.taken.append([])
        self.shown = metadata
        return _Call(requests, self.taken[-1], breaks=len(self.taken) == 1)


class _Call:
    def __init__(self, requests: AsyncIterator[Request], taken: list[str], *, breaks: bool) -> None:
        self._requests = requests
        self._taken = taken
        self._breaks = breaks

    async def __aiter__(self) -> AsyncIterator[Response]:
        yield Response()
        async for request in self._requests:
            self._taken.append(request.order.client_order_id)
            if self._breaks:
                raise asyncio.CancelledError
            order = resources_pb2.Order(client_order_id=request.order.client_order_id)
            yield Response(entry_id=request.entry_id, order=order)

    def cancel(self) -> None:
        """Do nothing."""


async def place(entry: OrderEntry, name: str) -> resources_pb2.Order:
    """Hand an order over."""
    return await entry.place(resources_pb2.PlaceOrderRequest(client_order_id=name), 5)


async def test_a_call_that_grpc_cancels_is_opened_again_and_sends_nothing_of_old() -> None:
    """Both orders are unknown at once; the next call hands over neither of them."""
    calls = Calls()
    async with open_order_entry("venue", cast("Any", calls), SystemClock(), 7) as entry:
        await until_open(entry)
        first, second = await asyncio.gather(
            place(entry, "one"), place(entry, "two"), return_exceptions=True
        )
        assert isinstance(first, OutcomeUnknownError)
        assert isinstance(second, OutcomeUnknownError)
        assert not entry.is_open
        await until_open(entry)
        assert (await place(entry, "three")).client_order_id == "three"
    assert calls.taken == [["one"], ["three"]]
    assert calls.shown == (("engine-epoch", "7"),)


async def until_open(entry: OrderEntry) -> None:
    """Wait until orders can be handed over."""
    async with asyncio.timeout(60):
        for _ in range(2_000):
            if entry.is_open:
                return
            await asyncio.sleep(0.01)


class LostEntry:
    """An open order-entry call whose answers never come."""

    is_open = True

    async def place(self, request: resources_pb2.PlaceOrderRequest, _seconds: float) -> None:
        """Lose it."""
        raise OutcomeUnknownError("lost", client_order_id=request.client_order_id)


async def test_an_order_lost_on_the_call_is_never_sent_by_a_call_of_its_own() -> None:
    """It may be at the venue; the stub has no PlaceOrder, which would show."""
    gateway = ConnectorGateway(
        "venue",
        InstrumentKind.SPOT,
        cast("Any", object()),
        call_seconds=1,
        place_seconds=1,
        entry=cast("Any", LostEntry()),
    )
    with pytest.raises(OutcomeUnknownError):
        await gateway._send(resources_pb2.PlaceOrderRequest(client_order_id="one"))
