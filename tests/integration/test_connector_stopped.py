"""A connector process told to stop with orders in flight: none is lost, and it ends with code 0."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from opensqt.market_maker.v1 import order_entry_pb2
from services.common.time_codec import to_duration
from services.connector.servicer import SERVICE_NAME
from tests.support.connector import (
    BUY,
    by_id,
    connector_part,
    connector_process,
    eventually,
    number,
    order,
)
from tests.support.simulator import Control, running_simulator

REPLY_HELD = {"type": "delay", "seconds": 0.5, "when": "after"}
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_orders_in_flight_at_the_stop_are_answered_or_known(tmp_path: Path) -> None:
    """SIGTERM in mid order: NOT_SERVING, the sends finish, code 0, and the successor knows both."""
    async with running_simulator() as simulator:
        control = Control(simulator.address)
        part = connector_part("binance", simulator.address, tmp_path)

        async def both_struck() -> bool:
            return len(await control.get("orders")) == 2

        async with connector_process(part, tmp_path) as connector:
            await control.fault(REPLY_HELD, operation="place_order")
            async with grpc.aio.insecure_channel(connector.address) as channel:
                probe: Any = health_pb2_grpc.HealthStub(channel)
                asked = health_pb2.HealthCheckRequest(service=SERVICE_NAME)
                states = aiter(probe.Watch(asked))
                assert (await anext(states)).status == SERVING
                entries = connector.stub.EnterOrders(_one_entry("stop1"))
                opening = await anext(aiter(entries))
                assert opening.entry_id == 0
                call = connector.stub.PlaceOrder(order(BUY, "0.01", client_order_id="stop2"))
                await eventually(both_struck)
                assert connector.process is not None
                connector.process.terminate()
                assert (await anext(states)).status == NOT_SERVING
                assert number((await call).executed_qty) == Decimal("0.01")
                # The stream of orders may have told the fill before the stop: then it is answered.
                with pytest.raises(grpc.aio.AioRpcError) as ended:
                    await _read_filled(entries)
                # Without an answer the outcome is open to the caller, who asks the successor.
                assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
            assert await connector.process.wait() == 0
        async with connector_process(part, tmp_path) as connector:
            for name in ("stop1", "stop2"):
                got = await connector.stub.GetOrder(by_id(name), timeout=10)
                assert number(got.executed_qty) == Decimal("0.01")
        assert len(await control.get("orders")) == 2


async def _read_filled(entries: Any) -> None:
    async for answer in entries:
        assert number(answer.order.executed_qty) == Decimal("0.01")


async def _one_entry(name: str) -> AsyncIterator[order_entry_pb2.EnterOrdersRequest]:
    yield order_entry_pb2.EnterOrdersRequest(
        entry_id=1,
        order=order(BUY, "0.01", client_order_id=name),
        timeout=to_duration(timedelta(seconds=10)),
    )
    # The caller keeps its call open, as the engine does.
    await asyncio.Event().wait()
