"""The one loop of a position: fold, decide, act, append, repeat; the same after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from services.common.logs import bind_context
from services.common.tracing import SPAN
from services.engine import events as ev
from services.engine.correction import Correction, correction
from services.engine.departure import JointDeparture
from services.engine.drive_context import DriveContext
from services.engine.entry import exposure
from services.engine.entry_work import EntryWork
from services.engine.exit import settle_exit
from services.engine.exit_drive import ExitDrive
from services.engine.order_desk import OrderDesk
from services.engine.orders import OrderPlan
from services.engine.position import Position
from services.engine.steps import Settle


class PositionDrive:
    """Owns one position until it is closed or flat; at rest it waits for a command.

    `recovered` positions come from an earlier run: hedges that run may have sent without a row are
    asked for first, and no further slice is opened.
    """

    def __init__(
        self,
        context: DriveContext,
        position_id: str,
        *,
        recovered: bool,
        stops_slices: Callable[[str], bool],
    ) -> None:
        self._context = context
        self._desk = OrderDesk(context, position_id)
        self._wake = asyncio.Event()
        self._probed = asyncio.Event()
        self._joint: JointDeparture | None = None
        self._is_waiting = False
        # A settled entry sent its last hedge with a row: there is nothing unrecorded to ask for.
        if not recovered or self._desk.position.entry_settled:
            self._probed.set()
        self._entry = EntryWork(
            context,
            self._desk,
            self._probed,
            self._wake,
            opens_nothing=lambda: recovered or stops_slices(self.position.symbol),
        )
        # One for all tries: an error must not lose the orders in flight that it was handed.
        self._exit_drive = ExitDrive(context, self._desk, self._probed, self._wake)

    @property
    def position(self) -> Position:
        """The position as the book has it now."""
        return self._desk.position

    @property
    def is_probed(self) -> bool:
        """Whether no order of an earlier run can be missing from the journal."""
        return self._probed.is_set()

    @property
    def is_recovered(self) -> bool:
        """Whether nothing of an earlier run is in doubt and no exposure is left without an owner.

        An exit that is under way counts: it only shrinks, and may wait for a venue for long.
        """
        position = self.position
        # An order in doubt may still fill: entries wait until nothing of the earlier run can.
        in_doubt = bool(position.unresolved()) or not self._probed.is_set()
        return not in_doubt and (position.is_settled or position.exit is not None)

    @property
    def is_waiting(self) -> bool:
        """Whether the drive is at rest, so that an exit that was asked for is its next work."""
        return self._is_waiting

    def wake(self, joint: JointDeparture | None = None) -> None:
        """Tell the drive that a command changed the position, and whom its exit is to leave with.

        `joint` may be given only to a drive that `is_waiting`, with the exit requested already.
        """
        self._joint = joint or self._joint
        self._is_waiting = False
        self._wake.set()

    def look_again(self) -> None:
        """Let an entry that is under way decide anew: what it may open has changed."""
        self._wake.set()

    async def run(self, first: OrderPlan | None = None) -> None:
        """Drive until the position is final; `first` is the lead order that is already journaled.

        An error of ours stops entries in the symbol and is tried again from the journaled state.
        """
        events, position_id = self._context.order_events, self.position.position_id
        bind_context(position_id=position_id)
        # The task was started in the command's; its orders find the entry by the position's id.
        SPAN.set(None)
        events.follow(position_id, self._entry.hear)
        try:
            # Journaled together with the entry, so it must not be journaled again.
            if first is not None:
                self._entry.launch(first)
            await self._work()
        finally:
            events.unfollow(position_id)
            self._entry.close()

    async def _work(self) -> None:
        # A fill may be heard while the end is written: until this drive lets go it is the only one.
        while not self.position.status.is_final or self._correction() is not None:
            await self._guarded(self._turn)

    async def _turn(self) -> None:
        apart = self._correction()
        if apart is not None:
            await self._context.book.record(apart)
        elif self.position.is_settled:
            # Cleared before waiting and nothing awaited between: a command that came just now is
            # not lost.
            self._wake.clear()
            self._is_waiting = True
            await self._wake.wait()
        elif self.position.exit is not None:
            await self._exit()
        else:
            await self._entry_step()

    def _correction(self) -> Correction | None:
        return correction(self.position, self._context.clock.now())

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:
            kind = "entry" if self.position.exit is None else "exit"
            await self._context.recover_from(error, self.position, kind)

    async def _entry_step(self) -> None:
        settle = await self._entry.step()
        if settle is not None:
            await self._settle(settle, measured=True)

    async def _exit(self) -> None:
        joint, self._joint = self._joint, None
        await self._exit_drive.run(joint, self._entry.hand_over())
        await self._settle(settle_exit(self.position), measured=not self.position.entry_settled)

    async def _settle(self, step: Settle, *, measured: bool) -> None:
        now, position_id = self._context.clock.now(), self.position.position_id
        monotonic = self._context.clock.monotonic()
        self._entry.meter.observe(monotonic, exposure(self.position))
        settled = ev.PositionSettled(position_id, now, step.status, step.reason)
        total = self._entry.meter.total(monotonic)
        entry = ev.EntryMeasured(position_id, now, total, self._entry.meter.max_notional)
        await self._context.book.record(*((entry, settled) if measured else (settled,)))
        residual = abs(self.position.residual) * self.position.intent.lead_reference
        observer = self._context.observer
        observer.position_settled(step.status, total.total_seconds(), residual, position_id)
