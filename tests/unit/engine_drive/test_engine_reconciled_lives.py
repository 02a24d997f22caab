"""Seeded lives in which legs go, coins come, venues fall silent and the engine dies meanwhile."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import pytest

from services.engine.events import LegGone
from services.engine.instruments import InstrumentKind
from services.engine.views import PositionStatus
from tests.support.engine_lives import draw_fault
from tests.support.engine_rig import EngineRig, MemoryJournal, make_rules
from tests.support.fake_venue import Fault
from tests.support.virtual_clock import VirtualClock

SEEDS = 40
REST_SECONDS = 90.0
"""Silence, a crash with its fence, two rounds of the reconciler and slow exits."""

_ZERO = Decimal(0)
_SHARES = [Decimal(text) for text in ("0", "0.0004", "0.25", "0.5", "0.999", "1")]


class LossyLife:
    """One position of two perpetuals, of which one loses a share nobody ordered away."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.journal = MemoryJournal()
        rules = [make_rules(name, InstrumentKind.PERPETUAL) for name in ("one", "two")]
        self.rig = EngineRig(
            VirtualClock(), self.journal, long_rules=rules[0], short_rules=rules[1]
        )
        self.share = self.random.choice(_SHARES)
        self.is_silent = False

    async def run(self) -> None:
        """Open under faults, lose, fall silent or die, heal, and check."""
        rig = self.rig
        await rig.start()
        if self.random.random() < 0.5:
            rig.short_venue.script.append(draw_fault(self.random))
        view = await rig.open(self.random.choice(["0.5", "1", "3"]))
        for venue in rig.venues:
            venue.reads_fail = lambda: self.is_silent
        self._lose()
        await rig.clock.pass_time(self.random.uniform(0, 12))
        if self.random.random() < 0.5:
            await rig.kill(self.random.randrange(3))
            rig.new_engine()
            await rig.engine.start()
        self.is_silent = self.random.random() < 0.3
        for venue in rig.venues:
            venue.script.append(draw_fault(self.random) if self.random.random() < 0.5 else Fault())
        await rig.clock.pass_time(self.random.uniform(0, 8))
        self.is_silent = False
        await rig.clock.pass_time(REST_SECONDS)
        await self._check(view.position_id)
        await rig.close_rig()

    def _lose(self) -> None:
        venue = self.random.choice(self.rig.venues)
        lost = venue.filled() * self.share
        venue.foreign = -(lost - lost % venue.instrument.lot_size)

    async def _check(self, position_id: str) -> None:
        rig, view = self.rig, self.rig.engine.get(position_id)
        resting = (PositionStatus.OPEN, PositionStatus.CLOSED, PositionStatus.FLAT)
        assert view.status in resting, view
        for venue, leg in zip(rig.venues, (view.long_leg, view.short_leg), strict=True):
            assert venue.problems == []
            assert abs(venue.filled() + venue.foreign - leg.quantity) < venue.instrument.lot_size
        lot = max(venue.instrument.lot_size for venue in rig.venues)
        assert abs(view.residual_quantity) < lot + abs(view.dust_quantity), view
        assert "the venue tells" not in rig.engine.status().reason
        assert rig.engine.status().reconciled
        gone = [event for event in await rig.journal.load() if isinstance(event, LegGone)]
        if any(venue.foreign != _ZERO for venue in rig.venues):
            assert gone != []
        else:
            assert gone == []


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_whatever_a_leg_loses_the_position_comes_to_rest_matched(seed: int) -> None:
    """Both legs match, the ledger is what the venues hold, and nothing else is called gone."""
    await LossyLife(seed).run()
