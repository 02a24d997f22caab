"""The entries of one order-entry call: an id names one entry at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

from opensqt.market_maker.v1 import order_entry_pb2, resources_pb2
from services.connector.servicers.order_entry import OrderEntryMethods


class SlowDesk(OrderEntryMethods):
    """A desk that answers when told; mutable, the test opens the gate."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.taken: list[str] = []
        self._place = self._take

    async def _admit(self) -> None:
        """Admit everybody: no engine is overtaken here."""

    async def _take(
        self, request: resources_pb2.PlaceOrderRequest, _path: str
    ) -> resources_pb2.Order:
        self.taken.append(request.client_order_id)
        await self.gate.wait()
        return resources_pb2.Order(client_order_id=request.client_order_id)


class PlainCall:
    """A call that tells nothing of itself."""

    def invocation_metadata(self) -> None:
        """Return nothing."""


async def test_an_entry_id_at_work_is_not_taken_again() -> None:
    """The second is refused at once and never placed; the first keeps its answer."""
    desk = SlowDesk()

    async def requests() -> AsyncIterator[order_entry_pb2.EnterOrdersRequest]:
        for name in ("one", "two"):
            placed = resources_pb2.PlaceOrderRequest(client_order_id=name)
            yield order_entry_pb2.EnterOrdersRequest(entry_id=7, order=placed)
            await asyncio.sleep(0)

    answers = desk.EnterOrders(requests(), cast("Any", PlainCall()))
    assert (await anext(answers)).entry_id == 0
    refused = await anext(answers)
    assert refused.HasField("error")
    desk.gate.set()
    assert (await anext(answers)).order.client_order_id == "one"
    assert desk.taken == ["one"]
    assert [row async for row in answers] == []
