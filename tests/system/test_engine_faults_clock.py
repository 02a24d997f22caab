"""Wall clocks of engine and connectors jump by a minute and an hour, both ways, in mid-entry."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cli.demo.stack import PERPETUAL
from tests.support.fault_row import Tell, fault_options, tell_row
from tests.support.host_faults import FaultyHostStack, HostFaults, why_no_host_faults
from tests.support.lab_stack import driving
from tests.support.stack import CLOSED, FLAT, OPEN, StackDriver
from tests.support.stack_cases import Position, held

pytestmark = [
    pytest.mark.system,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
]
ENGINE, CONNECTOR = "engine", f"connector-{PERPETUAL}"
PATIENCE_SECONDS = 20.0


class Bench:
    """The system and the hosts of two of its services."""

    def __init__(self, stack: StackDriver, hosts: dict[str, HostFaults]) -> None:
        self.stack = stack
        self.hosts = hosts


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    """Run the whole system, engine and one connector on hosts whose clocks can jump."""
    if reason := why_no_host_faults():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("clocks")
    hosts = {name: HostFaults(folder, name) for name in (ENGINE, CONNECTOR)}
    async with driving(FaultyHostStack(folder, fault_options(), hosts)) as stack:
        yield Bench(stack, hosts)


async def entered(stack: StackDriver, symbol: str) -> tuple[Position, float]:
    """Return a position that is open, entered as often as it takes, and the seconds it took."""
    began = time.monotonic()
    while True:
        position = await stack.enter(symbol)
        if position.state == OPEN or time.monotonic() - began > PATIENCE_SECONDS:
            return position, time.monotonic() - began
        await stack.resume()


@pytest.mark.parametrize("seconds", [60, -60, 3_600, -3_600])
@pytest.mark.parametrize("name", [ENGINE, CONNECTOR])
async def test_a_jump_of_the_clock_harms_nothing(
    bench: Bench, name: str, seconds: int, record_property: Tell
) -> None:
    """What is under way comes to rest, what is open closes, what is new is entered."""
    stack = bench.stack
    before = await stack.books()
    resting = await stack.enter("ADAUSDT")
    await stack.fault("held", held("before", 0.5), venue=PERPETUAL, symbol="BTCUSDT")
    entering = await stack.open("BTCUSDT")
    await stack.until_struck("held")
    seen = bench.hosts[name].shifted_readings
    bench.hosts[name].jump(seconds)
    try:
        settled = await stack.settled(entering, PATIENCE_SECONDS)
        began = time.monotonic()
        closed = await stack.settled(await stack.close(resting), PATIENCE_SECONDS)
        closing = time.monotonic() - began
        fresh, entry = await entered(stack, "ETHUSDT")
    finally:
        bench.hosts[name].jump(0)
    assert bench.hosts[name].shifted_readings > seen, "the service reads another clock"
    assert settled.state in (OPEN, FLAT), settled
    assert closed.state == CLOSED, closed
    assert fresh.state == OPEN, fresh
    for position in (settled, closed, fresh):
        await stack.assert_matched_or_flat(position, before)
    rest = await stack.leave_all()
    assert all(position.state == CLOSED for position in rest)
    books = await stack.books()
    assert books.positions == {}
    assert books.duplicate_ids == ()
    await stack.resume()
    tell_row(
        record_property,
        "clock",
        f"{name} {seconds:+d} s in mid-entry",
        f"entry {'hedged' if settled.state == OPEN else 'unwound'}; exit {closing:.1f} s; "
        f"next entry {entry:.1f} s; back by a jump: all closed",
    )
