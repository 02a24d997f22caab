"""Sending and asking for one position: every answer becomes an event before the next decision."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from functools import partial

from services.common.errors import OpensqtError
from services.common.logs import get_logger
from services.engine import events as ev
from services.engine.drive_context import DriveContext
from services.engine.executor import PlaceResult
from services.engine.instruments import LegSide
from services.engine.order_ids import client_order_id
from services.engine.orders import OrderClass, OrderOutcome, OrderPlan, OrderState
from services.engine.placing import event_of_answer, is_plausible
from services.engine.ports import OrderEvent
from services.engine.position import OrderRecord, Position, fold, opening_side
from services.engine.reduction import follows_refusal
from services.engine.resolver import Absence, Finding
from services.engine.slippage import slippage_ratio
from services.engine.steps import BookDust

_ZERO = Decimal(0)
_log = get_logger(__name__)


class OrderDesk:
    """The orders of one position: notes answers, resolves unknown ones, alarms past the budget."""

    def __init__(self, context: DriveContext, position_id: str) -> None:
        self._context = context
        self._id = position_id
        self._asked: dict[str, int] = {}
        self._unknown_since: dict[str, float] = {}
        self._withdrawn: dict[str, float] = {}

    @property
    def position(self) -> Position:
        """The position as the book has it now."""
        position = self._context.book.get(self._id)
        if position is None:
            raise KeyError(self._id)
        return position

    def intended(self, plan: OrderPlan) -> ev.OrderIntended:
        """Return the event of a decided order."""
        return ev.OrderIntended(self._id, self._context.clock.now(), plan)

    async def note(self, result: PlaceResult) -> None:
        """Book the answer to a placed order.

        A refusal is durable before anything else is sent: the venue does not know the id, so a
        restart that asks the series in turn would otherwise take its next order for never sent.
        """
        key = result.plan.client_order_id
        event = event_of_answer(self._id, self._context.clock.now(), result.plan, result.answer)
        if isinstance(event, ev.OrderRejected):
            await self._context.book.record(event)
        else:
            # From now the venue cannot receive it any later than by its fence.
            if isinstance(event, ev.OrderUnknown) or not event.outcome.closed:
                self._context.resolver.send_failed(key, result.ended_at)
                self._unknown_since.setdefault(key, result.ended_at)
            # The order stream may have told the same before.
            after = fold(self.position, event)
            if after is not self.position:
                self._context.book.record_folded(event, after)
        if self.position.orders[key].is_resolved:
            self._context.resolver.send_ended(key)
        self._context.later(partial(self._observe, result, event))

    def hear(self, event: OrderEvent) -> bool:
        """Book what a venue told of an order by itself; true when it taught anything.

        Events join like answers, so they may come before, after or twice.
        """
        key = event.outcome.client_order_id
        # A hedge without a row, of an earlier run, is asked for in turn and not taken up here.
        record = self.position.orders.get(key)
        if record is None:
            return False
        ref = record.plan.instrument
        is_its_own = (event.exchange, event.symbol) == (ref.exchange, ref.symbol)
        if not is_its_own or not is_plausible(record.plan, event.outcome):
            _log.error("order_event_implausible", client_order_id=key)
            return False
        now = self._context.clock.now()
        observed = ev.OrderObserved(self._id, now, record.plan.leg, event.outcome)
        position = fold(self.position, observed)
        after = position.orders[key]
        if (after.state, after.executed, after.net) == (record.state, record.executed, record.net):
            return False
        self._context.book.record_folded(observed, position)
        if after.is_resolved:
            self._context.resolver.send_ended(key)
        return True

    def alarm_late(self, exposed_for: float) -> None:
        """Alarm once an order of the hedge in flight has left the lead exposed past the budget."""
        self._alarm_late(self.position.rules(self.position.hedge_leg).ref.exchange, exposed_for)

    def alarm_exposed(self, leg: LegSide) -> None:
        """Alarm and stop entries in the symbol: this leg is on and the other one is not."""
        self._alarm(self.position.rules(leg).ref.exchange, "UNHEDGED_PAST_BUDGET")

    async def is_there(self, leg: LegSide) -> bool:
        """Tell whether a rest of a leg may be given up as dust: false while it may be gone.

        Dust is on at the venue. A rest that the venue refuses to take may have left the leg
        unheard: then it is gone, and the ledger must not go on naming it.
        """
        position = self.position
        if not follows_refusal(position, leg):
            return True
        return await self._context.confirm(position.rules(leg))

    def book_dust(self, dust: BookDust) -> None:
        """Give up a rest of a leg."""
        now = self._context.clock.now()
        self._context.book.record_soon(
            ev.DustBooked(self._id, now, dust.leg, dust.quantity, dust.reason)
        )

    async def resolve_once(self, keys: tuple[str, ...]) -> bool:
        """Ask for these orders once, all at the same time; true when anything was learned."""
        return any(await asyncio.gather(*(self._resolve(key) for key in keys)))

    async def withdraw_once(self, key: str) -> bool:
        """Take a resting order back, then ask for all that is unresolved; true when it taught.

        Only what the venue says of the order afterwards counts: a cancel that was refused may have
        come too late, one that was taken may have crossed a fill.
        """
        plan = self.position.orders[key].plan
        # Until now it was meant to rest: the doubt, and the alarm about it, begins here.
        self._unknown_since[key] = self._withdrawn.setdefault(key, self._context.clock.monotonic())
        gateway = self._context.gateways[plan.instrument.exchange]
        try:
            async with asyncio.timeout(self._context.policy.call_timeout.total_seconds()):
                outcome = await gateway.cancel_order(
                    plan.instrument.symbol, key, use_margin=plan.use_margin
                )
        except (OpensqtError, TimeoutError):
            outcome = None
        if outcome is not None and self._book_finding(self.position.orders[key], outcome):
            return True
        return await self.resolve_once(self.position.unresolved())

    async def look_at(self, key: str) -> bool:
        """Ask once what a resting order has filled; true when it taught anything."""
        record = self.position.orders[key]
        rules = self.position.rules(record.plan.leg)
        finding = await self._context.resolver.ask(rules, key)
        # A reading that failed says nothing of an order that is known to rest.
        return isinstance(finding, OrderOutcome) and self._book_finding(record, finding)

    def wait_seconds(self, keys: tuple[str, ...]) -> float:
        """Return how long to wait before these orders are asked for again."""
        now, budget = self._context.clock.monotonic(), self._context.policy.unhedged_time_budget
        waits = []
        for key in keys:
            exchange = self.position.orders[key].plan.instrument.exchange
            wait = self._context.resolver.wait_before(exchange, key, self._asked.get(key, 0))
            waits.append(wait.total_seconds())
            left = self._unknown_since.get(key, now) + budget.total_seconds() - now
            if left > 0:
                # The alarm must not wait for a question that is due after the budget.
                waits.append(left)
        return min(waits, default=0.0)

    async def probe_hedge(self) -> bool:
        """Ask for the next hedge of the series, which an earlier run may have sent unrecorded.

        True when the series is known to its end: the id was never sent, and is burnt. False when
        there is more to ask.
        """
        position = self.position
        leg = position.hedge_leg
        attempt = position.next_attempt(leg, OrderClass.HEDGE)
        key = client_order_id(self._id, leg, OrderClass.HEDGE, attempt)
        finding = await self._context.resolver.ask(position.rules(leg), key)
        self._asked[key] = self._asked.get(key, 0) + 1
        now = self._context.clock.now()
        if isinstance(finding, OrderOutcome):
            plan = self._allowed_hedge(key, finding)
            observed = ev.OrderObserved(self._id, now, leg, finding)
            self._context.book.record_soon(self.intended(plan), observed)
        elif finding is Absence.PROVEN:
            # Burnt with a row: were it free, a second restart might take a later order of this id
            # for it. Folded at once: whoever leaves this question must find it answered.
            plan = self._allowed_hedge(key, None)
            absent = ev.OrderNotSent(self._id, now, key)
            self._context.book.record_soon(self.intended(plan), absent)
            return True
        else:
            exchange = position.rules(leg).ref.exchange
            if self._context.resolver.is_unfenced(exchange):
                # Nothing bounds this wait, and the lead may be naked: somebody must look.
                started = self._context.clock.monotonic()
                since = self._unknown_since.setdefault(key, started)
                self._alarm_late(exchange, started - since)
            wait = self._context.resolver.wait_before(exchange, key, self._asked[key])
            await self._context.clock.sleep(wait.total_seconds())
        return False

    def _allowed_hedge(self, key: str, found: OrderOutcome | None) -> OrderPlan:
        """Return the plan of a hedge that has no row: its bounds are those of the allowance."""
        position = self.position
        allowance, leg = position.intent.hedge, position.hedge_leg
        rules = position.rules(leg)
        asked = found.quantity if found is not None else _ZERO
        # The most it can have been: less would make its own fill implausible.
        quantity = asked if asked is not None else allowance.largest_quantity
        return OrderPlan(
            key,
            rules.ref,
            leg,
            OrderClass.HEDGE,
            opening_side(leg),
            quantity,
            allowance.widest_price,
            use_margin=rules.use_margin,
        )

    async def _resolve(self, key: str) -> bool:
        record = self.position.orders[key]
        started = self._context.clock.monotonic()
        since = self._unknown_since.setdefault(key, started)
        finding = await self._context.resolver.ask(self.position.rules(record.plan.leg), key)
        self._asked[key] = self._asked.get(key, 0) + 1
        learned = self._book_finding(record, finding)
        if self.position.orders[key].is_resolved:
            self._asked.pop(key, None)
            self._unknown_since.pop(key, None)
            self._context.resolver.send_ended(key)
        else:
            exchange = record.plan.instrument.exchange
            self._alarm_late(exchange, self._context.clock.monotonic() - since)
        return learned

    def _book_finding(self, record: OrderRecord, finding: Finding) -> bool:
        key, now = record.plan.client_order_id, self._context.clock.now()
        if isinstance(finding, OrderOutcome):
            if not is_plausible(record.plan, finding):
                _log.error("order_answer_implausible", client_order_id=key)
                if record.state is OrderState.PENDING:
                    unknown = ev.OrderUnknown(self._id, now, key, "ANSWER_IMPLAUSIBLE")
                    self._context.book.record_soon(unknown)
                return False
            before = self.position.orders[key]
            observed = ev.OrderObserved(self._id, now, record.plan.leg, finding)
            if finding.closed or finding.executed > before.executed:
                self._context.book.record_soon(observed)
            after = self.position.orders[key]
            return after.is_resolved or after.executed > before.executed
        # A venue that forgets an order which has filled is wrong about the order, not the fill.
        if finding is Absence.PROVEN and record.executed == 0:
            self._context.book.record_soon(ev.OrderNotSent(self._id, now, key))
            return True
        if record.state is OrderState.PENDING:
            reason = "NOT_FOUND_YET" if isinstance(finding, Absence) else finding.reason
            self._context.book.record_soon(ev.OrderUnknown(self._id, now, key, reason))
        return False

    def _alarm_late(self, exchange: str, unknown_for: float) -> None:
        if unknown_for >= self._context.policy.unhedged_time_budget.total_seconds():
            self._alarm(exchange, "ORDER_OUTCOME_UNKNOWN_PAST_BUDGET")

    def _alarm(self, exchange: str, reason: str) -> None:
        position = self.position
        # One alarm per stop: a counter that rises each second tells nobody more.
        if position.symbol not in self._context.book.engine.breakers:
            self._context.observer.unhedged_alarm(exchange)
            self._context.trip(position.symbol, reason)

    def _observe(self, result: PlaceResult, event: ev.PositionEvent) -> None:
        plan = result.plan
        if isinstance(event, ev.OrderObserved):
            executed = event.outcome.executed
            outcome = "zero" if executed == 0 else "partial"
            outcome = "filled" if executed == plan.quantity else outcome
            self._tell_slippage(plan, event.outcome)
        else:
            outcome = "rejected" if isinstance(event, ev.OrderRejected) else "unknown"
        self._context.observer.order_ended(
            plan.instrument.exchange,
            plan.order_class,
            outcome,
            result.ended_at - result.sent_at,
            self._id,
        )

    def _tell_slippage(self, plan: OrderPlan, outcome: OrderOutcome) -> None:
        intent = self.position.intent
        is_lead = plan.leg is intent.lead_leg
        reference = intent.lead_reference if is_lead else intent.hedge_reference
        ratio = slippage_ratio(plan, outcome, reference)
        if ratio is not None:
            self._context.observer.order_slipped(
                plan.instrument.exchange, plan.order_class, float(ratio), self._id
            )
