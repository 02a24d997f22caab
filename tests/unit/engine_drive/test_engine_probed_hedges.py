"""What a start asks about hedges that have no row, beside an exit that does not wait for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal

import pytest

from services.engine import events as ev
from services.engine.commands import CloseCommand
from services.engine.orders import OrderOutcome
from services.engine.views import PositionStatus
from tests.support.engine_rig import EngineRig, MemoryJournal
from tests.support.fake_venue import FakeVenue, Fault
from tests.support.virtual_clock import VirtualClock

D = Decimal


class SlowJournal(MemoryJournal):
    """A journal that tells of a burnt order's row some seconds after it is on the disk."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    async def append(self, events: Sequence[ev.Event]) -> None:
        """Append durably, whether or not the caller waits for the word of it."""
        await super().append(events)
        if any(isinstance(event, ev.OrderNotSent) for event in events):
            await self._clock.sleep(20)


@pytest.fixture
async def rig() -> AsyncIterator[EngineRig]:
    """Give an engine that was killed with its lead filled and its hedge on the way."""
    clock = VirtualClock()
    made = EngineRig(clock, SlowJournal(clock))
    await made.start()
    yield made
    await made.close_rig()


async def killed_with_a_naked_lead(rig: EngineRig, hedge: Fault) -> str:
    """Enter, kill the engine once the lead has filled, and return the position's id."""
    rig.short_venue.script.append(hedge)
    key = (await rig.call(rig.engine.open(rig.open_command("1")))).position_id
    await rig.clock.run_until(lambda: rig.long_venue.filled() != 0)
    await rig.kill()
    return key


async def test_an_exit_waits_for_no_question_of_a_start(
    rig: EngineRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a start asks a slow venue for hedges that have no row, an exit takes the lead off."""
    key = await killed_with_a_naked_lead(rig, Fault(latency=9.0))
    get_order = FakeVenue.get_order

    async def slow(
        venue: FakeVenue, symbol: str, key: str, *, use_margin: bool
    ) -> OrderOutcome | None:
        await rig.clock.sleep(300 if venue is rig.short_venue else 0)
        return await get_order(venue, symbol, key, use_margin=use_margin)

    monkeypatch.setattr(FakeVenue, "get_order", slow)
    rig.new_engine()
    await rig.engine.start()
    await rig.clock.pass_time(30)
    await rig.call(rig.engine.close(CloseCommand(rig.request_id(), key)))
    await rig.clock.pass_time(1)
    assert rig.long_venue.filled() < D("0.001")
    view = await rig.settled(key, 3000)
    assert view.status in (PositionStatus.CLOSED, PositionStatus.FLAT)
    rig.check_books()


async def test_an_answer_that_an_exit_overtakes_is_kept(rig: EngineRig) -> None:
    """A hedge that was never sent has one row, however slowly the journal takes it."""
    key = await killed_with_a_naked_lead(rig, Fault(lost=True))
    journal = rig.journal
    assert isinstance(journal, MemoryJournal)
    rig.new_engine()
    await rig.engine.start()

    def is_burnt() -> bool:
        return any(isinstance(event, ev.OrderNotSent) for event in journal.durable_events())

    await rig.clock.run_until(is_burnt)
    await rig.call(rig.engine.close(CloseCommand(rig.request_id(), key)))
    await rig.settled(key, 3000)
    rig.check_books()
    written = Counter(
        event.plan.client_order_id
        for event in journal.durable_events()
        if isinstance(event, ev.OrderIntended)
    )
    assert written
    assert set(written.values()) == {1}
