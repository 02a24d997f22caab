"""Bugs of proof for the engine: answers misread, journal and ids misused, memory lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from services.engine import events as ev
from services.engine.orders import OrderOutcome
from services.engine.resolver import Absence
from simulation.plants import Part, Plant, Replacement

_ZERO = Decimal(0)
_ENGINE = "services.engine"


def _outcome(key: str, executed: Decimal) -> OrderOutcome:
    return OrderOutcome(key, closed=True, executed=executed, net=executed)


def _answer(change: Callable[[Any, Any], Any]) -> Replacement:
    """Return a wrapper of `event_of_answer` that changes (plan, event)."""

    def outer(sound: Any) -> Any:
        def answered(position_id: str, at: Any, plan: Any, answer: Any) -> Any:
            return change(plan, sound(position_id, at, plan, answer))

        return answered

    return outer


def _unknown_as_filled(plan: Any, event: Any) -> Any:
    if not isinstance(event, ev.OrderUnknown):
        return event
    outcome = _outcome(plan.client_order_id, plan.quantity)
    return ev.OrderObserved(event.position_id, event.at, plan.leg, outcome)


def _unknown_as_refused(plan: Any, event: Any) -> Any:
    if not isinstance(event, ev.OrderUnknown):
        return event
    key = plan.client_order_id
    return ev.OrderRejected(event.position_id, event.at, key, "TIMEOUT", retryable=True)


def _unknown_as_zero(plan: Any, event: Any) -> Any:
    if not isinstance(event, ev.OrderUnknown):
        return event
    outcome = _outcome(plan.client_order_id, _ZERO)
    return ev.OrderObserved(event.position_id, event.at, plan.leg, outcome)


def _reject_as_filled(plan: Any, event: Any) -> Any:
    if not isinstance(event, ev.OrderRejected):
        return event
    outcome = _outcome(plan.client_order_id, plan.quantity)
    return ev.OrderObserved(event.position_id, event.at, plan.leg, outcome)


def _open_as_closed(_plan: Any, event: Any) -> Any:
    if not isinstance(event, ev.OrderObserved) or event.outcome.closed:
        return event
    return replace(event, outcome=replace(event.outcome, closed=True))


def _fills_added(sound: Any) -> Any:
    def joined(record: Any, event: Any) -> Any:
        after = sound(record, event)
        if record.executed and event.outcome.executed:
            more = record.executed + event.outcome.executed
            return replace(after, executed=more, net=record.net + event.outcome.net)
        return after

    return joined


def _not_durable(_sound: Any) -> Any:
    async def record(self: Any, *events: Any) -> None:
        self.record_soon(*events)

    return record


def _sent_before_journal(_sound: Any) -> Any:
    async def depart(context: Any, intents: Sequence[Any]) -> Any:
        dispatch = context.dispatch([intent.plan for intent in intents])
        await dispatch.started()
        await context.clock.sleep(0.05)
        await context.book.record(*intents)
        return dispatch

    return depart


def _same_id(sound: Any) -> Any:
    return lambda key, leg, order_class, attempt: sound(key, leg, order_class, attempt // 2)


def _ids_of_fills_only(_sound: Any) -> Any:
    def next_attempt(self: Any, leg: Any, order_class: Any) -> int:
        return sum(1 for record in self.of(leg, order_class) if record.executed > 0)

    return next_attempt


def _sent_again(sound: Any) -> Any:
    async def place(self: Any, plan: Any, dispatch: Any) -> Any:
        result = await sound(self, plan, dispatch)
        if isinstance(result.answer, Exception):
            return await sound(self, plan, dispatch)
        return result

    return place


def _absence_at_once(sound: Any) -> Any:
    async def ask(self: Any, *given: Any) -> Any:
        finding = await sound(self, *given)
        return Absence.PROVEN if finding is Absence.TOO_EARLY else finding

    return ask


def _five_questions(sound: Any) -> Any:
    asked: dict[str, int] = {}

    async def ask(self: Any, rules: Any, key: str) -> Any:
        finding = await sound(self, rules, key)
        asked[key] = asked.get(key, 0) + 1
        if finding is Absence.TOO_EARLY and asked[key] >= 5:
            return Absence.PROVEN
        return finding

    return ask


def _restart_trusts_absence(_sound: Any) -> Any:
    def since(self: Any, key: str) -> float:
        failed: float = self._failed_at.get(key, float("-inf"))
        return failed

    return since


def _no_probe(_sound: Any) -> Any:
    async def probe(self: Any) -> bool:
        return True

    return probe


def _nothing_unresolved(_sound: Any) -> Any:
    return lambda self, leg=None: ()


def _never_in_doubt(_sound: Any) -> Any:
    return lambda position: False


def _commands_forgotten(_sound: Any) -> Any:
    async def run(self: Any, command: Any, work: Any) -> Any:
        content = f"{id(command)}"
        return await self._tasks.spawn(self._do(command, content, work), "command")

    return run


def _exit_needs_active(sound: Any) -> Any:
    async def close(self: Any, command: Any) -> Any:
        self._check_mode()
        return await sound(self, command)

    return close


def _all_may_leave(_sound: Any) -> Any:
    return lambda mode, order_class: True


def _halt_forgotten(_sound: Any) -> Any:
    async def switch(self: Any, command: Any, event: Any) -> Any:
        self._book._ledger.take(event)
        return self.status()

    return switch


def _plant(name: str, place: str, stands_for: str, breaks: str, replacement: Replacement) -> Plant:
    rules = tuple(breaks.split())
    return Plant(name, Part.ENGINE, f"{_ENGINE}.{place}", stands_for, rules, replacement)


PLANTS: Final = (
    _plant(
        "unknown_taken_for_filled",
        "placing:event_of_answer",
        "a lost reply booked as a fill",
        "I17 I8",
        _answer(_unknown_as_filled),
    ),
    _plant(
        "unknown_taken_for_refused",
        "placing:event_of_answer",
        "a timeout booked as a refusal and ordered again (nautilus 4958, catalyst 315)",
        "I4 I9 I3",
        _answer(_unknown_as_refused),
    ),
    _plant(
        "unknown_taken_for_zero",
        "placing:event_of_answer",
        "an error answer booked as nothing filled",
        "I17 I8",
        _answer(_unknown_as_zero),
    ),
    _plant(
        "reject_taken_for_filled",
        "placing:event_of_answer",
        "a refusal's empty body read as a full fill",
        "I17 I8",
        _answer(_reject_as_filled),
    ),
    _plant(
        "open_taken_for_closed",
        "placing:event_of_answer",
        "the first answer taken for the last: later fills are nobody's (hummingbot 7503)",
        "I17 I8",
        _answer(_open_as_closed),
    ),
    _plant(
        "fills_added_up",
        "position:_join",
        "cumulative observations summed (nautilus 3046, 3493; QuantDinger 232)",
        "I17 I18",
        _fills_added,
    ),
    _plant(
        "journal_not_awaited",
        "book:PositionBook.record",
        "orders leave before their intent is on the disk",
        "I2",
        _not_durable,
    ),
    _plant(
        "journal_after_send",
        "departure:depart",
        "exits leave first and are journaled afterwards",
        "I2",
        _sent_before_journal,
    ),
    _plant(
        "id_sent_again",
        "order_ids:client_order_id",
        "two attempts of a series share an id",
        "I1",
        _same_id,
    ),
    _plant(
        "ids_count_fills_only",
        "position:Position.next_attempt",
        "the id of an attempt without a fill is used again",
        "I1 I3",
        _ids_of_fills_only,
    ),
    _plant(
        "retry_on_error",
        "executor:ParallelExecutor._place",
        "an order is sent again after an error (an earlier connector)",
        "I1",
        _sent_again,
    ),
    _plant(
        "no_fence",
        "resolver:OrderResolver.ask",
        "not found is believed at once",
        "I4 I3",
        _absence_at_once,
    ),
    _plant(
        "five_questions_then_refused",
        "resolver:OrderResolver.ask",
        "not found five times is taken for a proof",
        "I4 I3",
        _five_questions,
    ),
    _plant(
        "restart_forgets_the_fence",
        "resolver:OrderResolver._since",
        "a restart believes absence of what the last run sent (nautilus 5000)",
        "I4 I3",
        _restart_trusts_absence,
    ),
    _plant(
        "no_probe_after_a_restart",
        "order_desk:OrderDesk.probe_hedge",
        "hedges that were sent without a row are forgotten by a restart",
        "I1 I20",
        _no_probe,
    ),
    _plant(
        "unknown_is_forgotten",
        "position:Position.unresolved",
        "nobody asks what became of an order in doubt",
        "I17 I3",
        _nothing_unresolved,
    ),
    _plant(
        "hedge_while_in_doubt",
        "entry:_in_doubt",
        "a second hedge goes while the first is in doubt (hummingbot 6960)",
        "I3 I9",
        _never_in_doubt,
    ),
    _plant(
        "command_done_again",
        "idempotency:CommandDesk.run",
        "a repeated command is carried out twice",
        "I27",
        _commands_forgotten,
    ),
    _plant(
        "halt_blocks_exits",
        "engine:Engine.close",
        "an exit goes through the entry's checks (hummingbot 4193)",
        "I14",
        _exit_needs_active,
    ),
    _plant(
        "halt_ignored",
        "risk_state:may_send",
        "entries go on after a halt",
        "I13",
        _all_may_leave,
    ),
    _plant(
        "halt_not_journaled",
        "engine:Engine._switch",
        "a restart forgets the halt",
        "I13",
        _halt_forgotten,
    ),
)
"""Every bug of proof."""
