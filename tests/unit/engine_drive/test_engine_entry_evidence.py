"""What an entry must rest on: fresh figures, and nothing of the user's in the way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest

from services.common.errors import PreconditionError
from services.engine.engine import Engine
from services.engine.entry_desk import EntryRefusedError
from services.engine.instruments import InstrumentRef, PositionMode
from services.engine.ports import OpportunityLegs
from services.engine.risk_limits import RiskLimits
from tests.support.engine_rig import EngineRig, MemoryJournal
from tests.support.virtual_clock import START, VirtualClock

D = Decimal


@dataclass(frozen=True, slots=True)
class OneOpportunity:
    """A scanner with one opportunity, observed so long before the clock's start."""

    long_leg: InstrumentRef
    short_leg: InstrumentRef
    age: timedelta | None

    async def resolve(self, opportunity_id: str) -> OpportunityLegs:
        """Answer it."""
        observed = None if self.age is None else START - self.age
        return OpportunityLegs(opportunity_id, self.long_leg, self.short_leg, observed)


def offering(rig: EngineRig, age: timedelta | None) -> Engine:
    """Let the rig's next engine follow a scanner whose figures are this old; returns it."""
    long, short = (venue.instrument.ref for venue in rig.venues)
    rig.opportunities = OneOpportunity(long, short, age)
    rig.extras["risk"] = RiskLimits(max_opportunity_age=timedelta(seconds=30))
    return rig.new_engine()


@pytest.mark.parametrize(
    ("seconds", "is_taken"), [(10, True), (31, False), (-31, False), (None, False)]
)
async def test_only_an_opportunity_with_fresh_figures_is_entered(
    seconds: int | None, is_taken: bool
) -> None:
    """Figures that are too old, of the future, or of no told age open nothing."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    offering(rig, None if seconds is None else timedelta(seconds=seconds))
    await rig.start()
    command = rig.open_command("1", opportunity_id="one", long_leg=None, short_leg=None)
    if is_taken:
        await rig.call(rig.engine.open(command))
    else:
        with pytest.raises(PreconditionError) as refusal:
            await rig.call(rig.engine.open(command))
        assert refusal.value.reason == "OPPORTUNITY_STALE"
        assert rig.long_venue.arrivals == rig.short_venue.arrivals == []
    await rig.close_rig()


async def test_everything_against_an_entry_is_told_at_once_and_nothing_is_sent() -> None:
    """Both legs are judged whole: funds, depth, mode and the user's own position."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    rig.long_venue.funds = D(1)
    rig.short_venue.depth = D("0.5")
    rig.short_venue.foreign = D("0.25")
    rig.short_venue.mode = PositionMode.HEDGE
    with pytest.raises(EntryRefusedError) as refusal:
        await rig.call(rig.engine.open(rig.open_command("1")))
    found = {(failure.reason, failure.leg) for failure in refusal.value.failures}
    assert {(reason, leg.value if leg else "") for reason, leg in found} == {
        ("BALANCE_INSUFFICIENT", "long"),
        ("DEPTH_INSUFFICIENT", "short"),
        ("FOREIGN_POSITION", "short"),
        ("POSITION_MODE", "short"),
    }
    assert rig.engine.positions() == ()
    assert rig.long_venue.arrivals == rig.short_venue.arrivals == []
    await rig.close_rig()


async def test_an_entry_beside_the_users_position_that_came_later_is_refused() -> None:
    """A position of ours is no excuse: what is not ours is told by what our ledger has not."""
    rig = EngineRig(VirtualClock(), MemoryJournal())
    await rig.start()
    opened = await rig.open("1")
    await rig.close(opened.position_id)
    rig.short_venue.foreign = D(-1)
    with pytest.raises(EntryRefusedError) as refusal:
        await rig.call(rig.engine.open(rig.open_command("1")))
    assert "FOREIGN_POSITION" in str(refusal.value.metadata["failures"])
    await rig.close_rig()
