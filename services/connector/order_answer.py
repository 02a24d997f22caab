"""Wait for an order's outcome on behalf of one caller, within that caller's deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.common.errors import NotFoundError, OutcomeUnknownError
from services.connector.rate_budget import CALL_DEADLINE

if TYPE_CHECKING:
    from datetime import timedelta

    from services.common.clock import Clock
    from services.connector.desk_options import DeskOptions
    from services.connector.order_record import OrderRecord
    from services.connector.order_types import OrderState


async def await_answer(
    record: OrderRecord,
    clock: Clock,
    options: DeskOptions,
    fill_timeout: timedelta | None,
    *,
    has_fence: bool,
) -> OrderState:
    """Return the state once something is proven, or as it is once the caller's patience is over.

    Raises the order's own end where there is one, OutcomeUnknownError when nothing is proven in
    time; whoever cancels this wait cancels nothing else.
    """
    started = clock.monotonic()
    deadline = CALL_DEADLINE.get()
    last = started + options.max_wait_seconds
    if deadline is not None:
        last = min(last, deadline - options.answer_margin(deadline - started))
    patience = started + options.fill_wait(fill_timeout)
    while not record.is_answerable:
        now = clock.monotonic()
        # Known but not closed: past its patience the caller gets it as it is.
        if record.state is not None and now >= min(patience, last):
            break
        if now >= last:
            raise _unknown_error(record.client_order_id, has_fence=has_fence)
        until = last if record.state is None else min(patience, last)
        await record.wait_change(until - now)
    if record.error is not None:
        # One error object serves all who wait; its traceback would grow with each.
        raise record.error.with_traceback(None)
    if record.state is None:
        raise NotFoundError("no such order", reason="ORDER_NOT_FOUND")
    return record.state


def _unknown_error(client_order_id: str, *, has_fence: bool) -> OutcomeUnknownError:
    text = "the order was sent and its outcome is not known yet; ask by client order id, "
    if not has_fence:
        # Its owner must know that waiting alone will not end it.
        text = (
            "the order was sent and its outcome is not known; this venue gives requests no "
            "validity window, so only the order itself, a trade or a position can tell; "
        )
    return OutcomeUnknownError(f"{text}do not send another", client_order_id=client_order_id)
