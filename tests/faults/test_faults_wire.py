"""Rows 43 to 49: callers that are broken, hostile or nosy. The venue must not notice any of it."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import grpc
import pytest

from opensqt.market_maker.v1 import exchange_pb2
from services.common.errors import OpensqtError
from tests.support import malformed
from tests.support.connector import order
from tests.support.fault_bench import Cell, FaultBench, fault_bench
from tests.support.malformed import MalformedCall
from tests.support.raw_wire import attack
from tests.support.simulator import API_SECRET
from tests.support.wire_flood import end_of, flood
from tests.support.wire_stage import FLOODER, GOOD, good_channel, wire_stage

REFUSED = {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED", "NOT_FOUND"}
SHAPES = {
    43: (
        malformed.enum_field,
        malformed.missing_field,
        malformed.invalid_text,
        malformed.random_bytes,
        malformed.truncated,
        malformed.deep_nesting,
        malformed.many_items,
    ),
    44: (malformed.oversize, malformed.long_headers, malformed.many_symbols),
}
HANDSHAKES = ("silent", "half handshake")
CONNECTIONS = {
    45: ("garbage", "http/1.1", "bad preface", "bad frames", "rapid reset", "settings flood"),
    46: ("silent", "half handshake", "endless headers"),
}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[FaultBench]:
    """Run one connector: what happens on the wire is the same before every venue."""
    async with fault_bench("binance", tmp_path) as running:
        yield running


async def no_trace(bench: FaultBench, cell: Cell) -> None:
    """Hold that nothing reached the venue and that the connector still serves."""
    info = await bench.stub.GetSymbolInfo(
        exchange_pb2.GetSymbolInfoRequest(symbol="BTCUSDT"), timeout=5
    )
    assert info.symbol == "BTCUSDT"
    await cell.settle(bench, orders=0, filled=0, arrived=0)


async def send_shapes(bench: FaultBench, row: int) -> Counter[str]:
    """Send a hundred requests of the row's shapes; return how they ended."""
    dice = random.Random(row)
    makers = SHAPES[row]
    calls = [makers[index % len(makers)](dice) for index in range(100 if row == 43 else 12)]
    return await flood(bench.connector_address, "unused", iter(calls), 8, time.monotonic() + 120)


@pytest.mark.fault(43, "broken shapes: enums, absences, bytes, nesting, repeats", venues=())
async def test_row_43(bench: FaultBench, cell: Cell) -> None:
    """Each is refused by name, none is an internal error."""
    ends = await send_shapes(bench, 43)
    assert {end.partition(" ")[2] for end in ends} <= REFUSED, ends
    await no_trace(bench, cell)


@pytest.mark.fault(44, "message, metadata and list beyond the bounds", venues=())
async def test_row_44(bench: FaultBench, cell: Cell) -> None:
    """Refused as too much, before it is read."""
    ends = await send_shapes(bench, 44)
    assert {end.partition(" ")[2] for end in ends} <= REFUSED, ends
    await no_trace(bench, cell)


@pytest.mark.fault(45, "garbage, wrong protocol, resets, settings floods", venues=())
async def test_row_45(bench: FaultBench, cell: Cell) -> None:
    """The connection is closed; the service goes on."""
    for name in CONNECTIONS[45]:
        await attack(bench.connector_address, name, 5, seed=45, wait=3.0)
    await no_trace(bench, cell)


@pytest.mark.fault(46, "silent connections, half handshakes, endless headers", venues=())
async def test_row_46(bench: FaultBench, cell: Cell) -> None:
    """They are closed within the time a handshake has."""
    ends = Counter[str]()
    for name in CONNECTIONS[46]:
        wait = 40.0 if name in HANDSHAKES else 6.0
        ends += await attack(bench.connector_address, name, 5, seed=46, wait=wait)
    assert all(ends[f"{name} closed"] == 5 for name in HANDSHAKES)
    await no_trace(bench, cell)


@pytest.mark.timeout(300)
@pytest.mark.fault(47, "hundreds of hanging calls by one principal")
async def test_row_47(tmp_path: Path, cell: Cell) -> None:
    """Another principal's exits, and its own cancels, are served meanwhile."""
    async with wire_stage(tmp_path) as stage, good_channel(stage.address, FLOODER) as flooder:
        request = exchange_pb2.SubscribePriceRequest(symbols=["BTCUSDT"])
        hanging = [flooder.SubscribePrice(request) for _ in range(500)]
        cancel = exchange_pb2.CancelAllOrdersRequest(symbol="BTCUSDT")
        async with good_channel(stage.address, GOOD) as good:
            leave = order(quantity="0.001", order_class="ORDER_CLASS_EXIT")
            placed = await good.PlaceOrder(leave, timeout=10)
            await good.CancelAllOrders(cancel, timeout=10)
        await flooder.CancelAllOrders(cancel, timeout=10)
        for call in hanging:
            call.cancel()
        executed = Decimal(placed.executed_qty.value)
        assert executed > 0
        cell.enter(1, executed)


@pytest.mark.timeout(300)
@pytest.mark.fault(48, "no token, wrong token, look-alike methods")
async def test_row_48(tmp_path: Path, cell: Cell) -> None:
    """Refused before any work; not one order stands."""
    dice = random.Random(48)
    async with wire_stage(tmp_path) as stage, good_channel(stage.address, GOOD) as good:
        body = malformed.sound_order().SerializeToString()
        sound = MalformedCall("sound", malformed.PLACE, body)
        async with grpc.aio.insecure_channel(stage.address) as channel:
            ends = [await end_of(channel, sound, token) for token in ("", "wrong", GOOD[:-1])]
            ends += [await end_of(channel, malformed.wrong_token(dice), GOOD)]
            assert set(ends) == {"UNAUTHENTICATED"}
            alike = [await end_of(channel, malformed.look_alike(dice), GOOD) for _ in range(10)]
            assert not {"OK", "INTERNAL", "UNKNOWN"} & set(alike)
        orders = await good.GetOpenOrders(exchange_pb2.GetOpenOrdersRequest(), timeout=10)
        assert not orders.orders
        cell.enter(0, Decimal(0))


@pytest.mark.fault(49, "secrets in what a venue answers", venues=())
async def test_row_49(bench: FaultBench, cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    """A venue that echoes the key's secret gets it into no error and no log."""
    echo = f"bad request secret={API_SECRET} signature={'ab' * 32}"
    await bench.fault(
        {"type": "reject", "code": -2010, "msg": echo, "status": 400}, "place_order", times=1
    )
    with pytest.raises(OpensqtError) as refused:
        await bench.place("canary1")
    told = f"{refused.value.message} {refused.value.metadata} {capsys.readouterr()}"
    assert API_SECRET not in told
    assert "ab" * 32 not in told
    await cell.settle(bench, orders=0, filled=0, arrived=1)
