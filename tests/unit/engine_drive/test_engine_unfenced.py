"""A venue without a validity window: no waiting proves absence, only its connector's word does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import pytest_asyncio

from services.common.errors import PreconditionError
from services.engine.commands import CloseCommand
from services.engine.instruments import InstrumentKind
from services.engine.orders import OrderClass
from services.engine.policy import EnginePolicy
from services.engine.ports import NEVER_SENT_REASON, NOT_ARRIVED_REASON
from services.engine.resolver import Absence, OrderResolver
from services.engine.views import PositionStatus, PositionView
from tests.support.engine_rig import EngineRig, MemoryJournal, make_rules
from tests.support.fake_venue import FakeVenue, Fault
from tests.support.virtual_clock import VirtualClock

D = Decimal
LONG = 600.0
"""No fence of any venue lasts so long."""

POLICY = EnginePolicy()
CALL = POLICY.place_timeout.total_seconds()
SPOT = make_rules("spot", InstrumentKind.SPOT)


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[EngineRig]:
    """Run an engine whose venues both have no fence."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    for venue in rig.venues:
        venue.fence = None
    await rig.start()
    yield rig
    await rig.close_rig()


async def begin(rig: EngineRig) -> PositionView:
    """Open a position and return it while it is on its way."""
    return await rig.call(rig.engine.open(rig.open_command("1")))


@pytest.mark.parametrize(
    ("word", "proven"),
    [
        ("", (False, False, False)),
        (NEVER_SENT_REASON, (False, True, True)),
        (NOT_ARRIVED_REASON, (True, True, True)),
        ("SYMBOL_NOT_FOUND", (False, False, False)),
    ],
)
async def test_what_proves_absence_without_a_fence(
    word: str, proven: tuple[bool, bool, bool]
) -> None:
    """Not found never does; never sent once no call of ours can be on its way; not arrived at once.

    Asked right after the failed send, a call's time later, and long after.
    """
    clock = VirtualClock()
    venue = FakeVenue("spot", InstrumentKind.SPOT, clock, SPOT, fence=None, absence_word=word)
    resolver = OrderResolver({"spot": venue}, clock, POLICY)
    await clock.pass_time(10)
    resolver.send_failed("mine", clock.monotonic())
    found: list[object] = []

    async def ask() -> None:
        for wait in (0.0, CALL, LONG):
            await clock.sleep(wait)
            found.append(await resolver.ask(SPOT, "mine"))

    task = asyncio.get_running_loop().create_task(ask())
    await clock.run_until(task.done, 2 * LONG)
    task.result()
    assert tuple(one is Absence.PROVEN for one in found) == proven
    assert resolver.is_unfenced("spot")
    assert resolver.wait_before("spot", "mine", 30) == POLICY.resolve_interval_last


async def test_a_word_of_absence_does_not_shorten_a_fence() -> None:
    """Where there is a fence it is kept whatever the connector says."""
    clock = VirtualClock()
    venue = FakeVenue("spot", InstrumentKind.SPOT, clock, SPOT, absence_word=NOT_ARRIVED_REASON)
    resolver = OrderResolver({"spot": venue}, clock, POLICY)
    resolver.send_failed("mine", clock.monotonic())
    task = asyncio.get_running_loop().create_task(resolver.ask(SPOT, "mine"))
    await clock.run_until(task.done)
    assert task.result() is Absence.TOO_EARLY
    assert not resolver.is_unfenced("spot")


async def test_an_entry_without_faults_opens_and_closes(rig: EngineRig) -> None:
    """Nothing but doubt needs a fence."""
    view = await rig.open("1")
    assert view.status is PositionStatus.OPEN
    assert (await rig.close(view.position_id)).status is PositionStatus.CLOSED
    rig.check_books()


@pytest.mark.parametrize("cut", [Fault(reply_lost=True), Fault(arrives_after=1.0)])
@pytest.mark.parametrize("leg", ["lead", "hedge"])
async def test_an_order_that_lives_is_adopted(rig: EngineRig, leg: str, cut: Fault) -> None:
    """Evidence of the order itself needs no fence."""
    (rig.long_venue if leg == "lead" else rig.short_venue).script.append(cut)
    view = await rig.open("1")
    assert view.status is PositionStatus.OPEN
    rig.check_books()


async def test_a_lost_lead_stays_unknown_and_stops_entries(rig: EngineRig) -> None:
    """Time proves nothing: one alarm, no second order, no entry in the symbol."""
    rig.long_venue.script.append(Fault(lost=True))
    view = await begin(rig)
    await rig.clock.pass_time(LONG)
    view = rig.engine.get(view.position_id)
    assert view.status is PositionStatus.OPENING
    assert view.long_leg.outcome_unknown
    assert rig.recorder.alarms == ["spot"]
    assert rig.engine.status().unknown_client_order_ids == (view.orders[0].client_order_id,)
    assert rig.long_venue.arrivals == rig.short_venue.arrivals == []
    with pytest.raises(PreconditionError) as refused:
        await begin(rig)
    assert refused.value.reason in ("SYMBOL_HALTED", "ENGINE_HALTED")


async def test_a_lost_hedge_is_neither_sent_again_nor_unwound(rig: EngineRig) -> None:
    """It may fill at any time: the exit of the lead is an operator's decision, and possible."""
    rig.short_venue.script.append(Fault(lost=True))
    view = await begin(rig)
    await rig.clock.pass_time(LONG)
    assert rig.recorder.alarms == ["perp"]
    assert rig.short_venue.arrivals == []
    assert rig.long_venue.filled(OrderClass.UNWIND) == 0
    await rig.call(rig.engine.close(CloseCommand("close", view.position_id)))
    await rig.clock.run_until(lambda: rig.long_venue.filled() < D("0.001"))
    assert rig.engine.get(view.position_id).status is PositionStatus.CLOSING


@pytest.mark.parametrize("word", [NEVER_SENT_REASON, NOT_ARRIVED_REASON])
async def test_the_connectors_word_ends_the_doubt(rig: EngineRig, word: str) -> None:
    """A hedge that never arrived by its connector's word is sent again, with an id of its own."""
    rig.short_venue.script.append(Fault(lost=True))
    rig.short_venue.absence_word = word
    view = await rig.open("1")
    hedges = [o for o in view.orders if o.order_class is OrderClass.HEDGE]
    assert view.status in (PositionStatus.OPEN, PositionStatus.FLAT)
    assert len({o.client_order_id for o in hedges}) == len(hedges)
    assert abs(rig.net_delta()) < D("0.001")
    rig.check_books()


async def _die_after_the_lead(rig: EngineRig) -> str:
    """Kill the engine between the lead's fill and its hedge; return the position's id."""
    rig.long_venue.on_arrival = lambda _: rig.gate.die()
    command = rig.open_command("1")
    task = asyncio.get_running_loop().create_task(rig.engine.open(command))
    await rig.clock.run_until(lambda: rig.gate.is_dead)
    rig.long_venue.on_arrival = lambda _: None
    await rig.clock.pass_time(1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await rig.kill()
    rig.new_engine()
    await rig.engine.start()
    (view,) = rig.engine.positions()
    return view.position_id


async def test_a_restart_in_mid_entry_alarms_where_nothing_proves_absence(rig: EngineRig) -> None:
    """Whether the hedge was sent is not known: the lead stays, somebody is called, no entries."""
    position_id = await _die_after_the_lead(rig)
    await rig.clock.pass_time(LONG)
    assert rig.engine.get(position_id).status is PositionStatus.OPENING
    assert not rig.engine.status().reconciled
    assert rig.recorder.alarms == ["perp"]
    assert rig.short_venue.arrivals == []


async def test_a_restart_in_mid_entry_goes_on_by_the_connectors_word(rig: EngineRig) -> None:
    """A ledger without the id proves that the hedge was never sent, once no call can be under way.

    Within a call's time and 5 s all is hedged or flat.
    """
    rig.short_venue.absence_word = NEVER_SENT_REASON
    position_id = await _die_after_the_lead(rig)
    view = await rig.settled(position_id, CALL + 5)
    await rig.clock.run_until(lambda: rig.engine.status().reconciled, 5)
    assert view.status in (PositionStatus.OPEN, PositionStatus.FLAT)
    assert abs(rig.net_delta()) < D("0.001")
    rig.check_books()
