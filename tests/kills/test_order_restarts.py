"""A connector process killed or stopped in mid order, and what its successor makes of it."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest

from opensqt.market_maker.v1 import exchange_pb2, exchange_pb2_grpc, types_pb2
from services.common.call_errors import translated
from services.common.errors import AlreadyExistsError, NotFoundError
from services.connector.settings import ConnectorPart
from tests.support.connector import (
    BUY,
    LIMIT,
    best_prices,
    by_id,
    connector_part,
    connector_process,
    eventually,
    number,
    order,
)
from tests.support.simulator import Control, running_simulator

FENCE_SECONDS = 1.2
ANSWERS_HELD = [
    {
        "id": "held",
        "match": {"operation": "order_event"},
        "action": {"type": "event_late", "seconds": 60},
    },
    {
        "id": "asked",
        "match": {"operation": "get_order"},
        "action": {"type": "delay", "seconds": 30},
    },
]
KINDS = pytest.mark.parametrize("code", ["binance", "binanceusdm"])
# The last two tell nothing in the reply that is lost: the ledger holds an order only sent.
EVERY_KIND = pytest.mark.parametrize("code", ["binance", "binanceusdm", "okx-swap", "bybit-linear"])


async def place_and_kill(
    part: ConnectorPart, folder: Path, control: Control, client_order_id: str
) -> None:
    """Place an order and kill the connector as soon as the armed fault holds its reply back."""

    async def struck() -> bool:
        return bool((await control.get("faults"))[0]["applied"])

    async with connector_process(part, folder) as connector:
        call = bench_call(connector.stub, client_order_id)
        await eventually(struck)
        assert connector.process is not None
        connector.process.kill()
        await connector.process.wait()
        code = await call.code()
        # The engine reads a broken connection after sending as an unknown outcome.
        assert code == grpc.StatusCode.UNAVAILABLE
    await control.delete("faults")


def bench_call(stub: Any, client_order_id: str) -> Any:
    """Start a call that places a market order."""
    return stub.PlaceOrder(order(BUY, "0.01", client_order_id=client_order_id), timeout=10)


@EVERY_KIND
async def test_killed_after_the_venue_took_the_order(code: str, tmp_path: Path) -> None:
    """The successor finds the fill within the fence, and the same request sends nothing."""
    async with running_simulator() as simulator:
        control = Control(simulator.address)
        part = connector_part(code, simulator.address, tmp_path)
        await control.fault(
            {"type": "delay", "seconds": 30, "when": "after"}, operation="place_order"
        )
        # Else the stream, or a question at its start, tells the fill before the process is killed.
        await control.post("faults", ANSWERS_HELD)
        await place_and_kill(part, tmp_path, control, "dead1")
        async with connector_process(part, tmp_path) as connector:
            with translated():
                got = await connector.stub.GetOrder(by_id("dead1"), timeout=FENCE_SECONDS + 5)
                again = await bench_call(connector.stub, "dead1")
            with pytest.raises(AlreadyExistsError), translated():
                await connector.stub.PlaceOrder(
                    order(BUY, "0.02", client_order_id="dead1"), timeout=5
                )
        assert number(got.executed_qty) == Decimal("0.01")
        assert got.fees
        assert again.exchange_order_id == got.exchange_order_id
        assert len(await control.get("requests")) == 1


@KINDS
async def test_killed_before_the_venue_saw_the_order(code: str, tmp_path: Path) -> None:
    """The successor proves by the fence that nothing arrived, within the fence and five seconds."""
    async with running_simulator() as simulator:
        control = Control(simulator.address)
        part = connector_part(code, simulator.address, tmp_path)
        await control.fault(
            {"type": "delay", "seconds": 3, "when": "before"}, operation="place_order"
        )
        await place_and_kill(part, tmp_path, control, "dead2")
        async with connector_process(part, tmp_path) as connector:
            started = time.monotonic()
            with pytest.raises(NotFoundError) as missing, translated():
                await connector.stub.GetOrder(by_id("dead2"), timeout=FENCE_SECONDS + 5)
            assert missing.value.reason == "ORDER_NOT_ARRIVED"
            assert time.monotonic() - started < FENCE_SECONDS + 5
        assert await control.get("trades") == []


async def test_closed_order_is_remembered_without_asking(tmp_path: Path) -> None:
    """After a clean restart the same id returns the same order, and other content is refused."""
    async with running_simulator() as simulator:
        control = Control(simulator.address)
        part = connector_part("binance", simulator.address, tmp_path)
        async with connector_process(part, tmp_path) as connector:
            first = await bench_call(connector.stub, "kept1")
        async with connector_process(part, tmp_path) as connector:
            again = await bench_call(connector.stub, "kept1")
            got = await connector.stub.GetOrder(by_id("kept1"), timeout=5)
        assert again == first
        assert got == first
        assert len(await control.get("requests")) == 1


async def test_resting_order_is_taken_up_again(tmp_path: Path) -> None:
    """A limit order placed before a restart is live after it, and canceled by its client id."""
    async with running_simulator() as simulator:
        part = connector_part("binanceusdm", simulator.address, tmp_path)
        async with connector_process(part, tmp_path) as connector:
            bid, _ = await best_prices(connector.stub)
            price = str((bid * Decimal("0.98")).quantize(Decimal(1)))
            await connector.stub.PlaceOrder(
                order(BUY, type=LIMIT, price=price, client_order_id="rest2"), timeout=5
            )
        async with connector_process(part, tmp_path) as connector:
            got = await connector.stub.GetOrder(by_id("rest2"), timeout=5)
            assert got.status == types_pb2.ORDER_STATUS_NEW
            await connector.stub.CancelOrder(
                exchange_pb2.CancelOrderRequest(symbol="BTCUSDT", client_order_id="rest2"),
                timeout=5,
            )
            got = await connector.stub.GetOrder(by_id("rest2"), timeout=5)
            assert got.status == types_pb2.ORDER_STATUS_CANCELED


async def test_two_connectors_never_share_a_ledger(tmp_path: Path) -> None:
    """A second process on the same ledger refuses to start."""
    async with running_simulator() as simulator:
        part = connector_part("binance", simulator.address, tmp_path)
        async with connector_process(part, tmp_path):
            other = tmp_path / "other"
            other.mkdir()
            with pytest.raises(AssertionError, match="ended before it was ready"):
                async with connector_process(part, other):
                    pass


async def test_a_caller_that_hangs_up_in_mid_send_cancels_nothing(tmp_path: Path) -> None:
    """Its connection breaks while the venue works; whoever asks again joins the one order."""
    async with running_simulator() as simulator:
        control = Control(simulator.address)
        part = connector_part("binanceusdm", simulator.address, tmp_path)
        await control.fault(
            {"type": "delay", "seconds": 0.3, "when": "before"}, operation="place_order"
        )

        async def struck() -> bool:
            return bool((await control.get("faults"))[0]["applied"])

        async with connector_process(part, tmp_path) as connector:
            async with grpc.aio.insecure_channel(connector.address) as broken:
                call = bench_call(exchange_pb2_grpc.ExchangeServiceStub(broken), "hung1")
                await eventually(struck)
                # Closing the channel cancels the call at the server in the middle of the send.
                del call
            with pytest.raises(grpc.aio.AioRpcError) as late:
                await connector.stub.PlaceOrder(
                    order(BUY, "0.01", client_order_id="hung1"), timeout=0.05
                )
            assert late.value.code() in (
                grpc.StatusCode.UNKNOWN,
                grpc.StatusCode.DEADLINE_EXCEEDED,
            )
            joined = await bench_call(connector.stub, "hung1")
        assert number(joined.executed_qty) == Decimal("0.01")
        assert len(await control.get("requests")) == 1
