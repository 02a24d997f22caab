"""Wires that lose, processes that die at a chosen moment: the world does what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

import pytest

from services.common.errors import OpensqtError
from services.engine.views import PositionStatus
from simulation.transport_network import LinkFaults
from simulation.world import ENGINE, PERPETUAL, SPOT, DiedError, World
from simulation.world_config import link_to
from simulation.world_trace import TraceEvent

_SILENT = LinkFaults(reply_lost=1.0)


def _at_first(world: World, kind: str, act: Callable[[], None]) -> None:
    """Do something once, when the first event of a kind is told."""
    pending = [act]

    def listen(event: TraceEvent) -> None:
        if event.kind == kind and pending:
            pending.pop()()

    world.trace.listeners.append(listen)


def _sent_ids(world: World) -> list[str]:
    return [arrival.parameters["newClientOrderId"] for arrival in world.simulation.arrivals]


def test_an_order_whose_reply_is_lost_is_not_sent_again() -> None:
    """The venue acts, nobody is told; the position is hedged or flat all the same."""

    async def scenario(world: World) -> PositionStatus:
        await world.start()

        def silence() -> None:
            for name in (SPOT, PERPETUAL):
                world.network.links[name] = _SILENT
            world.loop.call_later(1.0, world.heal)

        _at_first(world, "arrival", silence)
        opened = await world.open(notional=Decimal(4000))
        return (await world.settled(opened.position_id, 30.0)).status

    world = World(11)
    assert world.run(scenario) in (PositionStatus.OPEN, PositionStatus.FLAT)
    assert world.network.injected["reply_lost"] > 0
    ids = _sent_ids(world)
    assert len(ids) == len(set(ids))


def test_a_partition_refuses_entries_until_it_heals() -> None:
    """Nothing passes while engine and connector are parted; afterwards an entry goes through."""

    async def scenario(world: World) -> PositionStatus:
        await world.start()
        world.network.partitions.add(link_to(SPOT))
        with pytest.raises(OpensqtError):
            await world.open()
        assert not world.simulation.arrivals
        world.heal()
        await asyncio.sleep(3.0)
        opened = await world.open()
        return (await world.settled(opened.position_id)).status

    assert World(12).run(scenario) is PositionStatus.OPEN


def test_an_engine_killed_as_its_order_arrives_takes_it_up() -> None:
    """The order executes though its sender is dead; the next life finds and hedges it."""

    async def scenario(world: World) -> tuple[str, PositionStatus]:
        await world.start()
        killed = asyncio.Event()

        def kill() -> None:
            world.crash(ENGINE)
            killed.set()

        _at_first(world, "arrival", kill)
        opened = await world.open(notional=Decimal(4000))
        await killed.wait()
        with pytest.raises(DiedError):
            world.living_engine()
        await world.restart(ENGINE)
        status = (await world.settled(opened.position_id)).status
        return opened.position_id, status

    world = World(13)
    _, status = world.run(scenario)
    assert status in (PositionStatus.OPEN, PositionStatus.FLAT)
    ids = _sent_ids(world)
    assert len(ids) == len(set(ids))
    assert not world.loop.problems


def test_what_is_not_durable_is_gone_with_its_process() -> None:
    """An engine killed before its intent is on the disk has sent nothing and knows nothing."""

    async def scenario(world: World) -> tuple[int, int]:
        await world.start()
        before = len(world.journal_rows())
        engine = world.process(ENGINE)
        assert engine is not None
        opening = asyncio.get_running_loop().create_task(world.open())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        world.crash(ENGINE)
        with pytest.raises(DiedError):
            await opening
        await world.restart(ENGINE)
        return len(world.journal_rows()) - before, len(world.simulation.arrivals)

    assert World(14).run(scenario) == (0, 0)
