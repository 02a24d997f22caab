"""Killing the engine at every await of a life, and again in the recovery."""

from __future__ import annotations

import asyncio
import contextlib
from decimal import Decimal
from functools import partial

import pytest

from services.common.errors import OpensqtError
from services.engine.commands import CloseAllCommand, CloseCommand, OpenCommand
from services.engine.views import PositionStatus
from tests.support.crash_gate import CrashGate
from tests.support.engine_invariants import check_closed, check_rest, watch_arrivals
from tests.support.engine_rig import EngineRig, MemoryJournal
from tests.support.fake_venue import Fault
from tests.support.virtual_clock import VirtualClock

# A life per await of an entry and an exit: seconds alone, many under the tracing of coverage.
pytestmark = pytest.mark.timeout(300)

D = Decimal
FENCE_AND_ROOM = 8.0
"""Fence of 3 s plus 5 s: what a restart may take to hedge or flatten."""

SCRIPTS: dict[str, tuple[list[Fault], list[Fault]]] = {
    "clean": ([], []),
    "partial and top-up": ([Fault(fill_ratio=D("0.6"))], [Fault(fill_ratio=D("0.5"))]),
    "hedge refused": ([], [Fault(reject=True)]),
    "refused, then topped up": (
        [],
        [Fault(reject=True, retryable=True), Fault(fill_ratio=D("0.3"))],
    ),
    "unknown everywhere": (
        [Fault(reply_lost=True), Fault(reply_lost=True)],
        [Fault(arrives_after=1.0), Fault(lost=True)],
    ),
    "late fills": (
        [Fault(fill_ratio=D("0.2"), late_ratio=D("0.4"))],
        [Fault(fill_ratio=D("0.1"), late_ratio=D("0.1"))],
    ),
}


def make_rig(script: str) -> tuple[EngineRig, list[str]]:
    """Return a rig with the faults of a script, and the list of violations."""
    journal = MemoryJournal()
    rig = EngineRig(VirtualClock(), journal)
    rig.long_venue.script.extend(SCRIPTS[script][0])
    rig.short_venue.script.extend(SCRIPTS[script][1])
    return rig, watch_arrivals(rig, journal.durable_events)


async def live(rig: EngineRig, command: OpenCommand) -> None:
    """Start, open, rest, close, rest: the life that is cut short."""
    await rig.engine.start()
    while not rig.engine.status().reconciled:
        await rig.clock.sleep(0.01)
    view = await rig.engine.open(command)
    rest = (PositionStatus.OPEN, PositionStatus.CLOSED, PositionStatus.FLAT)
    while rig.engine.get(view.position_id).status not in rest:
        await rig.clock.sleep(0.01)
    await rig.engine.close(CloseCommand("close", view.position_id))
    while not rig.engine.get(view.position_id).status.is_final:
        await rig.clock.sleep(0.01)


async def run_until_death(rig: EngineRig, command: OpenCommand) -> None:
    """Live until done or dead, then be gone as after SIGKILL."""
    task = asyncio.get_running_loop().create_task(live(rig, command))
    await rig.clock.run_until(lambda: task.done() or rig.gate.is_dead)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, OpensqtError):
        await task
    await rig.kill()


async def count_moments(script: str) -> int:
    """Return how many moments an uncut life has."""
    rig, _ = make_rig(script)
    await run_until_death(rig, rig.open_command("1", request_id="open"))
    await rig.close_rig()
    return rig.gate.passed


async def check_recovery(rig: EngineRig, problems: list[str]) -> None:
    """Start again: in order within the fence and 5 s, then closed on demand, all by the books."""
    rig.new_engine()
    await rig.engine.start()
    await rig.clock.run_until(lambda: rig.engine.status().reconciled, FENCE_AND_ROOM)
    moving = (PositionStatus.OPENING, PositionStatus.UNWINDING, PositionStatus.CLOSING)
    await rig.clock.run_until(
        lambda: not any(v.status in moving for v in rig.engine.positions()), FENCE_AND_ROOM
    )
    check_rest(rig, problems)
    await rig.call(rig.engine.close_all(CloseAllCommand("all")))
    await rig.clock.run_until(
        lambda: all(v.status.is_final for v in rig.engine.positions()), FENCE_AND_ROOM
    )
    check_closed(rig, problems)
    await rig.close_rig()


@pytest.mark.parametrize("script", SCRIPTS)
async def test_a_kill_at_any_await_leaves_hedged_or_flat(script: str) -> None:
    """After a kill at each moment in turn, the restart ends hedged or flat, no id sent twice."""
    moments = await count_moments(script)
    assert moments > 40
    for moment in range(1, moments + 1):
        rig, problems = make_rig(script)
        rig.new_engine(CrashGate(dies_at=moment))
        try:
            await run_until_death(rig, rig.open_command("1", request_id="open"))
            await check_recovery(rig, problems)
        except BaseException as error:
            error.add_note(f"killed at moment {moment} of {moments}")
            raise


@pytest.mark.parametrize("script", SCRIPTS)
async def test_a_second_kill_in_the_recovery_changes_nothing(script: str) -> None:
    """A kill in the entry and another in the recovery from it still end hedged or flat."""
    moments = await count_moments(script)
    for moment in range(10, moments, 9):
        for second in (2, 5, 9, 14):
            rig, problems = make_rig(script)
            rig.new_engine(CrashGate(dies_at=moment))
            try:
                await run_until_death(rig, rig.open_command("1", request_id="open"))
                rig.new_engine(CrashGate(dies_at=second))
                await rig.engine.start()
                gate = rig.gate
                with contextlib.suppress(AssertionError):
                    await rig.clock.run_until(partial(getattr, gate, "is_dead"), 5)
                await rig.kill()
                await check_recovery(rig, problems)
            except BaseException as error:
                error.add_note(f"killed at {moment} of {moments}, then at {second}")
                raise


async def test_a_repeat_after_a_crash_does_not_open_twice() -> None:
    """The same request after a restart answers the position the first one began."""
    for moment in range(1, 40):
        rig, problems = make_rig("clean")
        rig.new_engine(CrashGate(dies_at=moment))
        command = rig.open_command("1", request_id="open")
        await run_until_death(rig, command)
        known = {v.split("le")[0] for v in rig.long_venue.arrivals}
        rig.new_engine()
        await rig.start()
        view = await rig.call(rig.engine.open(command))
        await rig.settled(view.position_id)
        assert known <= {view.position_id}
        assert len(rig.engine.positions()) == 1
        check_rest(rig, problems)
        await rig.close_rig()
