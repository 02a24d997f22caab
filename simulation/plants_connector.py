"""Bugs for the connector: a ledger that forgets, proofs that are none, orders that change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from services.common.errors import RejectedError
from services.connector.order_types import OrderType
from services.connector.send_judgement import SendResult, Verdict
from simulation.plants import Part, Plant, Replacement

_CONNECTOR = "services.connector"


def _sent_twice(sound: Any) -> Any:
    async def place(self: Any, intent: Any, *given: Any) -> Any:
        result = await sound(self, intent, *given)
        if result.verdict is Verdict.UNKNOWN:
            return await sound(self, intent, *given)
        return result

    return place


def _no_row(_sound: Any) -> Any:
    async def record(self: Any, row: Any, **_named: Any) -> None:
        return None

    return record


def _no_fence(_sound: Any) -> Any:
    def fence_end(self: Any) -> float:
        now: float = self._venue.clock.monotonic()
        return now

    return fence_end


def _judged(change: Any) -> Replacement:
    """Return a wrapper of `judge_send_error` that changes an unknown verdict."""

    def outer(sound: Any) -> Any:
        def judge(error: Any, **named: Any) -> Any:
            result = sound(error, **named)
            return change(result) if result.verdict is Verdict.UNKNOWN else result

        return judge

    return outer


def _refused(_result: Any) -> SendResult:
    return SendResult(Verdict.REJECTED, error=RejectedError("an error", reason="ORDER_REJECTED"))


def _unsent(_result: Any) -> SendResult:
    return SendResult(Verdict.NOT_SENT, error=RejectedError("an error", reason="ORDER_REJECTED"))


def _last_word(sound: Any) -> Any:
    def merged(known: Any, seen: Any) -> Any:
        return (
            sound(None if known is None else replace(known, fills=()), seen)
            if (known is None or seen.executed >= known.executed)
            else replace(sound(known, seen), executed=seen.executed, cumulative_quote=None)
        )

    return merged


def _intent(**changes: Any) -> Replacement:
    """Return a wrapper of `build_intent` that changes what is sent."""

    def outer(sound: Any) -> Any:
        return lambda *given, **named: replace(sound(*given, **named), **changes)

    return outer


def _doubled(sound: Any) -> Any:
    def built(*given: Any, **named: Any) -> Any:
        intent = sound(*given, **named)
        return replace(intent, quantity=intent.quantity * 2)

    return built


def _plant(name: str, place: str, stands_for: str, breaks: str, replacement: Replacement) -> Plant:
    rules = tuple(breaks.split())
    return Plant(name, Part.CONNECTOR, f"{_CONNECTOR}.{place}", stands_for, rules, replacement)


PLANTS: Final = (
    _plant(
        "connector_sends_again",
        "venue_orders:VenueOrders.place",
        "a lost reply makes the connector send again (an earlier connector; nautilus 4215)",
        "I1",
        _sent_twice,
    ),
    _plant(
        "ledger_forgets",
        "ledger:Ledger.record",
        "an order leaves without a ledger row",
        "I20 I1",
        _no_row,
    ),
    _plant(
        "connector_without_fence",
        "order_sender:OrderSender.fence_end",
        "the connector believes that an order never arrived too early",
        "I4 I3",
        _no_fence,
    ),
    _plant(
        "server_error_is_a_refusal",
        "send_judgement:judge_send_error",
        "whatever is no success is taken for a refusal",
        "I4 I8",
        _judged(_refused),
    ),
    _plant(
        "lost_reply_is_not_sent",
        "send_judgement:judge_send_error",
        "a broken transfer is taken for nothing sent",
        "I4 I1",
        _judged(_unsent),
    ),
    _plant(
        "last_message_wins",
        "order_mapping:merge_states",
        "an older message lowers what was filled",
        "I17 I18",
        _last_word,
    ),
    _plant(
        "reduce_only_lost",
        "order_request:build_intent",
        "reduce-only is lost on its way to the venue",
        "I2 I10",
        _intent(reduce_only=False),
    ),
    _plant(
        "bound_lost",
        "order_request:build_intent",
        "a bounded order goes out as a market order",
        "I2",
        _intent(type=OrderType.MARKET, price=None, time_in_force=None),
    ),
    _plant(
        "quantity_doubled",
        "order_request:build_intent",
        "a contract size applied twice",
        "I2 I8",
        _doubled,
    ),
)
"""Every bug for the connector."""
