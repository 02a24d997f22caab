"""A whole life in virtual time: the engine's, the connector's, ccxt's and the venue's own code."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal

import pytest

from services.engine.views import PositionStatus
from services.simulator.core.faults import FaultRule, Match, Partial
from simulation.world import PERPETUAL, SPOT, World

_HASH = "from tests.simulation.test_sim_world import life_hash; print(life_hash(3))"


async def _enter_and_leave(world: World) -> tuple[PositionStatus, PositionStatus]:
    await world.start()
    world.simulation.faults.add(
        [
            FaultRule(
                id="partial",
                match=Match(operation="place_order", times=2),
                action=Partial(type="partial", ratio=Decimal("0.4")),
            )
        ]
    )
    opened = await world.open("BTCUSDT", notional=Decimal(4000))
    entered = await world.settled(opened.position_id)
    await world.close(opened.position_id)
    left = await world.settled(opened.position_id)
    return entered.status, left.status


def life_hash(seed: int) -> str:
    """Return the hash of a life's trace."""
    world = World(seed)
    world.run(_enter_and_leave)
    return world.trace.hash


def _net(world: World, symbol: str, asset: str) -> tuple[Decimal, Decimal]:
    account = world.simulation.exchange.accounts.all()[0]
    positions = [p for p in account.futures.open_positions() if p.symbol == symbol]
    return account.spot.get(asset).total, sum((p.quantity for p in positions), Decimal(0))


def test_a_partly_filled_entry_is_hedged_and_left() -> None:
    """Lead and hedge fill in parts; the position opens hedged, and after the exit both are flat."""
    world = World(1)
    assert world.run(_enter_and_leave) == (PositionStatus.OPEN, PositionStatus.CLOSED)
    assert _net(world, "BTCUSDT", "BTC")[1] == 0
    assert world.trace.counts["arrival"] >= 4
    assert not world.loop.problems


def test_equal_seeds_live_equal_lives() -> None:
    """The hash is the seed's, in this process and under another hash seed of the interpreter."""
    first = life_hash(3)
    assert life_hash(3) == first
    assert life_hash(4) != first
    done = subprocess.run(
        [sys.executable, "-c", _HASH],
        env={**os.environ, "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == first


@pytest.mark.parametrize("name", ["engine", SPOT, PERPETUAL])
def test_a_killed_process_is_taken_up(name: str) -> None:
    """Killed in the midst of an entry and started again, the system settles hedged or flat."""

    async def scenario(world: World) -> PositionStatus:
        await world.start()
        opened = await world.open("BTCUSDT", notional=Decimal(4000))
        world.crash(name)
        assert world.process(name) is None
        await world.restart(name)
        return (await world.settled(opened.position_id, 60.0)).status

    world = World(5)
    status = world.run(scenario)
    assert status in (PositionStatus.OPEN, PositionStatus.FLAT)
