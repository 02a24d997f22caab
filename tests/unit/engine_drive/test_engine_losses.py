"""Seeded lives in which venues take parts of legs, told by streams, by readings, twice or late."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from services.engine.commands import CloseAllCommand
from services.engine.entry_desk import EntryRefusedError
from services.engine.gone_record import GoneRecord, joined
from services.engine.leg_gone import ForcedFill
from services.engine.orders import GoneCause, OrderClass, OrderPlan, OrderSide
from services.engine.sizing import floor_to_lot
from services.engine.views import PositionStatus
from tests.support.engine_lives import Life
from tests.support.fake_venue import FakeVenue, Fault

pytestmark = pytest.mark.timeout(300)

D = Decimal
SEEDS_PER_TEST = 40
FINDING_SECONDS = 20.0
"""Two readings of a venue, the second look at what is new, and the orders that follow."""

_arrive = FakeVenue._arrive


def arrive_reducing(self: FakeVenue, plan: OrderPlan, fault: Fault) -> None:
    """Let a reducing order fill no more than the account has, as venues do."""
    is_reducing = plan.order_class in (OrderClass.EXIT, OrderClass.UNWIND)
    # What buys borrowed coins back is larger than the loan, by its own fee.
    if is_reducing and not self.instrument.use_margin:
        account = self.foreign + self.filled()
        left = max(account if plan.side is OrderSide.SELL else -account, D(0))
        is_cut = plan.reduce_only and left > 0
        if plan.quantity > left and not is_cut:
            fault = replace(fault, reject=True)
        elif plan.quantity > left:
            ratio = min(fault.fill_ratio, left / plan.quantity)
            fault = replace(fault, fill_ratio=ratio, late_ratio=D(0))
        elif fault.late_ratio:
            # What fills later would have to be cut later.
            fault = replace(fault, late_ratio=D(0))
    _arrive(self, plan, fault)


class LosingLife(Life):
    """A life in which a venue takes something of a leg once or twice."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.losses = 0
        self.untold: list[ForcedFill] = []

    async def _meddle(self) -> None:
        if self.random.random() < 0.4:
            await super()._meddle()
            return
        # A margin short that is paid back by hand is no loss of a position: it stays out.
        venues = [v for v in self.rig.venues if not v.instrument.use_margin]
        venue = self.random.choice(venues)
        account = venue.foreign + venue.filled()
        share = self.random.choice([D("0.1"), D("0.5"), D("0.9"), D(1)])
        taken = floor_to_lot(abs(account) * share, venue.instrument.lot_size)
        if taken == 0:
            return
        self.losses += 1
        venue.foreign -= taken.copy_sign(account)
        if venue.instrument.is_perpetual and self.random.random() < 0.6:
            cause = self.random.choice([GoneCause.LIQUIDATED, GoneCause.AUTO_DELEVERAGED])
            side = OrderSide.SELL if account > 0 else OrderSide.BUY
            ref = venue.instrument.ref
            fill = ForcedFill(ref.exchange, ref.symbol, side, taken, f"f{self.losses}", cause)
            for _ in range(self.random.choice([0, 1, 2])):
                await self.rig.call(self.rig.engine.news.forced_fill(fill))
            self.untold.append(fill)

    async def run(self) -> None:
        """Live: open, meddle, lose, heal, be found out, close, and check at both ends."""
        rig = self.rig
        await rig.start()
        quantity = str(self.random.choice([D("1.2"), D(3)]))
        try:
            await rig.call(rig.engine.open(rig.open_command(quantity)))
        except EntryRefusedError:
            # The rules drawn for the legs allow no hedge: there is nothing to lose.
            await rig.close_rig()
            return
        for venue in rig.venues:
            venue.reads_fail = self._reads_fail
        for _ in range(self.random.choice([1, 2, 3])):
            await rig.clock.pass_time(self.random.choice([0.001, 0.011, 0.02, 0.3, 4.0]))
            await self._meddle()
        self.healed = True
        await rig.clock.pass_time(FINDING_SECONDS)
        await self._rest()
        self.check()
        # A stream that was away tells all of it again, long after the readings did.
        for fill in self.untold:
            await rig.call(rig.engine.news.forced_fill(fill))
        await rig.clock.pass_time(1)
        await self._rest()
        self.check()
        await rig.call(rig.engine.close_all(CloseAllCommand(rig.request_id())))
        await self._rest()
        self.check()
        assert all(view.status.is_final for view in rig.engine.positions())
        await rig.close_rig()

    def check(self) -> None:
        """Assert that ledger and accounts agree and that what is on is hedged, or nothing is."""
        assert self.problems == []
        lots = [venue.instrument.lot_size for venue in self.rig.venues]
        (view,) = self.rig.engine.positions()
        accounts = [venue.foreign + venue.filled() for venue in self.rig.venues]
        ledger = [view.long_leg.quantity, view.short_leg.quantity]
        for told, known, lot in zip(accounts, ledger, lots, strict=True):
            # Nothing is booked of dust that was given up: it is the user's own from then on.
            assert abs(told - known) < lot + abs(view.dust_quantity), (accounts, ledger)
        assert abs(ledger[0] + ledger[1]) < max(lots) + abs(view.dust_quantity)
        if view.status in (PositionStatus.CLOSED, PositionStatus.FLAT):
            most = max(lots) + abs(view.dust_quantity)
            assert all(abs(quantity) < most for quantity in ledger)


@pytest.mark.parametrize("first", range(0, 2 * SEEDS_PER_TEST, SEEDS_PER_TEST))
async def test_a_life_with_losses_ends_hedged_or_flat(
    monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """Whatever a venue takes and whoever tells it, the other leg follows and the books agree."""
    monkeypatch.setattr(FakeVenue, "_arrive", arrive_reducing)
    losses = 0
    for seed in range(first, first + SEEDS_PER_TEST):
        life = LosingLife(seed)
        try:
            await life.run()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        losses += life.losses
    assert losses > SEEDS_PER_TEST / 3


def counted_by_both(patch: pytest.MonkeyPatch) -> None:
    """Add what a reading finds to what the forced fills told already."""

    def both(self: GoneRecord) -> Decimal:
        return sum((fill.quantity for fill in self.fills.values()), D(0)) + self.read_total

    patch.setattr(GoneRecord, "total", property(both))


def counted_as_told(patch: pytest.MonkeyPatch) -> None:
    """Take each word of a forced fill for a fill of its own."""
    numbers = itertools.count()

    def fresh(
        record: GoneRecord, quantity: Decimal, evidence: str, *rest: GoneCause | Decimal | None
    ) -> GoneRecord:
        return joined(record, quantity, f"{evidence}-{next(numbers)}", *rest)  # type: ignore[arg-type]  # passed on

    patch.setattr("services.engine.position.joined", fresh)


def other_leg_left(patch: pytest.MonkeyPatch) -> None:
    """Book the loss and do nothing about the other leg."""
    for module in ("drive", "news_desk"):
        patch.setattr(f"services.engine.{module}.correction", lambda _position, _at: None)


def loss_of_the_ledger_only(patch: pytest.MonkeyPatch) -> None:
    """Never compare the ledger with the venues."""
    patch.setattr("services.engine.fleet.by_reading", lambda *_: None)


@pytest.mark.parametrize(
    "plant",
    [
        counted_by_both,
        counted_as_told,
        other_leg_left,
        loss_of_the_ledger_only,
    ],
    ids=lambda plant: plant.__name__,
)
async def test_a_bug_in_booking_losses_is_found(
    monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """Some life of the first few ends naked, with a broken ledger or not at all."""
    monkeypatch.setattr(FakeVenue, "_arrive", arrive_reducing)
    plant(monkeypatch)
    for seed in range(SEEDS_PER_TEST):
        life = LosingLife(seed)
        try:
            await life.run()
        except AssertionError:
            await life.rig.close_rig()
            return
    pytest.fail(f"{plant.__name__} was not found")
