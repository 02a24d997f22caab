"""What the answer to a placed order proves, as the journal event it becomes."""

from __future__ import annotations

from datetime import datetime

from services.common.errors import (
    AlreadyExistsError,
    OpensqtError,
    RejectedError,
    RetryableError,
    UnreachableError,
)
from services.engine.events import OrderObserved, OrderRejected, OrderUnknown
from services.engine.orders import OrderOutcome, OrderPlan
from services.engine.ports import NOT_ARRIVED_REASON

PlaceEvent = OrderObserved | OrderRejected | OrderUnknown
# A connector's own words, each said before anything left; a broken channel has none of them.
_NOT_SENT_REASONS = frozenset({"VENUE_UNREACHABLE", "VENUE_REFUSED_FOR_NOW", "VENUE_ANSWER_BROKEN"})
# Refusals in the form of definite ones that another order, with an id of its own, may not meet.
_PASSING_REASONS = frozenset({NOT_ARRIVED_REASON, "LEDGER_UNAVAILABLE"})


def event_of_answer(
    position_id: str, at: datetime, plan: OrderPlan, answer: OrderOutcome | Exception
) -> PlaceEvent:
    """Return the event of an answer: an allow-list of proofs, all else is unknown.

    An outcome of another order or of more than was asked proves nothing about this order.
    """
    key = plan.client_order_id
    if isinstance(answer, OrderOutcome):
        if is_plausible(plan, answer):
            return OrderObserved(position_id, at, plan.leg, answer)
        return OrderUnknown(position_id, at, key, "ANSWER_IMPLAUSIBLE")
    if _proves_nothing_executed(answer):
        retryable = isinstance(answer, RetryableError) or reason_of(answer) in _PASSING_REASONS
        return OrderRejected(position_id, at, key, reason_of(answer), retryable)
    return OrderUnknown(position_id, at, key, reason_of(answer))


def is_plausible(plan: OrderPlan, outcome: OrderOutcome) -> bool:
    """Tell whether an outcome can be one of this order: same id, no more than asked."""
    return (
        outcome.client_order_id == plan.client_order_id
        and 0 <= outcome.executed <= plan.quantity
        # A net above the fill would be hedged, and nothing is there to hedge.
        and 0 <= outcome.net <= outcome.executed
    )


def reason_of(error: Exception) -> str:
    """Return the reason of an error for programs; the class name for a stranger."""
    return error.reason if isinstance(error, OpensqtError) else type(error).__name__


def _proves_nothing_executed(error: Exception) -> bool:
    match error:
        case AlreadyExistsError():
            # The id is taken, so an order of that id exists: ask what became of it.
            return False
        case UnreachableError():
            # Only the connector's own word that it did not send counts, not a broken channel.
            return error.reason in _NOT_SENT_REASONS
        case RejectedError() | RetryableError():
            return True
    return False
