"""Every way in which a connector refuses an order, and what each proves to the engine."""

from __future__ import annotations

from services.common.errors import (
    AlreadyExistsError,
    AuthError,
    Code,
    FatalError,
    InvalidFieldError,
    NotFoundError,
    OpensqtError,
    OutcomeUnknownError,
    PreconditionError,
    RejectedError,
    RetryableError,
    UnimplementedError,
    UnreachableError,
)

DEFINITE: tuple[OpensqtError, ...] = (
    PreconditionError("halted", reason="TRADING_HALTED"),
    PreconditionError("reduce only", reason="REDUCE_ONLY_MODE"),
    PreconditionError("not allowed", reason="SYMBOL_NOT_ALLOWED"),
    PreconditionError("too large", reason="ORDER_TOO_LARGE"),
    PreconditionError("outside", reason="PRICE_OUTSIDE_BAND"),
    PreconditionError("no price", reason="REFERENCE_PRICE_STALE"),
    PreconditionError("closed", reason="SYMBOL_NOT_TRADING"),
    PreconditionError("small", reason="NOTIONAL_TOO_SMALL"),
    NotFoundError("none", reason="SYMBOL_NOT_FOUND"),
    InvalidFieldError("quantity", "no lot"),
    RejectedError("the venue says no", reason="ORDER_REJECTED"),
    AuthError("bad key", reason="VENUE_KEY_REFUSED", code=Code.FAILED_PRECONDITION),
    AuthError("not yours", reason="SCOPE_MISSING", code=Code.PERMISSION_DENIED),
    AuthError("who?"),
    UnimplementedError("no margin", reason="NOT_SUPPORTED_BY_VENUE"),
)
"""Proven not executed, and the next order would be refused too."""

PASSING: tuple[OpensqtError, ...] = (
    RetryableError("too many", reason="OPENING_RATE_EXCEEDED"),
    RetryableError("slow down"),
    RetryableError("banned", reason="VENUE_BANNED"),
    RetryableError("quota", reason="CALL_LIMIT_REACHED"),
    RetryableError("busy", reason="VENUE_REFUSED_FOR_NOW", code=Code.UNAVAILABLE),
    UnreachableError("no connection"),
    UnreachableError("nonsense before the sending", reason="VENUE_ANSWER_BROKEN"),
    PreconditionError("disk full", reason="LEDGER_UNAVAILABLE"),
    RejectedError("never arrived", reason="ORDER_NOT_ARRIVED"),
)
"""Proven not executed; another order may pass."""

UNPROVEN: tuple[OpensqtError, ...] = (
    OutcomeUnknownError("sent", client_order_id="aorder1"),
    AlreadyExistsError("used"),
    RetryableError("late", reason="CALL_TOO_LONG", code=Code.DEADLINE_EXCEEDED),
    UnreachableError("going", reason="SERVICE_STOPPING"),
    FatalError("a bug"),
)
"""The order may live."""
