"""A connector on the wire refuses what an engine sends that was overtaken."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest

from opensqt.market_maker.v1 import exchange_pb2, order_entry_pb2, resources_pb2, types_pb2
from services.common.call_errors import from_status, translated
from services.common.engine_epoch import epoch_metadata
from services.common.errors import NotFoundError, OpensqtError, PreconditionError
from tests.support.connector import (
    BUY,
    SELL,
    by_id,
    connector_part,
    order,
    running_connector,
)
from tests.support.simulator import Control, running_simulator


async def refusal_of(call: Any) -> OpensqtError:
    """Return the error that a call ends with."""
    with pytest.raises(OpensqtError) as refused, translated():
        await call
    return refused.value


def cancelling(client_order_id: str) -> exchange_pb2.CancelOrderRequest:
    """Return the request to take an order back."""
    return exchange_pb2.CancelOrderRequest(symbol="BTCUSDT", client_order_id=client_order_id)


class Entering:
    """An open call of order entry under an epoch."""

    def __init__(self, stub: Any, epoch: int) -> None:
        self._call = stub.EnterOrders(metadata=epoch_metadata(epoch))
        self._entries = count(1)

    async def opened(self) -> Entering:
        """Wait for the connector's first word."""
        with translated():
            await self._call.read()
        return self

    async def entered(self, placed: resources_pb2.PlaceOrderRequest) -> Any:
        """Send one order and return its answer."""
        request = order_entry_pb2.EnterOrdersRequest(entry_id=next(self._entries), order=placed)
        await self._call.write(request)
        return await self._call.read()


async def test_who_was_overtaken_can_neither_open_nor_close(tmp_path: Path) -> None:
    """By any way of sending, from the first question of the newer engine on, over a restart."""
    old, new = epoch_metadata(5), epoch_metadata(6)
    closing = order(
        SELL, client_order_id="a4", reduce_only=True, order_class=types_pb2.ORDER_CLASS_EXIT
    )
    async with running_simulator() as simulator:
        part = connector_part("binanceusdm", simulator.address, tmp_path)
        async with running_connector(part) as connector:
            stub = connector.stub
            await stub.PlaceOrder(order(BUY, client_order_id="a1"), metadata=old)
            entering = await Entering(stub, 5).opened()
            assert (await entering.entered(order(BUY, client_order_id="a2"))).HasField("order")
            # The newer engine only asks, and is told that there is no such order.
            asked = await refusal_of(stub.GetOrder(by_id("a3"), metadata=new))
            assert isinstance(asked, NotFoundError)
            # Over the call that was open before.
            for placed in (order(BUY, client_order_id="a3"), closing):
                answer = await entering.entered(placed)
                assert from_status(answer.error).reason == "EPOCH_SUPERSEDED"
        async with running_connector(part) as connector:
            stub = connector.stub
            for call in (
                stub.PlaceOrder(order(BUY, client_order_id="a3"), metadata=old),
                stub.PlaceOrder(closing, metadata=old),
                stub.CancelOrder(cancelling("a1"), metadata=old),
                Entering(stub, 5).opened(),
            ):
                refused = await refusal_of(call)
                assert isinstance(refused, PreconditionError)
                assert refused.reason == "EPOCH_SUPERSEDED"
            await stub.PlaceOrder(closing, metadata=new)
            await stub.PlaceOrder(order(BUY, client_order_id="by-hand"))
        rows = await Control(simulator.address).get("orders")
        assert [row["client_order_id"] for row in rows] == ["a1", "a2", "a4", "by-hand"]


async def test_an_engine_that_takes_over_is_known_once_it_opens_order_entry(
    tmp_path: Path,
) -> None:
    """Before it has sent or asked anything, the one before is refused."""
    async with running_simulator() as simulator:
        part = connector_part("binanceusdm", simulator.address, tmp_path)
        async with running_connector(part) as connector:
            await Entering(connector.stub, 6).opened()
            placing = connector.stub.PlaceOrder(order(BUY), metadata=epoch_metadata(5))
            assert (await refusal_of(placing)).reason == "EPOCH_SUPERSEDED"
        assert await Control(simulator.address).get("orders") == []


async def test_an_epoch_that_is_no_number_is_refused(tmp_path: Path) -> None:
    """By a call of its own and by order entry alike; nothing is sent."""
    broken = (("engine-epoch", "newest"),)
    async with running_simulator() as simulator:
        part = connector_part("binanceusdm", simulator.address, tmp_path)
        async with running_connector(part) as connector:
            refused = await refusal_of(connector.stub.PlaceOrder(order(BUY), metadata=broken))
            assert refused.reason == "FIELD_INVALID"
            call = connector.stub.EnterOrders(metadata=broken)
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await call.read()
            assert ended.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert await Control(simulator.address).get("orders") == []
