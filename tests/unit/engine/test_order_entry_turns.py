"""The order-entry call: a hedge leaves before the next answer, an odd answer ends one call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from opensqt.market_maker.v1 import order_entry_pb2, resources_pb2, types_pb2
from services.common.clock import SystemClock
from services.common.errors import OutcomeUnknownError
from services.engine.order_entry import OrderEntry, open_order_entry

_WAIT_SECONDS = 5.0
_OPENING_TURNS = 10


class _Call:
    """A call whose connector answers each entry at once; `seen` is what happened, in order."""

    def __init__(self, requests: AsyncIterator[order_entry_pb2.EnterOrdersRequest]) -> None:
        self.seen: list[str] = []
        self._requests = requests
        self._answers: asyncio.Queue[order_entry_pb2.EnterOrdersResponse] = asyncio.Queue()
        self._answers.put_nowait(order_entry_pb2.EnterOrdersResponse())
        self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        async for request in self._requests:
            key = request.order.client_order_id
            self.seen.append(f"sent {key}")
            order = resources_pb2.Order(client_order_id=key)
            answer = order_entry_pb2.EnterOrdersResponse(entry_id=request.entry_id, order=order)
            self._answers.put_nowait(answer)

    def __aiter__(self) -> _Call:
        return self

    async def __anext__(self) -> order_entry_pb2.EnterOrdersResponse:
        self.seen.append("asked")
        return await self._answers.get()

    def cancel(self) -> None:
        """End the call."""
        self._sending.cancel()


class _Stub:
    """Opens the call."""

    def __init__(self) -> None:
        self.call: _Call | None = None

    def EnterOrders(self, requests: Any, **_: Any) -> _Call:  # noqa: N802 - the method's own name
        """Open the call."""
        self.call = _Call(requests)
        return self.call


def _request(key: str, order_class: types_pb2.OrderClass.ValueType) -> Any:
    return resources_pb2.PlaceOrderRequest(client_order_id=key, order_class=order_class)


async def _place_in_turn(entry: OrderEntry, first: types_pb2.OrderClass.ValueType) -> None:
    """Place a first order and, as soon as it is answered, from another task a second."""
    await entry.place(_request("first", first), _WAIT_SECONDS)
    hedge = _request("second", types_pb2.ORDER_CLASS_HEDGE)
    await asyncio.create_task(entry.place(hedge, _WAIT_SECONDS))


@pytest.mark.parametrize(
    ("first", "between"),
    [(types_pb2.ORDER_CLASS_ENTRY, []), (types_pb2.ORDER_CLASS_EXIT, ["asked"])],
)
async def test_a_hedge_leaves_before_the_next_answer_is_asked_for(
    first: types_pb2.OrderClass.ValueType, between: list[str]
) -> None:
    """Only after a lead's answer reading waits; nothing follows at once from any other."""
    stub: Any = _Stub()
    async with open_order_entry("venue", stub, SystemClock()) as entry:
        # A few turns: the call is opened, and its first answer read.
        for _ in range(_OPENING_TURNS):
            await asyncio.sleep(0)
        assert entry.is_open
        await _place_in_turn(entry, first)
        seen = stub.call.seen
    sent = [index for index, what in enumerate(seen) if what.startswith("sent")]
    assert seen[sent[0] + 1 : sent[1]] == between


async def test_an_answer_that_cannot_be_read_ends_its_call_and_not_order_entry() -> None:
    """Who waits is told at once, and the next order goes by the next call."""
    stub: Any = _Stub()
    async with open_order_entry("venue", stub, SystemClock()) as entry:
        for _ in range(_OPENING_TURNS):
            await asyncio.sleep(0)
        broken = stub.call
        # What gRPC hands over for bytes that it cannot decode.
        broken._answers.put_nowait(None)
        with pytest.raises(OutcomeUnknownError):
            await entry.place(_request("first", types_pb2.ORDER_CLASS_ENTRY), _WAIT_SECONDS)
        async with asyncio.timeout(_WAIT_SECONDS):
            while not entry.is_open:  # noqa: ASYNC110 - no event tells of it
                await asyncio.sleep(0.01)
        order = await entry.place(_request("second", types_pb2.ORDER_CLASS_EXIT), _WAIT_SECONDS)
    assert order.client_order_id == "second"
    assert stub.call is not broken
