"""Killing the engine at every await of an exit that overtook the entry of its position."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from decimal import Decimal

import pytest

from services.common.errors import OpensqtError
from services.engine.commands import CloseAllCommand, CloseCommand
from services.engine.events import Event, OrderIntended
from services.engine.journal import JournalError
from services.engine.orders import OrderClass
from services.engine.views import PositionStatus
from tests.support.crash_gate import CrashGate
from tests.support.engine_invariants import check_closed, watch_arrivals
from tests.support.engine_rig import EngineRig, MemoryJournal
from tests.support.fake_venue import Fault
from tests.support.virtual_clock import VirtualClock

pytestmark = pytest.mark.timeout(300)

D = Decimal


async def overtake(rig: EngineRig) -> None:
    """Enter, ask for the exit while the entry runs, and wait for the end."""
    view = await rig.engine.open(rig.open_command("1"))
    await rig.clock.sleep(0.03)
    await rig.engine.close(CloseCommand("close", view.position_id))
    while not rig.engine.get(view.position_id).status.is_final:
        await rig.clock.sleep(0.01)


@pytest.mark.parametrize(
    ("lead", "hedge", "stride"),
    [
        ([Fault(fill_ratio=D("0.6"), latency=0.2)], [], 1),
        ([], [Fault(fill_ratio=D("0.5"), latency=0.2)], 1),
        ([Fault(reply_lost=True)], [Fault(arrives_after=1.0)], 3),
    ],
)
async def test_a_kill_at_any_await_of_an_exit_that_overtook_its_entry_ends_flat(
    lead: list[Fault], hedge: list[Fault], stride: int
) -> None:
    """Killed at moments from the entry on, the restart closes all of it, by the books."""
    moment, is_dead = 0, True
    while is_dead:
        moment += stride
        journal = MemoryJournal()
        rig = EngineRig(VirtualClock(), journal)
        rig.long_venue.script.extend(lead)
        rig.short_venue.script.extend(hedge)
        problems = watch_arrivals(rig, journal.durable_events)
        await rig.start()
        rig.gate._dies_at = rig.gate.passed + moment
        gate, task = rig.gate, asyncio.get_running_loop().create_task(overtake(rig))

        def is_over(task: asyncio.Task[None] = task, gate: CrashGate = gate) -> bool:
            return gate.is_dead or task.done()

        await rig.clock.run_until(is_over)
        is_dead = gate.is_dead
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, OpensqtError):
            await task
        await rig.kill()
        rig.new_engine()
        await rig.engine.start()
        await rig.call(rig.engine.close_all(CloseAllCommand("all")))
        # The fence of 3 s, and 5 s of room.
        await rig.clock.run_until(
            lambda rig=rig: all(v.status.is_final for v in rig.engine.positions()),  # type: ignore[misc]  # bound now
            limit=8.0,
        )
        check_closed(rig, problems)
        await rig.close_rig()
    assert moment > 30


class RefusesFirstExit(MemoryJournal):
    """A journal that is full when the first exit orders are to be written."""

    refused = 0

    async def append(self, events: Sequence[Event]) -> None:
        """Append, but refuse the first exit orders."""
        is_exit = any(
            isinstance(e, OrderIntended) and e.plan.order_class is OrderClass.EXIT for e in events
        )
        if is_exit and not self.refused:
            self.refused += 1
            raise JournalError("disk full")
        await super().append(events)


async def test_a_full_journal_at_the_exit_does_not_lose_the_hedge_in_flight() -> None:
    """The hedge's own answer counts when it comes: its fence runs from then, not from later."""
    journal = RefusesFirstExit()
    rig = EngineRig(VirtualClock(), journal)
    await rig.start()
    rig.short_venue.script.append(Fault(lost=True, latency=0.5))
    view = await rig.call(rig.engine.open(rig.open_command("1")))
    await rig.clock.pass_time(0.1)
    asked = rig.clock.monotonic()
    await rig.call(rig.engine.close(CloseCommand("close", view.position_id)))
    assert (await rig.settled(view.position_id)).status is PositionStatus.FLAT
    assert journal.refused == 1
    # Half a second to the answer, the fence of three, and room; the deadline would be ten more.
    assert rig.clock.monotonic() - asked < 5
    assert rig.long_venue.filled() < D("0.001")
    rig.check_books()
    await rig.close_rig()


async def test_an_exit_that_is_cancelled_while_it_pauses_leaves_no_task_behind() -> None:
    """An engine stopped in the middle of a backoff ends every task it began."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    opened = await rig.open("1")
    rig.short_venue.choose = lambda _: Fault(fill_ratio=D(0))
    await rig.call(rig.engine.close(CloseCommand("close", opened.position_id)))
    await rig.clock.pass_time(3)
    await rig.kill()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await rig.close_rig()


async def test_a_leg_that_cannot_leave_alarms_and_stops_entries() -> None:
    """Past the budget somebody must look: the other leg is closed and this one is naked."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    opened = await rig.open("1")
    rig.short_venue.choose = lambda _: Fault(fill_ratio=D(0))
    await rig.call(rig.engine.close(CloseCommand("close", opened.position_id)))
    await rig.clock.pass_time(1.9)
    assert rig.recorder.alarms == []
    await rig.clock.pass_time(1.5)
    assert rig.recorder.alarms == ["perp"]
    assert "UNHEDGED_PAST_BUDGET" in rig.engine.status().reason
    rig.short_venue.choose = None
    assert (await rig.settled(opened.position_id)).status is PositionStatus.CLOSED
    rig.check_books()
    await rig.close_rig()
