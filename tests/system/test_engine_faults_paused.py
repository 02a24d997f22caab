"""Processes stopped for ten seconds in mid-entry and in mid-exit, and continued."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cli.demo.stack import PERPETUAL, SPOT
from opensqt.market_maker.v1 import engine_pb2
from tests.support.fault_row import Tell, fault_options, tell_row
from tests.support.stack import CLOSED, FLAT, OPEN, StackDriver, in_time, running_stack
from tests.support.stack_cases import Position, held

pytestmark = [
    pytest.mark.system,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
]
PAUSE_SECONDS = 10.0
ENGINE, CONNECTOR = "engine", f"connector-{PERPETUAL}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StackDriver]:
    """Run the whole system."""
    async with running_stack(tmp_path_factory.mktemp("paused"), fault_options()) as driver:
        yield driver


def signal_to(stack: StackDriver, name: str, number: signal.Signals) -> None:
    """Send a signal to a service."""
    os.kill(stack.stack.services[name].pid, number)


async def in_mid_flight(stack: StackDriver) -> list[Position]:
    """Return positions in the midst of it: a hedge not sent, a hedge not answered, two exits."""
    leaving = await asyncio.gather(stack.enter("ADAUSDT"), stack.enter("BNBUSDT"))
    # The lead's fill is told half a second from now, when the other side is stopped.
    unheard = {"venue": SPOT, "symbol": "BTCUSDT"}
    await stack.silence("lead", 0.5, **unheard)
    await stack.fault("lead", held("after", 0.5), **unheard)
    await stack.silence("hedge", 2, venue=PERPETUAL, symbol="SOLUSDT")
    await stack.fault("hedge", held("after", 1), venue=PERPETUAL, symbol="SOLUSDT")
    await stack.fault("exit-sent", held("after", 1), venue=PERPETUAL, symbol="ADAUSDT")
    await stack.fault("exit-late", held("before", 0.5), venue=PERPETUAL, symbol="BNBUSDT")
    entering = await asyncio.gather(stack.open("BTCUSDT"), stack.open("SOLUSDT"))
    closing = await asyncio.gather(*map(stack.close, leaving))
    await stack.until_struck("lead", "hedge", "exit-sent", "exit-late")
    return [*entering, *closing]


async def noticed(stack: StackDriver) -> float:
    """Return after how many seconds the engine's status says that the perpetual is gone."""
    began = time.monotonic()

    async def is_gone() -> bool:
        status = (await stack.engine.GetStatus(engine_pb2.GetStatusRequest())).status
        return not all(venue.reachable for venue in status.venues)

    await stack.until(is_gone, "the pause was noticed")
    return time.monotonic() - began


@pytest.mark.parametrize("name", [CONNECTOR, ENGINE])
async def test_a_pause_leaves_nothing_behind(
    stack: StackDriver, name: str, record_property: Tell
) -> None:
    """Every leg is matched or closed after it, and no id was sent twice."""
    before = await stack.books()
    moving = await in_mid_flight(stack)
    signal_to(stack, name, signal.SIGSTOP)
    began = time.monotonic()
    try:
        seen = f"told {await noticed(stack):.1f} s; " if name == CONNECTOR else ""
        await asyncio.sleep(PAUSE_SECONDS - (time.monotonic() - began))
    finally:
        signal_to(stack, name, signal.SIGCONT)
    continued = asyncio.get_running_loop().time()
    rested = [in_time(one) for one in await stack.settled_since(continued, *moving)]
    took = asyncio.get_running_loop().time() - continued
    for position in rested:
        assert position.state in (OPEN, FLAT, CLOSED)
        await stack.assert_matched_or_flat(position, before)
    words = [engine_pb2.HedgedPositionState.Name(p.state)[22:].lower() for p in rested]
    orders = sum([len(await stack.orders(p)) for p in rested])
    await stack.leave_all()
    books = await stack.books()
    assert books.positions == {}
    assert books.duplicate_ids == ()
    await stack.control.delete("faults")
    await stack.resume()
    tell_row(
        record_property,
        "paused",
        f"{name} stopped {PAUSE_SECONDS:.0f} s, 2 entries, 2 exits",
        f"{seen}all rested {took:.1f} s after it: {', '.join(words)}; {orders} orders, none twice",
    )
