"""The drives of all positions: launched, recovered, woken and brought to rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from services.engine import events as ev
from services.engine.correction import is_on
from services.engine.departure import JointDeparture
from services.engine.drive import PositionDrive
from services.engine.drive_context import DriveContext
from services.engine.funding_ledger import FundingLedger, pause_between_reads
from services.engine.instruments import InstrumentRules
from services.engine.leg_gone import by_reading
from services.engine.news_desk import NewsDesk
from services.engine.orders import OrderPlan
from services.engine.owned_tasks import OwnedTasks
from services.engine.position import Position
from services.engine.reconciler import Reconciler
from services.engine.reconciliation import MissingLeg
from services.engine.views import PositionStatus

_POLL_SECONDS = 0.02


class DriveFleet:
    """Owns one drive per position that is not closed, and the reading of their funding."""

    def __init__(
        self,
        context: DriveContext,
        funding: FundingLedger,
        tasks: OwnedTasks,
        stops_slices: Callable[[str], bool],
    ) -> None:
        self._funding = funding
        self._tasks = tasks
        self._stops_slices = stops_slices
        self._drives: dict[str, PositionDrive] = {}
        self._is_recovered = False
        self.news = NewsDesk(context.book, context.clock, self.wake)
        """Where readings and streams report what venues tell unasked."""
        self.reconciler = Reconciler(context, self._unprobed, self._report_missing, self._charge)
        self._context = replace(context, confirm=self._confirm)

    @property
    def is_reconciled(self) -> bool:
        """Whether nothing of earlier runs is in doubt and each venue was compared with the ledger.

        What is broken stops entries by itself; exits wait for neither.
        """
        return self._is_recovered and self._context.book.is_whole and self.reconciler.is_done

    def launch(self, position_id: str, first: OrderPlan | None) -> None:
        """Drive a new position whose first order is journaled; None where it was kept here."""
        self._run(position_id, first, recovered=False)

    def recover(self, changed: Callable[[], None]) -> None:
        """Take up the positions of an earlier run; `changed` is called once they are in order.

        What has ended need not be known yet: `compare` begins once it is.
        """
        for position in self._context.book.all():
            if is_on(position):
                self._run(position.position_id, None, recovered=True)
        self._tasks.spawn(self._note_recovery(changed), "recovery")

    def compare(self, changed: Callable[[], None]) -> None:
        """Begin to compare each venue with the ledger; `changed` is told of what that changes."""
        for exchange in self._context.gateways:
            watch = self.reconciler.watch(exchange, changed)
            self._tasks.spawn(watch, f"reconcile-{exchange}")
        self._tasks.spawn(self._read_funding(), "funding")

    def wake(self, position_id: str) -> None:
        """Tell a position's drive of a command; none runs for a closed position.

        A position that had ended and goes on, by a fill that came later, gets a drive again.
        """
        drive = self._drives.get(position_id)
        if drive is not None:
            drive.wake()
            return
        position = self._context.book.get(position_id)
        if position is not None and is_on(position):
            self._run(position_id, None, recovered=True)

    def wake_together(self, position_ids: Sequence[str]) -> None:
        """Tell these drives of an exit; the first orders of those at rest leave in one dispatch."""
        waiting = [
            key for key in position_ids if key in self._drives and self._drives[key].is_waiting
        ]
        joint = JointDeparture(self._context, waiting) if len(waiting) > 1 else None
        for key in position_ids:
            if joint is not None and key in waiting:
                self._drives[key].wake(joint)
            else:
                self.wake(key)
        if joint is not None:
            self._tasks.spawn(joint.run(), "joint-departure")

    def look_again(self) -> None:
        """Let every entry under way decide anew, so that a resting lead is taken back at once."""
        for drive in self._drives.values():
            if drive.position.status is PositionStatus.OPENING:
                drive.look_again()

    async def rest(self, bound: timedelta) -> None:
        """Wait until no position moves, at most `bound`."""
        clock = self._context.clock
        end = clock.monotonic() + bound.total_seconds()
        while clock.monotonic() < end and any(
            not drive.position.is_settled for drive in self._drives.values()
        ):
            await clock.sleep(_POLL_SECONDS)

    def _run(self, position_id: str, first: OrderPlan | None, *, recovered: bool) -> None:
        drive = PositionDrive(
            self._context, position_id, recovered=recovered, stops_slices=self._stops_slices
        )
        # Before the task runs: a command may come in the very next turn of the loop.
        self._drives[position_id] = drive
        self._tasks.spawn(self._drive(position_id, drive, first), f"drive-{position_id}")

    async def _drive(self, position_id: str, drive: PositionDrive, first: OrderPlan | None) -> None:
        await drive.run(first)
        del self._drives[position_id]
        # The venue books a last payment a little after the exit: read now, and once more later.
        await self._funding.read(position_id)
        await self._context.clock.sleep(self._context.policy.funding_read_interval.total_seconds())
        await self._funding.read(position_id)

    async def _note_recovery(self, changed: Callable[[], None]) -> None:
        recovered = tuple(self._drives.values())
        while not all(drive.is_recovered for drive in recovered):
            await self._context.clock.sleep(_POLL_SECONDS)
        self._is_recovered = True
        changed()

    def _unprobed(self) -> tuple[Position, ...]:
        # Not all that are unrecovered: one whose unwind is refused, since its leg is gone, would
        # never be compared and so never be found out.
        return tuple(d.position for d in self._drives.values() if not d.is_probed)

    async def _report_missing(self, missing: MissingLeg) -> None:
        position = self._context.book.get(missing.position_id)
        if position is None:
            return
        now = self._context.clock.now()
        event = by_reading(position, missing.leg, missing.quantity, now)
        if event is not None:
            await self.news.leg_gone(event)

    async def _confirm(self, rules: InstrumentRules) -> bool:
        """Compare in a task of its own: a drive may stop waiting, and nothing is left half done."""
        comparing = self.reconciler.confirm(rules)
        return await asyncio.shield(self._tasks.spawn(comparing, f"confirm-{rules.ref.exchange}"))

    async def _charge(self, event: ev.InterestCharged) -> None:
        await self.news.interest(event)

    async def _read_funding(self) -> None:
        while True:
            held = [key for key, drive in self._drives.items() if _is_open(drive)]
            pause = pause_between_reads(len(held), self._context.policy).total_seconds()
            for position_id in held:
                await self._funding.read(position_id)
                await self._context.clock.sleep(pause)
            if not held:
                await self._context.clock.sleep(pause)


def _is_open(drive: PositionDrive) -> bool:
    return drive.position.status is PositionStatus.OPEN
