"""Working one leg down until it is done, whatever becomes of the other."""

from __future__ import annotations

import asyncio

from services.engine.drive_context import DriveContext
from services.engine.executor import Dispatch
from services.engine.exit import next_exit_step
from services.engine.instruments import LegSide
from services.engine.order_desk import OrderDesk
from services.engine.orders import OrderClass, OrderPlan
from services.engine.reduction import closing_side, reduction_plan
from services.engine.steps import BookDust, LegDone, LegStep, Resolve, Withdraw, WorkDown


class LegExit:
    """One leg's exit: decide, send, note, repeat. An error of ours pauses it and never ends it."""

    def __init__(
        self,
        context: DriveContext,
        desk: OrderDesk,
        leg: LegSide,
        probed: asyncio.Event,
        wake: asyncio.Event,
    ) -> None:
        self._context = context
        self._desk = desk
        self._leg = leg
        self._probed = probed
        self._wake = wake
        self._in_flight: tuple[Dispatch, str] | None = None

    def adopt(self, dispatch: Dispatch, client_order_id: str) -> None:
        """Take over an order of this leg that left together with the other leg's."""
        self._in_flight = (dispatch, client_order_id)

    async def run(self) -> None:
        """Work until nothing more is to be done for this leg with what is asked now."""
        while not self.is_finished():
            try:
                await self._step()
            except Exception as error:
                work = f"exit of the {self._leg.value} leg"
                await self._context.recover_from(error, self._desk.position, work)

    def is_finished(self) -> bool:
        """Tell whether nothing of the leg is in flight, in doubt or left to trade."""
        if self._in_flight is not None or not self._may_decide():
            return False
        return isinstance(self._next(), LegDone)

    def first_step(self) -> WorkDown | None:
        """Return what the leg can send at once; None where it must ask or wait before."""
        if not self._may_decide():
            return None
        step = self._next()
        return step if isinstance(step, WorkDown) and not step.delay else None

    async def priced(self, step: WorkDown) -> OrderPlan:
        """Read the touch and return the order of a step."""
        rules = self._desk.position.rules(self._leg)
        price = await self._context.read_touch(rules, closing_side(self._leg))
        return reduction_plan(
            self._desk.position, step, OrderClass.EXIT, price, self._context.policy
        )

    def _next(self) -> LegStep:
        return next_exit_step(self._desk.position, self._leg, self._context.policy)

    def _may_decide(self) -> bool:
        return self._leg is not self._desk.position.hedge_leg or self._probed.is_set()

    async def _step(self) -> None:
        if self._in_flight is not None:
            dispatch, key = self._in_flight
            await self._desk.note(await dispatch.result(key))
            self._in_flight = None
            return
        if not self._may_decide():
            if await self._desk.probe_hedge():
                self._probed.set()
            return
        match self._next():
            case WorkDown() as step:
                await self._work(step)
            case Resolve(keys):
                if not await self._desk.resolve_once(keys):
                    await self._context.clock.sleep(self._desk.wait_seconds(keys))
            case Withdraw(key):
                if not await self._desk.withdraw_once(key):
                    await self._context.clock.sleep(self._desk.wait_seconds((key,)))
            case BookDust() as dust:
                await self._give_up(dust)
            case LegDone():
                return

    async def _give_up(self, dust: BookDust) -> None:
        """Book a rest as dust once it is known to be there; what is gone changes what is left."""
        is_there = await self._desk.is_there(self._leg)
        if self._next() != dust:
            return
        if is_there:
            self._desk.book_dust(dust)
            await asyncio.sleep(0)
        else:
            await self._context.clock.sleep(
                self._context.policy.resolve_interval_last.total_seconds()
            )

    async def _work(self, step: WorkDown) -> None:
        if step.delay and not await self._is_due(step):
            return
        plan = await self.priced(step)
        if self._next() != step:
            # More was asked, or some of the leg is gone, while the price was read: decide again.
            return
        await self._context.book.record(self._desk.intended(plan))
        dispatch = self._context.dispatch([plan])
        self._in_flight = (dispatch, plan.client_order_id)

    async def _is_due(self, step: WorkDown) -> bool:
        """Wait the delay of a step; false as soon as the step is not the next one any more."""
        pause = asyncio.create_task(self._context.clock.sleep(step.delay.total_seconds()))
        woken = asyncio.create_task(self._wake.wait())
        try:
            while not pause.done():
                await asyncio.wait({pause, woken}, return_when=asyncio.FIRST_COMPLETED)
                # A close in the middle of a reduce's backoff leaves now, not after it.
                if self._next() != step:
                    return False
                if woken.done():
                    woken = asyncio.create_task(self._wake.wait())
            return True
        finally:
            pause.cancel()
            woken.cancel()
