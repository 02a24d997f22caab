"""The one loop of a position: fold, decide, act, append, repeat; the same after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from services.engine import events as ev
from services.engine.correction import correction
from services.engine.departure import JointDeparture
from services.engine.drive_context import DriveContext
from services.engine.entry import EntryFacts, exposure, next_entry_step
from services.engine.executor import Dispatch
from services.engine.exit import settle_exit
from services.engine.exit_drive import ExitDrive
from services.engine.exposure_meter import ExposureMeter
from services.engine.instruments import LegSide
from services.engine.order_desk import OrderDesk
from services.engine.orders import OrderClass, OrderPlan
from services.engine.position import Position
from services.engine.reduction import closing_side, reduction_plan
from services.engine.steps import BookDust, Resolve, SendOrder, Settle, WorkDown

_T = TypeVar("_T")


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
        stops_slices: Callable[[], bool],
    ) -> None:
        self._context = context
        self._desk = OrderDesk(context, position_id)
        self._recovered = recovered
        self._stops_slices = stops_slices
        self._wake = asyncio.Event()
        self._probed = asyncio.Event()
        self._joint: JointDeparture | None = None
        self._is_waiting = False
        # Orders of the entry whose answers the exit waits for: it overtook them.
        self._in_flight: dict[LegSide, tuple[Dispatch, str]] = {}
        position = self._desk.position
        # Measured from here on: what an earlier run was exposed to nobody timed.
        self._meter = ExposureMeter(position.larger_lot, position.intent.lead_reference)
        self._lead_known_at: float | None = None
        # A settled entry sent its last hedge with a row: there is nothing unrecorded to ask for.
        if not recovered or position.entry_settled:
            self._probed.set()

    @property
    def position(self) -> Position:
        """The position as the book has it now."""
        return self._desk.position

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

    async def run(self, first: OrderPlan | None = None) -> None:
        """Drive until the position is final; `first` is the lead order that is already journaled.

        An error of ours stops entries in the symbol and is tried again from the journaled state.
        """
        # Journaled together with the entry, so it must not be journaled again.
        if first is not None:
            await self._guarded(lambda: self._send(first))
        while not self.position.status.is_final:
            apart = correction(self.position, self._context.clock.now())
            if apart is not None:
                await self._guarded(partial(self._context.book.record, apart))
                continue
            if self.position.is_settled:
                # Cleared before waiting and nothing awaited between: a command that came just now
                # is not lost.
                self._wake.clear()
                self._is_waiting = True
                await self._wake.wait()
                continue
            working = self._exit if self.position.exit is not None else self._entry_step
            await self._guarded(working)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:
            kind = "entry" if self.position.exit is None else "exit"
            await self._context.recover_from(error, self.position, kind)

    async def _entry_step(self) -> None:
        if not self._probed.is_set():
            if await self._desk.probe_hedge():
                self._probed.set()
            return
        now = self._context.clock.monotonic()
        self._meter.observe(now, exposure(self.position))
        facts = EntryFacts(self._meter.stretch(now), self._recovered or self._stops_slices())
        step = next_entry_step(self.position, facts, self._context.policy)
        match step:
            case SendOrder(plan, delay):
                if await self._waited(delay):
                    await self._intend(plan)
                    await self._send(plan)
            case WorkDown():
                if await self._waited(step.delay):
                    await self._unwind(step)
            case Resolve(keys):
                if not await self._unless_exit(self._desk.resolve_once(keys)):
                    await self._waited(timedelta(seconds=self._desk.wait_seconds(keys)))
            case BookDust():
                self._desk.book_dust(step)
                # The one step that waits for nothing: a wrong decision must not stop every drive.
                await asyncio.sleep(0)
            case Settle():
                await self._settle(step, measured=True)

    async def _waited(self, delay: timedelta) -> bool:
        """Wait; false when an exit was asked for meanwhile, so that the step is out of date."""
        if delay:
            await self._unless_exit(self._context.clock.sleep(delay.total_seconds()))
        return self.position.exit is None

    async def _unless_exit(self, work: Coroutine[Any, Any, _T]) -> _T | None:
        """Wait for work that may be left at any point; None where an exit was asked for before."""
        task = asyncio.create_task(work)
        try:
            while not task.done() and self.position.exit is None:
                self._wake.clear()
                woken = asyncio.create_task(self._wake.wait())
                await asyncio.wait({task, woken}, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
            return task.result() if task.done() else None
        finally:
            task.cancel()

    async def _intend(self, plan: OrderPlan) -> None:
        """Journal an order: durably, but for a hedge, which the entry's intent allows already."""
        intended = self._desk.intended(plan)
        if plan.order_class is OrderClass.HEDGE:
            # The entry's durable intent names this id, side and bound: a write here would cost
            # exposure.
            self._context.book.record_soon(intended)
        else:
            await self._context.book.record(intended)

    async def _send(self, plan: OrderPlan) -> None:
        dispatch = self._context.dispatch([plan])
        if plan.order_class is OrderClass.HEDGE and self._lead_known_at is not None:
            elapsed = self._context.clock.monotonic() - self._lead_known_at
            self._context.observer.hedge_dispatched(elapsed)
            self._lead_known_at = None
        result = None
        while result is None:
            if self.position.exit is not None:
                # The other leg must not wait for this answer: the exit of this leg does.
                self._in_flight[plan.leg] = (dispatch, plan.client_order_id)
                return
            self._wake.clear()
            result = await dispatch.result_or(plan.client_order_id, self._wake)
        await self._desk.note(result)
        # The clock of the hedge starts when the fill is known to us, not when it was booked.
        if plan.order_class is OrderClass.ENTRY:
            self._lead_known_at = result.ended_at
        self._meter.observe(result.ended_at, exposure(self.position))

    async def _unwind(self, step: WorkDown) -> None:
        rules = self.position.rules(step.leg)
        price = await self._context.read_touch(rules, closing_side(step.leg))
        # An exit came while the price was read: from here on its own orders take the leg down.
        if self.position.exit is not None:
            return
        plan = reduction_plan(self.position, step, OrderClass.UNWIND, price, self._context.policy)
        await self._intend(plan)
        await self._send(plan)

    async def _exit(self) -> None:
        joint, self._joint = self._joint, None
        exit_drive = ExitDrive(self._context, self._desk, self._probed, self._wake)
        in_flight, self._in_flight = self._in_flight, {}
        await exit_drive.run(joint, in_flight)
        await self._settle(settle_exit(self.position), measured=not self.position.entry_settled)

    async def _settle(self, step: Settle, *, measured: bool) -> None:
        now, position_id = self._context.clock.now(), self.position.position_id
        monotonic = self._context.clock.monotonic()
        self._meter.observe(monotonic, exposure(self.position))
        settled = ev.PositionSettled(position_id, now, step.status, step.reason)
        total = self._meter.total(monotonic)
        entry = ev.EntryMeasured(position_id, now, total, self._meter.max_notional)
        await self._context.book.record(*((entry, settled) if measured else (settled,)))
        residual = abs(self.position.residual) * self.position.intent.lead_reference
        self._context.observer.position_settled(step.status, total.total_seconds(), residual)
