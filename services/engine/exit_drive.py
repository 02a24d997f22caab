"""The exit of a position: both legs leave together, then each is worked until it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from services.engine import events as ev
from services.engine.departure import JointDeparture, depart, note_skew
from services.engine.drive_context import DriveContext
from services.engine.executor import Dispatch
from services.engine.instruments import LegSide
from services.engine.leg_exit import LegExit
from services.engine.neutrality import is_neutral
from services.engine.order_desk import OrderDesk
from services.engine.steps import WorkDown

InFlight = Mapping[LegSide, tuple[Dispatch, str]]
"""The dispatch and the id of an order of a leg whose answer nobody has booked yet."""


class ExitDrive:
    """Takes both legs of one position down to what is asked. No leg waits for the other.

    `wake` is set by whoever changed the position; `probed` once nothing unrecorded of an earlier
    run can be left on the hedge leg.
    """

    def __init__(
        self, context: DriveContext, desk: OrderDesk, probed: asyncio.Event, wake: asyncio.Event
    ) -> None:
        self._context = context
        self._desk = desk
        self._wake = wake
        self._legs = {leg: LegExit(context, desk, leg, probed, wake) for leg in LegSide}

    async def run(self, joint: JointDeparture | None, in_flight: InFlight) -> None:
        """Work until nothing more is to be done for either leg with what is asked by then.

        `in_flight` are orders of the entry that the exit overtook: their leg waits for their
        answer, the other leg leaves at once.
        """
        for leg, (dispatch, key) in in_flight.items():
            self._legs[leg].adopt(dispatch, key)
        left = await self._leave_together(joint)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch_exposure())
            if left is not None:
                # Beside the legs: one that has to wait for its turn must not hold up the other.
                group.create_task(note_skew(self._context, *left))
            tasks: dict[LegSide, asyncio.Task[None]] = {}
            while True:
                for leg, worker in self._legs.items():
                    is_idle = leg not in tasks or tasks[leg].done()
                    # A late fill of one leg, or a wider exit, gives a leg that was done work again.
                    if is_idle and not worker.is_finished():
                        tasks[leg] = group.create_task(worker.run())
                running = {task for task in tasks.values() if not task.done()}
                if not running:
                    break
                self._wake.clear()
                woken = group.create_task(self._wake.wait())
                await asyncio.wait({*running, woken}, return_when=asyncio.FIRST_COMPLETED)
                # Left alone it would keep the group waiting for ever.
                woken.cancel()
            watching.cancel()

    async def _watch_exposure(self) -> None:
        """Alarm once one leg has been ahead of the other past the budget, whatever holds it up."""
        clock, budget = self._context.clock, self._context.policy.unhedged_time_budget
        since: float | None = None
        while True:
            position = self._desk.position
            apart = position.held(LegSide.LONG) - position.held(LegSide.SHORT)
            if is_neutral(apart, position.larger_lot):
                since = None
            else:
                since = clock.monotonic() if since is None else since
                if clock.monotonic() - since >= budget.total_seconds():
                    self._desk.alarm_exposed(LegSide.LONG if apart > 0 else LegSide.SHORT)
            await clock.sleep(budget.total_seconds() / 4)

    async def _leave_together(
        self, joint: JointDeparture | None
    ) -> tuple[Dispatch, list[ev.OrderIntended]] | None:
        """Send the first order of both legs at once; a leg in doubt leaves later, alone.

        Returns what left, where its skew is still to be booked: of a joint departure it is booked
        for all.
        """
        position_id = self._desk.position.position_id
        try:
            intents = await self._first_intents()
            if not intents:
                return None
            leaving = joint.join(position_id, intents) if joint else depart(self._context, intents)
            dispatch = await leaving
        finally:
            if joint is not None:
                joint.resign(position_id)
        # Before anything else can fail: an answer nobody holds would have to be asked for.
        for intent in intents:
            self._legs[intent.plan.leg].adopt(dispatch, intent.plan.client_order_id)
        return (dispatch, intents) if joint is None and len(intents) > 1 else None

    async def _first_intents(self) -> list[ev.OrderIntended]:
        """Return what both legs can send at once, priced; empty where that is out of date by then.

        More may be asked, or some of a leg be gone, while the prices are read.
        """
        steps = self._first_steps()
        plans = await asyncio.gather(*(self._legs[leg].priced(step) for leg, step in steps.items()))
        if self._first_steps() != steps:
            return []
        return [self._desk.intended(plan) for plan in plans]

    def _first_steps(self) -> dict[LegSide, WorkDown]:
        return {leg: step for leg, worker in self._legs.items() if (step := worker.first_step())}
