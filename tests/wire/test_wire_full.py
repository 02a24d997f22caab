"""A hundred thousand malformed requests and ten thousand hanging calls: `make test-wire`.

Real processes on loopback. What is compared is said in the output: a good caller beside a flood of
valid cheap calls, and beside as wide a flood of malformed ones. Beside an idle server the figure is
shown as well; on two cores any flood doubles it, a valid one too.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from google.type import decimal_pb2

from opensqt.market_maker.v1 import exchange_pb2, resources_pb2, trading_state_pb2, types_pb2
from services.engine.order_entry import OrderEntry
from tests.support.connector import best_prices
from tests.support.raw_wire import ATTACKS, attack
from tests.support.wire_stage import (
    FLOODER,
    GOOD,
    Latencies,
    Stage,
    good_channel,
    order_entry,
    run_json,
    steady,
    symbol_info,
    wire_stage,
)

COUNT = 100_000
RAW_COUNT = 100
HANGING = 10_000
TURNS, SOUND_SECONDS = 8, 5
AT_ONCE = 32
PAUSE = 0.01
MAX_RATIO = 2.0
MAX_GROWTH_MIB = 64.0
Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Return what prints a line past the capture."""

    def line(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(text + "\n")

    return line


def told(counts: Counter[str]) -> str:
    """Return counts on one line."""
    return ", ".join(f"{name}: {count}" for name, count in sorted(counts.items()))


def figures(latencies: Latencies) -> str:
    """Return median, p99 and count."""
    return (
        f"p50 {latencies.percentile(0.5):7.2f} ms  p99 {latencies.percentile(0.99):7.2f} ms"
        f"  ({len(latencies.seconds)} calls, failed: {told(latencies.failed) or 'none'})"
    )


async def flooded(
    stage: Stage, turn: int, *, malformed: bool, seconds: float
) -> tuple[Any, Latencies]:
    """Run a flood and the good caller beside it."""
    plan = {
        "address": stage.address,
        "token": FLOODER,
        "malformed": malformed,
        "count": COUNT // TURNS,
        "seed": turn,
        "at_once": AT_ONCE,
        "seconds": seconds,
    }
    result: tuple[Any, Latencies] = await steady(
        symbol_info(stage.stub), run_json("wire_flood", plan), PAUSE
    )
    return result


@pytest.mark.timeout(1_200)
async def test_a_hundred_thousand_malformed_requests(tmp_path: Path, say: Say) -> None:
    """No crash, no UNKNOWN, no INTERNAL; a good caller's p99 at most doubled by their being bad."""
    async with wire_stage(tmp_path) as stage:
        call = symbol_info(stage.stub)
        _, idle = await steady(call, asyncio.sleep(5), PAUSE)
        before = stage.resident_mib()
        # In turns: whatever else the machine does falls on all alike, or on few of the turns.
        sound, bad, counts, seconds = Latencies(), Latencies(), Counter[str](), 0.0
        raw, beside_raw, ratios = Counter[str](), Latencies(), list[float]()
        for turn in range(TURNS):
            _, beside = await flooded(stage, turn, malformed=False, seconds=SOUND_SECONDS)
            sound.add(beside)
            (ends, took), worse = await flooded(stage, turn, malformed=True, seconds=1_000)
            bad.add(worse)
            ratios.append(worse.percentile(0.99) / beside.percentile(0.99))
            counts.update(ends)
            seconds += took
            for name in list(ATTACKS)[turn::TURNS]:
                attacking = attack(stage.address, name, RAW_COUNT, seed=1)
                ends, during = await steady(call, attacking, PAUSE)
                raw += ends
                beside_raw.add(during)
        after = stage.resident_mib()
        await call()
    codes: Counter[str] = Counter()
    for name, count in counts.items():
        codes[name.partition(" ")[2]] += count
    say(f"\nmalformed requests: {sum(codes.values())} in {seconds:.0f} s, {AT_ONCE} at once")
    say(f"  by kind and code: {told(counts)}")
    say(f"  codes: {told(codes)}")
    say(f"  connections that speak no gRPC, by attack and end: {told(raw)}")
    say(f"  good caller, idle server             {figures(idle)}")
    say(f"  good caller beside valid flood       {figures(sound)}")
    say(f"  good caller beside malformed flood   {figures(bad)}")
    say(f"  good caller beside raw attacks       {figures(beside_raw)}")
    ratio = statistics.median(ratios)
    raw_ratio = beside_raw.percentile(0.99) / sound.percentile(0.99)
    of_turns = " ".join(f"{one:.2f}" for one in sorted(ratios))
    say(f"  p99 ratio to the valid flood: malformed {ratio:.2f} ({of_turns}), raw {raw_ratio:.2f}")
    say(f"  p99 ratio to the idle server: {bad.percentile(0.99) / idle.percentile(0.99):.2f}")
    say(f"  resident memory: {before:.0f} MiB before, {after:.0f} MiB after all of it")
    assert sum(codes.values()) == COUNT
    assert not {"UNKNOWN", "INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED"} & set(codes)
    assert sum((idle.failed + sound.failed + bad.failed + beside_raw.failed).values()) == 0
    assert max(ratio, raw_ratio) <= MAX_RATIO
    assert after - before <= MAX_GROWTH_MIB


async def resting_price(stage: Stage) -> str:
    """Return a price at which a buy order rests: five in a hundred under the best bid."""
    bid, _ = await best_prices(stage.stub)
    return f"{bid * Decimal('0.95'):.0f}"


def leave() -> Any:
    """Return an exit: a market sale of a little of what the account holds."""
    return resources_pb2.PlaceOrderRequest(
        symbol="BTCUSDT",
        side=types_pb2.ORDER_SIDE_SELL,
        type=types_pb2.ORDER_TYPE_MARKET,
        quantity=decimal_pb2.Decimal(value="0.001"),
        order_class=types_pb2.ORDER_CLASS_EXIT,
    )


async def exits(
    address: str, token: str, count: int, entry: OrderEntry, *, halts: bool = True
) -> dict[str, Latencies]:
    """Make exits both ways, cancels and halts one after the other on a connection of their own.

    Without halts where orders are still to come that shall hang: a halt would refuse them.
    """
    names = ("exit, order entry", "exit", "cancel all", *(["halt"] if halts else []))
    found = {name: Latencies() for name in names}
    cancel = exchange_pb2.CancelAllOrdersRequest(symbol="ETHUSDT")
    halt = trading_state_pb2.HaltTradingRequest(reason="wire test")
    async with good_channel(address, token) as stub:
        for _ in range(count):
            await found["exit, order entry"].measure(lambda: entry.place(leave(), 30))
            await found["exit"].measure(lambda: stub.PlaceOrder(leave(), timeout=30))
            await found["cancel all"].measure(lambda: stub.CancelAllOrders(cancel, timeout=30))
            if halts:
                await found["halt"].measure(lambda: stub.HaltTrading(halt, timeout=30))
            await asyncio.sleep(0.1)
    return found


@pytest.mark.timeout(300)
async def test_ten_thousand_hanging_calls(tmp_path: Path, say: Say) -> None:
    """Of one principal: its own exits, cancels and halts and the other's are all served."""
    async with (
        wire_stage(tmp_path) as stage,
        # Opened before the flood: what goes this way need not wait to be accepted.
        order_entry(stage.address, GOOD) as entry,
        order_entry(stage.address, FLOODER) as own_entry,
    ):
        quiet = await exits(stage.address, GOOD, 20, entry, halts=False)
        before = stage.resident_mib()
        plan = {
            "address": stage.address,
            "token": FLOODER,
            "count": HANGING,
            "price": await resting_price(stage),
            "settle": 10,
            "seconds": 8,
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.wire_hang", json.dumps(plan)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        meanwhile = await exits(stage.address, GOOD, 30, entry, halts=False)
        standing = json.loads(await process.stdout.readline())
        good = await exits(stage.address, GOOD, 20, entry)
        own = await exits(stage.address, FLOODER, 20, own_entry)
        peak = stage.resident_mib()
        last = json.loads(await process.stdout.readline())
        await process.wait()
    say(f"\nhanging calls by one principal: {sum(standing.values())}")
    say(f"  how they stand: {told(Counter(standing))}")
    say(f"  seconds later:  {told(Counter(last))}")
    rows = (
        ("other principal, before", quiet),
        ("other principal, while they arrive", meanwhile),
        ("other principal, while they hang", good),
        ("same principal, while they hang", own),
    )
    for text, found in rows:
        for name, latencies in found.items():
            say(f"  {text:36s} {name:17s} {figures(latencies)}")
    say(f"  resident memory: {before:.0f} MiB before, {peak:.0f} MiB meanwhile")
    assert sum(standing.values()) == HANGING
    assert sum(count for name, count in standing.items() if "hanging" in name) > 100
    assert not any(latencies.failed for _, row in rows for latencies in row.values())
