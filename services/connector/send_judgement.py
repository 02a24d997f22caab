"""What the end of a sending proves: accepted, refused, not sent, or unknown.

An exception proves a refusal only when the venue's table says so, and that nothing was sent only
when the request never left. Everything else is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import aiohttp

from services.common.errors import (
    AuthError,
    Code,
    OpensqtError,
    RejectedError,
    RetryableError,
    UnreachableError,
)
from services.connector.outcome import RATE_LIMITED_STATUSES, AnswerClass
from services.connector.venue_errors import VenueAnswerError, classify

if TYPE_CHECKING:
    from services.connector.order_types import VenueOrder
    from services.connector.profile import VenueProfile


class Verdict(StrEnum):
    """What is known after a sending."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SendResult:
    """A verdict with the caller's error (REJECTED, NOT_SENT) or the venue's row (ACCEPTED).

    An acknowledgement alone has no row, only the venue's id: the order is there, what it does is
    not told.
    """

    verdict: Verdict
    row: VenueOrder | None = None
    error: OpensqtError | None = None
    note: str = ""
    exchange_order_id: str = ""


def judge_send_error(error: BaseException, *, left: bool, profile: VenueProfile) -> SendResult:
    """Return the verdict for an exception that came out of sending an order."""
    if isinstance(error, VenueAnswerError):
        return _judge_answer(error, profile)
    if not left:
        return SendResult(Verdict.NOT_SENT, error=_unsent_error(error))
    # No connection, no request: the one transport error that proves something.
    if isinstance(error.__cause__, aiohttp.ClientConnectorError):
        return SendResult(
            Verdict.NOT_SENT, error=UnreachableError(f"no connection to {profile.code}")
        )
    return SendResult(Verdict.UNKNOWN, note=type(error.__cause__ or error).__name__)


def _judge_answer(error: VenueAnswerError, profile: VenueProfile) -> SendResult:
    answer = classify(error, profile)
    text = f"the venue answered {error.code or error.status}: {error.message}"
    if answer is AnswerClass.NOT_EXECUTED_RETRYABLE:
        limited = error.status in RATE_LIMITED_STATUSES or error.code in profile.rate_codes
        return SendResult(
            Verdict.NOT_SENT,
            error=RetryableError(
                text,
                retry_after=error.retry_after,
                reason="VENUE_RATE_LIMITED" if limited else "VENUE_REFUSED_FOR_NOW",
                code=Code.RESOURCE_EXHAUSTED if limited else Code.UNAVAILABLE,
                metadata=error.metadata,
            ),
        )
    # Refused before matching: a definite end, and one that a repeat would not change.
    if answer is AnswerClass.AUTH_OR_CONFIG_FATAL:
        refusal: OpensqtError = AuthError(
            text,
            reason="VENUE_KEY_REFUSED",
            code=Code.FAILED_PRECONDITION,
            metadata=error.metadata,
        )
        return SendResult(Verdict.REJECTED, error=refusal)
    if answer is AnswerClass.DEFINITE_REJECT:
        refusal = RejectedError(text, reason="ORDER_REJECTED", metadata=error.metadata)
        return SendResult(Verdict.REJECTED, error=refusal)
    # A duplicate id means an order with it exists: only asking tells whether it is this one.
    return SendResult(Verdict.UNKNOWN, note=f"HTTP {error.status}, venue code {error.code}")


def _unsent_error(error: BaseException) -> OpensqtError:
    if isinstance(error, OpensqtError):
        return error
    return RejectedError(
        f"the order could not be put into the venue's form: {error}", reason="ORDER_REJECTED"
    )
