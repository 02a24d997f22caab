"""Malformed requests and broken connections, in the number a suite can afford.

`make test-wire` sends a hundred thousand to a process of its own, beside a good caller.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

from opensqt.market_maker.v1 import exchange_pb2
from tests.support.connector import connector_part, running_connector
from tests.support.malformed import (
    DECIMALS,
    KINDS,
    NUMBERS,
    PLACE,
    MalformedCall,
    malformed_calls,
    sound_order,
)
from tests.support.raw_wire import ATTACKS, attack
from tests.support.simulator import running_simulator
from tests.support.wire_flood import flood

COUNT = 600
CLOSED = ("garbage", "http/1.1", "bad preface", "silent", "half handshake")
"""Attacks whose connections the server closes by itself, within the time that a handshake has."""
REFUSALS = {
    "INVALID_ARGUMENT",
    "RESOURCE_EXHAUSTED",
    "UNIMPLEMENTED",
    "NOT_FOUND",
    "UNAUTHENTICATED",
}


def test_the_same_seed_makes_the_same_calls_and_all_kinds() -> None:
    """A finding can be repeated."""
    calls = list(malformed_calls(5_000, 7))
    assert calls == list(malformed_calls(5_000, 7))
    assert len({call.kind for call in calls}) == len(KINDS) - 1


async def test_no_malformed_request_is_taken_or_breaks_anything(tmp_path: Path) -> None:
    """Each ends with a refusal that names the fault; no order stands; sound calls go on."""
    async with (
        running_simulator() as simulator,
        running_connector(connector_part("binance", simulator.address, tmp_path)) as connector,
    ):
        until = time.monotonic() + 120
        # Without tokens on loopback, a wrong one is no fault.
        calls = [call for call in malformed_calls(COUNT, 3) if call.kind not in ("token", "noise")]
        counts = await flood(connector.address, "unused", iter(calls), 16, until)
        ends: Counter[str] = sum(
            await asyncio.gather(
                *(
                    attack(connector.address, name, 5, seed=2, wait=40 if name in CLOSED else 4)
                    for name in ATTACKS
                )
            ),
            Counter(),
        )
        open_orders = await connector.stub.GetOpenOrders(exchange_pb2.GetOpenOrdersRequest())
        info = await connector.stub.GetSymbolInfo(
            exchange_pb2.GetSymbolInfoRequest(symbol="BTCUSDT"), timeout=5
        )
    assert sum(counts.values()) == len(calls)
    assert {name.partition(" ")[2] for name in counts} <= REFUSALS
    assert not open_orders.orders
    assert info.symbol == "BTCUSDT"
    for name in CLOSED:
        assert ends[f"{name} closed"] == 5


async def test_every_number_is_refused_in_every_decimal_field(tmp_path: Path) -> None:
    """All of them times all fields: INVALID_ARGUMENT, before anything is asked of the venue."""
    calls = []
    for field in DECIMALS:
        for text in NUMBERS:
            order = sound_order()
            getattr(order, field).value = text
            calls.append(MalformedCall(f"{field} {text!r:.20}", PLACE, order.SerializeToString()))
    random.Random(1).shuffle(calls)
    async with (
        running_simulator() as simulator,
        running_connector(connector_part("binance", simulator.address, tmp_path)) as connector,
    ):
        counts = await flood(connector.address, "unused", iter(calls), 16, time.monotonic() + 20)
    assert sum(counts.values()) == len(calls)
    assert [name for name in counts if not name.endswith(" INVALID_ARGUMENT")] == []
