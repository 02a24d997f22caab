"""Random fault sequences with SIGKILL: the ledger equals the venue's books each time.

`KILL_SEQUENCES` says how many sequences there are in all (the shards share them); a sequence is a
function of its number, so a failing one is run again by `KILL_FIRST=<its number>`.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from opensqt.market_maker.v1 import resources_pb2, types_pb2
from services.common.call_errors import translated
from services.common.errors import NotFoundError, OpensqtError
from services.connector.order_text import read_state
from services.connector.settings import ConnectorPart
from tests.support.connector import (
    BUY,
    GTC,
    IOC,
    LIMIT,
    SELL,
    RunningConnector,
    best_prices,
    by_id,
    connector_part,
    connector_process,
    number,
    order,
)
from tests.support.simulator import Control, running_simulator

SHARDS: Final = ("binance", "binanceusdm", "okx-swap", "bybit-linear")
SEQUENCES: Final = int(os.environ.get("KILL_SEQUENCES", "8"))
FIRST: Final = int(os.environ.get("KILL_FIRST", "0"))
FENCE_SECONDS: Final = 0.7
PATIENCE_SECONDS: Final = FENCE_SECONDS + 30

LIVES: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5)
"""Longest seconds a connector lives after its orders came in, one drawn for each life."""

LOSSES: Final[tuple[dict[str, Any], ...]] = (
    {"type": "drop_before"},
    {"type": "drop_after"},
    {"type": "empty_body"},
    {"type": "truncate_body", "bytes": 40},
    {"type": "http_status", "status": 502, "body": "<html>", "when": "after"},
    {"type": "http_status", "status": 503, "body": "", "when": "before"},
    {"type": "late_execution", "seconds": 0.25},
    {"type": "partial", "ratio": "0.4"},
    {"type": "zero_fill"},
    {"type": "delay", "seconds": 0.2, "when": "before"},
    {"type": "delay", "seconds": 0.3, "when": "after"},
)
TELLINGS: Final[tuple[dict[str, Any], ...]] = (
    {"type": "event_late", "seconds": 1.0},
    {"type": "event_duplicate"},
    {"type": "event_reorder"},
    {"type": "stream_cut"},
)


# Mutable: counts what the shard has seen.
@dataclass
class Tally:
    """What came to pass over the sequences of one shard."""

    sequences: int = 0
    orders: int = 0
    ends: Counter[str] = field(default_factory=Counter)

    def line(self, venue: str) -> str:
        """Return the line of the report."""
        ends = ", ".join(f"{count} {end}" for end, count in sorted(self.ends.items()))
        return f"{venue}: {self.sequences} sequences, {self.orders} orders: {ends}"


def draw_faults(dice: random.Random) -> list[dict[str, Any]]:
    """Return up to three faults on orders, questions and events."""
    drawn = []
    for number_drawn in range(dice.randint(0, 3)):
        is_event = dice.random() < 0.3
        action = dice.choice(TELLINGS if is_event else LOSSES)
        operation = "order_event" if is_event else "place_order"
        if not is_event and action["type"] in ("drop_before", "http_status", "delay"):
            operation = dice.choice(("place_order", "place_order", "get_order"))
        match = {"operation": operation, "probability": 0.6, "seed": dice.randrange(1 << 30)}
        # Questions fail for a while only, or nothing would ever be told.
        if operation == "get_order":
            match["times"] = 3
        drawn.append({"id": f"f{number_drawn}", "match": match, "action": action})
    return drawn


def draw_order(
    dice: random.Random, name: str, bid: Decimal, ask: Decimal
) -> resources_pb2.PlaceOrderRequest:
    """Return a market order, an IOC with a bound or an order that rests."""
    side = dice.choice((BUY, SELL))
    quantity = str(Decimal(dice.randint(1, 5)) / 100)
    kind = dice.random()
    if kind < 0.5:
        return order(side, quantity, client_order_id=name)
    best, way = (ask, 1) if side == BUY else (bid, -1)
    ratio = Decimal(1) + way * Decimal("0.02") if kind < 0.8 else Decimal(1) - way * Decimal("0.1")
    price = (best * ratio).quantize(Decimal(1))
    patience = IOC if kind < 0.8 else GTC
    return order(
        side, quantity, client_order_id=name, type=LIMIT, time_in_force=patience, price=price
    )


async def place_and_kill(
    connector: RunningConnector,
    requests: list[resources_pb2.PlaceOrderRequest],
    dice: random.Random,
) -> None:
    """Send orders at once and kill the connector at a random moment among their lives."""
    assert connector.process is not None
    calls = [connector.stub.PlaceOrder(request, timeout=10) for request in requests]
    # The same request again, as a client does that lost its patience.
    calls.append(connector.stub.PlaceOrder(dice.choice(requests), timeout=10))
    await asyncio.sleep(dice.choice(LIVES) * dice.random())
    connector.process.kill()
    await connector.process.wait()
    await asyncio.gather(*(settled(call) for call in calls))


async def settled(call: Any) -> None:
    """Wait for the end of a call, whatever it is."""
    try:
        await call
    except grpc.aio.AioRpcError:
        return


async def find_end(stub: Any, name: str) -> resources_pb2.Order | None:
    """Ask for an order until its end is proven; None: it is not at the venue."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                with translated():
                    found: resources_pb2.Order = await stub.GetOrder(by_id(name), timeout=5)
            except NotFoundError:
                return None
            except OpensqtError:
                await asyncio.sleep(0.05)
            else:
                return found


async def check_books(
    name: str, found: resources_pb2.Order | None, control: Control, tally: Tally
) -> None:
    """Hold what the connector says of an order to the venue's books."""
    books = [row for row in await control.get("orders") if row["client_order_id"] == name]
    sent = [row for row in await control.get("requests") if row["client_order_id"] == name]
    assert len(sent) <= 1, f"{name} was sent {len(sent)} times"
    assert len(books) <= 1, f"{name} is at the venue {len(books)} times"
    tally.orders += 1
    if found is None:
        assert not books, f"{name} is at the venue, and was said not to be"
        tally.ends["not there"] += 1
        return
    if found.status == types_pb2.ORDER_STATUS_REJECTED and not books:
        # Refused by the venue, for want of funds for example: told with nothing executed.
        assert number(found.executed_qty) == 0, name
        tally.ends["refused"] += 1
        return
    assert books, f"{name} is not at the venue, and was said to be"
    assert number(found.executed_qty) == Decimal(books[0]["executed"]), name
    tally.ends["filled" if number(found.executed_qty) else "unfilled"] += 1


async def check_ledger(path: Path, names: list[str], control: Control) -> None:
    """Hold the rows of the ledger to the venue's books, once its last rows are written.

    A caller is answered before its order's end is written: the row is open until then.
    """
    for _ in range(round(PATIENCE_SECONDS / 0.05)):
        if not await find_parting(path, names, control):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("; ".join(await find_parting(path, names, control)))


async def find_parting(path: Path, names: list[str], control: Control) -> list[str]:
    """Return where ledger and books differ: same orders, same quantities is what must hold."""
    books = {row["client_order_id"]: row for row in await control.get("orders")}
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT client_order_id, state FROM orders").fetchall()
    connection.close()
    held = [name for name, _ in rows]
    assert len(set(held)) == len(held)
    found: list[str] = []
    for name, text in rows:
        state = read_state(text) if text else None
        executed = Decimal(0) if state is None else state.executed
        at_venue = Decimal(books[name]["executed"]) if name in books else Decimal(0)
        if executed != at_venue:
            found.append(f"{name}: ledger {executed}, venue {at_venue}")
    unknown = [name for name in names if name in books and name not in held]
    return [*found, *(f"{name} is at the venue without a row" for name in unknown)]


async def check_life(
    connector: RunningConnector, part: ConnectorPart, names: list[str], tally: Tally
) -> None:
    """Hold what a killed connector left behind, as its successor has it, to the venue's books."""
    control = control_of(part)
    for name in names:
        await check_books(name, await find_end(connector.stub, name), control, tally)
    await check_ledger(part.ledger_path, names, control)
    tally.sequences += 1


async def live_and_die(connector: RunningConnector, part: ConnectorPart, seed: int) -> list[str]:
    """Place orders under faults and kill the connector; return the ids of the orders."""
    dice = random.Random(seed)
    bid, ask = await patient_prices(connector.stub)
    names = [f"k{seed}n{index}" for index in range(dice.randint(2, 5))]
    requests = [draw_order(dice, name, bid, ask) for name in names]
    await control_of(part).post("faults", draw_faults(dice))
    await place_and_kill(connector, requests, dice)
    return names


async def patient_prices(stub: Any) -> tuple[Decimal, Decimal]:
    """Return best bid and ask; on a busy machine the venue may not answer within the 0.6 s."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                return await best_prices(stub)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)


def control_of(part: ConnectorPart) -> Control:
    """Return the control of the simulator that a connector is on."""
    return Control(str(part.base_url).removeprefix("http://"))


@pytest.mark.timeout(0)
@pytest.mark.parametrize("venue", SHARDS)
async def test_no_sequence_of_faults_and_kills_parts_ledger_and_books(
    venue: str, tmp_path: Path, record_property: Any
) -> None:
    """Each order is at the venue at most once, and known for what it became."""
    tally = Tally()
    mine = range(FIRST + SHARDS.index(venue), FIRST + SEQUENCES, len(SHARDS))
    async with running_simulator() as simulator:
        part = connector_part(
            venue,
            simulator.address,
            tmp_path,
            recv_window_ms=300,
            venue_processing_seconds=0.3,
            request_timeout_seconds=0.6,
        )
        names: list[str] = []
        # Each connector first answers for its predecessor, then lives and dies itself.
        for seed in (*mine, None):
            try:
                async with connector_process(part, tmp_path) as connector:
                    if names:
                        await check_life(connector, part, names, tally)
                    if seed is not None:
                        names = await live_and_die(connector, part, seed)
            except Exception as error:
                error.add_note(f"{venue}, before or in sequence {seed}, after orders {names}")
                raise
            await control_of(part).delete("faults")
    record_property("told", f"ledger against the books of {tally.line(venue)}")
