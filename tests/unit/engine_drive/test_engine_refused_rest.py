"""A rest that its venue refuses to take: dust where it is still there, gone where it is not."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.engine import events as ev
from services.engine.commands import CloseCommand
from services.engine.instruments import LegSide
from services.engine.orders import GoneCause, OrderClass
from services.engine.pockets import Holdings
from services.engine.views import PositionStatus
from tests.support.engine_rig import EngineRig, MemoryJournal
from tests.support.fake_venue import FakeVenue, Fault
from tests.support.virtual_clock import VirtualClock

D = Decimal
TAKEN = D("0.04")


async def refused_exit(taken: Decimal, failing_reads: int = 0) -> tuple[EngineRig, MemoryJournal]:
    """Close a position whose short leg fills 0.96 of 1 and then is refused; `taken` has left it."""
    journal = MemoryJournal()
    rig = EngineRig(VirtualClock(), journal)
    await rig.start()
    view = await rig.open("1")
    rig.short_venue.foreign = taken
    rig.short_venue.script += [Fault(fill_ratio=1 - TAKEN), *[Fault(reject=True)] * 2]
    failures = iter([True] * failing_reads)
    rig.short_venue.reads_fail = lambda: next(failures, False)
    closed = await rig.close(view.position_id)
    assert closed.status is PositionStatus.CLOSED
    return rig, journal


@pytest.mark.parametrize("failing_reads", [0, 6])
async def test_a_refused_rest_that_is_not_there_is_booked_as_gone(failing_reads: int) -> None:
    """A break is journaled, then the loss; the ledger ends where the account does."""
    rig, journal = await refused_exit(TAKEN, failing_reads)
    events = journal.durable_events()
    (gone,) = [one for one in events if isinstance(one, ev.LegGone)]
    assert (gone.leg, gone.quantity, gone.cause) == (LegSide.SHORT, TAKEN, GoneCause.UNEXPLAINED)
    assert any(isinstance(one, ev.ReconciliationBroke) for one in events)
    dust = [one.leg for one in events if isinstance(one, ev.DustBooked)]
    assert LegSide.SHORT not in dust
    (view,) = rig.engine.positions()
    assert view.short_leg.quantity == rig.short_venue.filled() + rig.short_venue.foreign == 0
    await rig.close_rig()


@pytest.mark.parametrize("failing_reads", [0, 6])
async def test_a_refused_rest_that_is_there_is_dust(failing_reads: int) -> None:
    """It stays in the ledger, which is what the account has."""
    rig, journal = await refused_exit(D(0), failing_reads)
    events = journal.durable_events()
    dust = [one.quantity for one in events if isinstance(one, ev.DustBooked)]
    assert -TAKEN in dust
    assert not any(isinstance(one, ev.LegGone | ev.ReconciliationBroke) for one in events)
    (view,) = rig.engine.positions()
    assert view.short_leg.quantity == rig.short_venue.filled() == -TAKEN
    await rig.close_rig()


async def test_an_exit_waits_for_no_reading_of_a_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """While an entry's rest is looked for at a slow venue, an exit leaves on both legs."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    rig.long_venue.script += [Fault(fill_ratio=1 - TAKEN)]
    rig.short_venue.script += [Fault(), *[Fault(reject=True)] * 2]
    command = rig.open_command("1", lead_leg=LegSide.SHORT)
    key = (await rig.call(rig.engine.open(command))).position_id
    holdings = FakeVenue.holdings

    async def slow(venue: FakeVenue) -> Holdings:
        await rig.clock.sleep(300)
        return await holdings(venue)

    monkeypatch.setattr(FakeVenue, "holdings", slow)
    await rig.clock.pass_time(30)
    assert rig.engine.get(key).status is PositionStatus.UNWINDING
    await rig.call(rig.engine.close(CloseCommand(rig.request_id(), key)))
    await rig.clock.pass_time(1)
    exits = {o.leg for o in rig.engine.get(key).orders if o.order_class is OrderClass.EXIT}
    assert exits == set(LegSide)
    assert (await rig.settled(key)).status is PositionStatus.CLOSED
    await rig.close_rig()
