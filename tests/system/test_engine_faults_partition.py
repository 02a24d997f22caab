"""Networks that drop packets, one way or both, between hosts of their own.

Each cut strikes with one position open and another whose hedge is on its way; `make
test-engine-faults` gives this module a network of its own. The figures of every cut are printed.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from cli.demo.books import Books
from cli.demo.stack import PERPETUAL, SPOT
from cli.trading import EntryOrder, entry_request
from opensqt.market_maker.v1 import engine_pb2
from tests.support.fault_row import Tell, fault_options, tell_row
from tests.support.lab_stack import (
    HOSTS,
    PERPETUAL_HOST,
    SPOT_HOST,
    VENUE,
    LabStack,
    driving,
)
from tests.support.network_lab import NetworkLab, network_lab, why_no_lab
from tests.support.pace import measured_pace
from tests.support.stack import (
    CLOSED,
    FLAT,
    LONG,
    NOTIONAL,
    OPEN,
    StackDriver,
)
from tests.support.stack_cases import Position, held

pytestmark = [
    pytest.mark.system,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
]
DETECTED, HEALED = 7.0, 2.0
"""Seconds of an idle machine in which a cut is to be noticed, and a mended network used again."""
PROBED = "ETHUSDT"
"""Never entered: whether it may be is asked again and again."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Between which hosts packets are dropped, which venue is lost by it, and two symbols."""

    text: str
    drops: tuple[tuple[str, str], ...]
    venue: str
    open_symbol: str
    entering_symbol: str


def _both(one: str, other: str) -> tuple[tuple[str, str], ...]:
    return ((one, other), (other, one))


CUTS = (
    Cut("engine x perpetual", _both("engine", PERPETUAL_HOST), PERPETUAL, "ADAUSDT", "BTCUSDT"),
    Cut("engine > perpetual", (("engine", PERPETUAL_HOST),), PERPETUAL, "BNBUSDT", "SOLUSDT"),
    Cut("perpetual > engine", ((PERPETUAL_HOST, "engine"),), PERPETUAL, "XRPUSDT", "DOGEUSDT"),
    Cut("perpetual x venue", _both(PERPETUAL_HOST, VENUE), PERPETUAL, "LTCUSDT", "LINKUSDT"),
    Cut("perpetual > venue", ((PERPETUAL_HOST, VENUE),), PERPETUAL, "AVAXUSDT", "TRXUSDT"),
    Cut("venue > perpetual", ((VENUE, PERPETUAL_HOST),), PERPETUAL, "LTCUSDT", "LINKUSDT"),
    Cut(
        "engine x both",
        (*_both("engine", PERPETUAL_HOST), *_both("engine", SPOT_HOST)),
        SPOT,
        "ADAUSDT",
        "BTCUSDT",
    ),
)


@pytest.fixture(scope="module")
def lab() -> Iterator[NetworkLab]:
    """Make the hosts."""
    if reason := why_no_lab():
        pytest.skip(reason)
    with network_lab(HOSTS) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(
    lab: NetworkLab, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[StackDriver]:
    """Run every service on its host."""
    folder: Path = tmp_path_factory.mktemp("lab")
    async with driving(LabStack(folder, fault_options(), lab)) as driver:
        yield driver
        lab.heal()


async def told(stack: StackDriver, venue: str, *, up: bool) -> float:
    """Return after how many seconds the engine's status says that a venue is up, or down."""
    began = time.monotonic()

    async def is_so() -> bool:
        status = (await stack.engine.GetStatus(engine_pb2.GetStatusRequest())).status
        return up is next(one.reachable for one in status.venues if one.exchange == venue)

    await stack.until(is_so, f"{venue} told to be {'up' if up else 'down'}", 60)
    return time.monotonic() - began


async def entries(stack: StackDriver, *, taken: bool) -> float:
    """Return after how many seconds an entry would be taken, or is refused."""
    began = time.monotonic()

    order = EntryOrder(
        symbol=PROBED,
        long_leg=f"{SPOT}:spot",
        short_leg=f"{PERPETUAL}:perpetual",
        notional=NOTIONAL,
        lead_leg=LONG,
        slippage_bound_ratio=Decimal("0.01"),
    )

    async def is_so() -> bool:
        request = entry_request(order, str(uuid.uuid4()))
        request.validate_only = True
        try:
            await stack.engine.OpenHedgedPosition(request)
        except grpc.aio.AioRpcError:
            return not taken
        return taken

    await stack.until(is_so, f"entries {'taken' if taken else 'refused'}", 60)
    return time.monotonic() - began


async def begin(stack: StackDriver, cut: Cut) -> tuple[Position, Position]:
    """Return a position that is open and one whose hedge the venue has and holds."""
    resting = await stack.enter(cut.open_symbol)
    assert resting.state == OPEN
    await stack.fault(
        cut.entering_symbol, held("before", 0.5), venue=PERPETUAL, symbol=cut.entering_symbol
    )
    entering = await stack.open(cut.entering_symbol)
    await stack.until_struck(cut.entering_symbol)
    return resting, entering


async def finish(stack: StackDriver, before: Books, *positions: Position) -> str:
    """Check positions at the venue's books, close them, check again; tell how they rested."""
    for position in positions:
        await stack.assert_matched_or_flat(position, before)
    for position in await stack.leave_all():
        assert position.state == CLOSED, position
        await stack.assert_matched_or_flat(position, before)
    assert (await stack.books()).positions == {}
    await stack.resume()
    return " ".join("open" if position.state == OPEN else "flat" for position in positions)


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.text.replace(" ", "_"))
async def test_a_cut_is_noticed_and_healed(
    stack: StackDriver, lab: NetworkLab, cut: Cut, record_property: Tell
) -> None:
    """The engine says so and takes no entries within 7 s, and again within 2 s of its end."""
    before = await stack.books()
    resting, entering = await begin(stack, cut)
    for drop in cut.drops:
        lab.cut(*drop)
    async with measured_pace() as pace:
        down, refused = await asyncio.gather(
            told(stack, cut.venue, up=False), entries(stack, taken=False)
        )
    detected = DETECTED * pace.factor
    # As long as TCP needs to wait for more than a moment before it tries again.
    await asyncio.sleep(max(0.0, DETECTED - max(down, refused)))
    lab.heal()
    async with measured_pace() as pace:
        up, taken = await asyncio.gather(
            told(stack, cut.venue, up=True), entries(stack, taken=True)
        )
    settled = await stack.settled(entering)
    assert settled.state in (OPEN, FLAT)
    rested = await finish(stack, before, await stack.get(resting.position_id), settled)
    tell_row(
        record_property,
        "partition",
        cut.text,
        f"told {down:.1f} s, entries refused {refused:.1f} s; healed: told {up:.1f} s, "
        f"entry taken {taken:.1f} s; rested {rested}",
    )
    assert max(down, refused) <= detected
    assert min(up, taken) <= HEALED * pace.factor
