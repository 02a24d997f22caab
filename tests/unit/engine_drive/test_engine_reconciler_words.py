"""What comparisons say and when: a break that grows, a book nobody needs, a start in doubt."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from services.engine.events import ReconciliationBroke
from tests.support.engine_rig import EngineRig, MemoryJournal
from tests.support.fake_venue import Fault
from tests.support.virtual_clock import VirtualClock

D = Decimal


async def test_a_break_whose_numbers_change_is_journaled_anew() -> None:
    """Whoever reads the journal sees the last numbers, and each of them once."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    await rig.open("1")
    for foreign in ("1", "1", "3"):
        rig.long_venue.foreign = D(foreign)
        await rig.clock.pass_time(12)
    told = [one.told for one in await rig.journal.load() if isinstance(one, ReconciliationBroke)]
    assert told == [D("1.999"), D("3.999")]
    await rig.close_rig()


async def test_a_book_without_anything_of_ours_in_it_may_be_untold() -> None:
    """What a closed position has left behind is compared where it is told, and else is no news."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    opened = await rig.open("1")
    await rig.close(opened.position_id)
    rig.short_venue.answer_holdings = lambda held: replace(held, perpetuals=None)
    await rig.clock.pass_time(130)
    assert rig.engine.status().reason == ""
    await rig.close_rig()


async def test_a_venue_with_orders_of_an_earlier_run_in_doubt_is_not_taken_for_compared() -> None:
    """The ledger may not know of them: what a comparison says before is worth nothing."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    rig.short_venue.script.append(Fault(lost=True))
    await rig.call(rig.engine.open(rig.open_command("1")))
    await rig.clock.run_until(lambda: bool(rig.short_venue.offered))
    await rig.kill()
    rig.new_engine()
    await rig.engine.start()
    reconciler = rig.engine._fleet.reconciler
    # Until the fence of three seconds nobody knows whether the hedge arrives.
    await rig.clock.pass_time(2.5)
    assert not reconciler.is_done
    await rig.clock.run_until(lambda: reconciler.is_done, limit=5)
    await rig.close_rig()
