"""The entry half of a position's drive: orders in flight, and what is done when news of them comes.

A step never waits for an order it has just sent. It waits for whatever comes first: an answer, an
event of the order stream, or a command; then it decides anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

from services.engine import events as ev
from services.engine.drive_context import DriveContext
from services.engine.entry import NO_QUOTE, EntryFacts, exposure, next_entry_step
from services.engine.executor import Dispatch, PlaceResult
from services.engine.exposure_meter import ExposureMeter
from services.engine.instruments import LegSide
from services.engine.order_desk import OrderDesk
from services.engine.orders import OrderClass, OrderOutcome, OrderPlan, OrderState
from services.engine.ports import OrderEvent
from services.engine.quote_watch import QuoteWatch
from services.engine.reduction import closing_side, reduction_plan
from services.engine.steps import (
    BookDust,
    EntryStep,
    Resolve,
    SendOrder,
    Settle,
    Wait,
    Watch,
    Withdraw,
    WorkDown,
)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Flight:
    """An order whose call has not come back."""

    dispatch: Dispatch
    plan: OrderPlan
    answer: asyncio.Task[PlaceResult]


class EntryWork:
    """Works one entry step by step until it settles or an exit overtakes it.

    `wake` is set by everything that may change the next step. What an earlier run may have sent
    without a row is asked for before `probed` is set.
    """

    def __init__(
        self,
        context: DriveContext,
        desk: OrderDesk,
        probed: asyncio.Event,
        wake: asyncio.Event,
        *,
        opens_nothing: Callable[[], bool],
    ) -> None:
        self._context = context
        self._desk = desk
        self._probed = probed
        self._wake = wake
        self._opens_nothing = opens_nothing
        self._flights: dict[LegSide, _Flight] = {}
        self._quotes = QuoteWatch(context.clock.monotonic())
        position = desk.position
        # Measured from here on: what an earlier run was exposed to nobody timed.
        self.meter = ExposureMeter(position.larger_lot, position.intent.lead_reference)
        self._lead_known_at: float | None = None

    def launch(self, plan: OrderPlan) -> None:
        """Send an order that is journaled; its answer wakes the position."""
        dispatch = self._context.dispatch([plan])
        if plan.order_class is OrderClass.HEDGE and self._lead_known_at is not None:
            elapsed = self._context.clock.monotonic() - self._lead_known_at
            told = self._context.observer.hedge_dispatched
            self._context.later(partial(told, elapsed, self._desk.position.position_id))
            self._lead_known_at = None
        # No task that waits for it: each one between an answer and the hedge costs a turn.
        dispatch.when_ending(plan.client_order_id, self._wake.set)
        if plan.post_only:
            self._quotes.sent_at = self._context.clock.monotonic()
        self._flights[plan.leg] = _Flight(dispatch, plan, dispatch.call(plan.client_order_id))

    def hear(self, event: OrderEvent) -> None:
        """Take what a venue told of an order of this position while its call may still be open."""
        lead = self._desk.position.held(self._desk.position.lead_leg)
        if not self._desk.hear(event):
            return
        self._measure(lead, self._context.clock.monotonic())
        self._wake.set()

    def hand_over(self) -> dict[LegSide, tuple[Dispatch, str]]:
        """Give the orders in flight to the exit that overtook the entry."""
        flights = {leg: (f.dispatch, f.plan.client_order_id) for leg, f in self._flights.items()}
        self.close()
        return flights

    def close(self) -> None:
        """Stop waiting for answers; the calls themselves go on."""
        for flight in self._flights.values():
            flight.dispatch.tell_nobody(flight.plan.client_order_id)
        self._flights.clear()

    async def step(self) -> Settle | None:
        """Do the next thing; returns how the entry is to settle once nothing is left to do."""
        if not self._probed.is_set():
            # The lead leaves at once: its exit does not wait for what is known of the hedges.
            if await self._unless_overtaken(self._desk.probe_hedge()):
                self._probed.set()
            return None
        self._wake.clear()
        await self._collect()
        step = self._decide()
        match step:
            case SendOrder():
                await self._send(step)
            case WorkDown():
                await self._unwind(step)
            case Resolve(keys):
                await self._learn(self._desk.resolve_once(keys), keys)
            case Wait():
                await self._wait()
            case Watch(delay):
                await self._watch(delay)
            case Withdraw(key):
                await self._learn(self._desk.withdraw_once(key), (key,))
            case BookDust():
                await self._give_up(step)
            case Settle():
                return step
        return None

    @property
    def _is_overtaken(self) -> bool:
        return self._desk.position.exit is not None

    def _decide(self) -> EntryStep:
        now = self._context.clock.monotonic()
        position = self._desk.position
        self.meter.observe(now, exposure(position))
        facts = EntryFacts(
            self.meter.stretch(now),
            self._opens_nothing(),
            frozenset(self._flights),
            self._quotes.facts(position, now) if position.intent.passive else NO_QUOTE,
        )
        return next_entry_step(position, facts, self._context.policy)

    async def _collect(self) -> None:
        for leg, flight in tuple(self._flights.items()):
            if not flight.answer.done():
                continue
            # Cancelled only where the engine ends: the next run asks for the order.
            if not flight.answer.cancelled():
                await self._note(flight.answer.result())
            # Last: where the journal failed, the answer is kept for the next try.
            del self._flights[leg]

    async def _note(self, result: PlaceResult) -> None:
        lead = self._desk.position.held(self._desk.position.lead_leg)
        await self._desk.note(result)
        if result.plan.post_only and isinstance(result.answer, OrderOutcome):
            self._quotes.taken = result.plan.client_order_id
        # The clock of the hedge starts when the fill is known to us, not when it was booked.
        self._measure(lead, result.ended_at)

    def _measure(self, lead_before: Decimal, at: float) -> None:
        position = self._desk.position
        if position.held(position.lead_leg) != lead_before:
            self._lead_known_at = at
        self.meter.observe(at, exposure(position))

    async def _send(self, step: SendOrder) -> None:
        plan = step.plan
        if step.delay:
            await self._pause(step.delay)
            await self._collect()
            # Fills that came meanwhile change how much is to be sent.
            again = self._decide()
            if self._is_overtaken or not isinstance(again, SendOrder):
                return
            plan = again.plan
        await self._intend(plan)
        if plan.order_class is OrderClass.ENTRY and (self._is_overtaken or self._opens_nothing()):
            # Nothing new is opened after the word to stop; it never left, and that is known.
            now = self._context.clock.now()
            unsent = ev.OrderNotSent(self._desk.position.position_id, now, plan.client_order_id)
            self._context.book.record_soon(unsent)
            return
        await self._let_go(plan)

    async def _intend(self, plan: OrderPlan) -> None:
        """Journal an order: durably, but for a hedge, which the entry's intent allows already."""
        intended = self._desk.intended(plan)
        if plan.order_class is OrderClass.HEDGE and not self._follows_absent_hedge():
            # The entry's durable intent names this id, side and bound: a write here would cost
            # exposure.
            self._context.book.record_soon(intended)
        else:
            await self._context.book.record(intended)

    def _follows_absent_hedge(self) -> bool:
        """Tell whether the hedge before never arrived.

        A restart asks the series in turn and ends at the first id that no venue knows: were that
        row lost, it would take this hedge for never sent.
        """
        hedges = self._desk.position.of(order_class=OrderClass.HEDGE)
        return bool(hedges) and hedges[-1].state is OrderState.NOT_SENT

    async def _unwind(self, step: WorkDown) -> None:
        if step.delay:
            await self._pause(step.delay)
        rules = self._desk.position.rules(step.leg)
        price = await self._context.read_touch(rules, closing_side(step.leg))
        await self._collect()
        again = self._decide()
        # An exit came while the price was read: from here on its own orders take the leg down.
        if self._is_overtaken or not isinstance(again, WorkDown) or again.leg is not step.leg:
            return
        plan = reduction_plan(
            self._desk.position, again, OrderClass.UNWIND, price, self._context.policy
        )
        await self._intend(plan)
        await self._let_go(plan)

    async def _give_up(self, dust: BookDust) -> None:
        """Book a rest as dust once it is known to be there; news and exits do not wait for that."""
        is_there = await self._unless_woken(self._desk.is_there(dust.leg))
        if is_there and not self._is_overtaken and self._decide() == dust:
            self._desk.book_dust(dust)
            # It may have waited for nothing: a wrong decision must not stop every drive.
            await asyncio.sleep(0)
        elif is_there is False:
            await self._pause(self._context.policy.resolve_interval_last)

    async def _let_go(self, plan: OrderPlan) -> None:
        """Send, and decide on only when gRPC has the order: one turn for the call, one for gRPC."""
        self.launch(plan)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def _watch(self, delay: timedelta) -> None:
        """Let a resting lead be, then look at it and at both books; a fill ends either at once."""
        if delay:
            await self._unless_woken(self._context.clock.sleep(delay.total_seconds()))
        if not self._wake.is_set():
            await self._unless_woken(self._quotes.look(self._context, self._desk))

    async def _learn(self, asking: Coroutine[Any, Any, bool], keys: tuple[str, ...]) -> None:
        learned = await self._unless_woken(asking)
        if learned is False:
            await self._unless_woken(self._context.clock.sleep(self._desk.wait_seconds(keys)))

    async def _wait(self) -> None:
        """Wait for news; a hedge or unwind in flight past the budget alarms like one in doubt."""
        classes = {flight.plan.order_class for flight in self._flights.values()}
        exposed_for = self.meter.stretch(self._context.clock.monotonic())
        left = self._context.policy.unhedged_time_budget - exposed_for
        if classes <= {OrderClass.ENTRY} or not self.meter.is_exposed:
            await self._wake.wait()
        elif left > timedelta(0):
            await self._unless_woken(self._context.clock.sleep(left.total_seconds()))
        else:
            self._desk.alarm_late(exposed_for.total_seconds())
            await self._wake.wait()

    async def _pause(self, delay: timedelta) -> None:
        """Wait, but not on when an exit is asked for."""
        await self._unless_overtaken(self._context.clock.sleep(delay.total_seconds()))

    async def _unless_overtaken(self, work: Coroutine[Any, Any, _T]) -> _T | None:
        """Wait for work that may be left at any point; None where an exit came before its end."""
        task = asyncio.create_task(work)
        try:
            while not (task.done() or self._is_overtaken):
                self._wake.clear()
                await self._unless_woken(asyncio.wait({task}))
            return task.result() if task.done() else None
        finally:
            task.cancel()

    async def _unless_woken(self, work: Coroutine[Any, Any, _T]) -> _T | None:
        """Wait for work that may be left at any point; None where news came before its end."""
        task = asyncio.create_task(work)
        woken = asyncio.create_task(self._wake.wait())
        try:
            await asyncio.wait({task, woken}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            woken.cancel()
