"""Errors of the venue's side, and what they mean to a caller who only read."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from services.common.errors import (
    AuthError,
    Code,
    NotFoundError,
    OpensqtError,
    RejectedError,
    RetryableError,
    UnimplementedError,
    UnreachableError,
)
from services.connector.ccxt_lean import errors as ccxt_errors
from services.connector.outcome import RATE_LIMITED_STATUSES, AnswerClass, classify_answer

if TYPE_CHECKING:
    from services.connector.profile import VenueProfile


class VenueAnswerError(Exception):
    """The venue answered, and the answer is not a success.

    `status` is the HTTP status, `code` the venue's own code (None when the body carries none, is
    empty, truncated or not JSON), `retry_after` what the venue asked to wait.
    """

    def __init__(
        self, status: int, code: str | None, message: str, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(f"HTTP {status}, venue code {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after

    @property
    def metadata(self) -> dict[str, str]:
        """Return the facts for `ErrorInfo.metadata`."""
        found = {"httpStatus": str(self.status)}
        if self.code is not None:
            found["venueCode"] = self.code
        return found


_BROKEN = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)


def classify(error: VenueAnswerError, profile: VenueProfile) -> AnswerClass:
    """Classify an answer by the venue's table."""
    return classify_answer(
        error.status, error.code, error.message, profile.answers, profile.answer_messages
    )


def to_read_error(error: Exception, profile: VenueProfile) -> Exception:
    """Return what a failed read means to its caller, as an error of the common tree."""
    if isinstance(error, OpensqtError):
        return error
    if isinstance(error, VenueAnswerError):
        return _answer_to_read_error(error, profile)
    if isinstance(error, ccxt_errors.NotSupported):
        return UnimplementedError(f"{profile.code} offers no such call")
    if isinstance(error, ccxt_errors.BadSymbol):
        return NotFoundError("the venue knows no such symbol", reason="SYMBOL_NOT_FOUND")
    if isinstance(error, ccxt_errors.ArgumentsRequired):
        return RejectedError(
            "the venue needs more arguments", reason="VENUE_REJECTED", code=Code.INVALID_ARGUMENT
        )
    # ccxt folds refused connections, timeouts and lost replies into one: no answer.
    if isinstance(error, (ccxt_errors.NetworkError, TimeoutError, OSError)):
        return UnreachableError(f"{profile.code} did not answer ({type(error).__name__})")
    if isinstance(error, (ccxt_errors.BaseError, *_BROKEN)):
        return UnreachableError(
            f"{profile.code} gave a broken answer ({type(error).__name__})",
            reason="VENUE_ANSWER_BROKEN",
        )
    return error


def _answer_to_read_error(error: VenueAnswerError, profile: VenueProfile) -> OpensqtError:
    answer = classify(error, profile)
    text = f"the venue answered {error.code or error.status}: {error.message}"
    if answer is AnswerClass.NOT_EXECUTED_RETRYABLE:
        # A stamp out of the window is refused for now as well, and a wait would not help it.
        limited = error.status in RATE_LIMITED_STATUSES or error.code in profile.rate_codes
        return RetryableError(
            text,
            retry_after=error.retry_after,
            reason="VENUE_RATE_LIMITED" if limited else "VENUE_REFUSED_FOR_NOW",
            code=Code.RESOURCE_EXHAUSTED if limited else Code.UNAVAILABLE,
            metadata=error.metadata,
        )
    if answer is AnswerClass.AUTH_OR_CONFIG_FATAL:
        return AuthError(
            text,
            reason="VENUE_KEY_REFUSED",
            code=Code.FAILED_PRECONDITION,
            metadata=error.metadata,
        )
    # -2011 and -2013 do not say which: never there, filled, or archived.
    if answer is AnswerClass.CANCEL_RACE_CHECK_FILL:
        return NotFoundError(text, reason="ORDER_NOT_FOUND", metadata=error.metadata)
    if answer is AnswerClass.UNKNOWN_OUTCOME:
        reason = "VENUE_UNREACHABLE" if error.status >= 500 else "VENUE_ANSWER_BROKEN"
        return UnreachableError(text, reason=reason, metadata=error.metadata)
    return RejectedError(text, reason="VENUE_REJECTED", metadata=error.metadata)
