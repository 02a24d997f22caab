"""Errors every service raises and every client receives.

The branches answer the caller's one question: what may I do now?

    OpensqtError                      anything of ours
    +-- RejectedError                 refused for certain; sending the same again fails again
    |   +-- InvalidFieldError         a field of the request is wrong; names it
    |   +-- NotFoundError             no such order, position, symbol, opportunity
    |   +-- PreconditionError         right request, wrong state: halted, stale, balance too low
    |   +-- AlreadyExistsError        the id was used before
    |   +-- AuthError                 token missing or wrong, or not allowed
    |   +-- UnimplementedError        this service or venue cannot do it
    +-- RetryableError                refused for certain; may work later (retry_after says when)
    |   +-- UnreachableError          nobody answered and nothing was sent
    +-- OutcomeUnknownError           sent, not answered: ask by client order id first
    +-- FatalError                    a bug or a broken invariant; stop and look

The module knows nothing of gRPC, so that decision modules may raise these errors;
`services.common.status_details` turns them into `google.rpc.Status`, `call_errors` turns them back.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

DOMAIN = "opensqt.market_maker.v1"
"""`ErrorInfo.domain` of every error that services of this project send."""


class Code(StrEnum):
    """The canonical gRPC codes an error may travel under.

    Values are the names of grpc.StatusCode.
    """

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    ABORTED = "ABORTED"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    UNAVAILABLE = "UNAVAILABLE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"
    DATA_LOSS = "DATA_LOSS"
    INTERNAL = "INTERNAL"


class OpensqtError(Exception):
    """Anything this project raises on purpose.

    `message` is for people, short and without secrets; `reason` (UPPER_SNAKE, at most 63
    characters) is what programs branch on; `metadata` has lowerCamel keys and text values.
    """

    default_reason: ClassVar[str] = "INTERNAL"
    default_code: ClassVar[Code] = Code.INTERNAL

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        code: Code | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason: str = reason or self.default_reason
        self.code: Code = code or self.default_code
        self.metadata: Mapping[str, str] = MappingProxyType(dict(metadata or {}))


class RejectedError(OpensqtError):
    """Refused for certain, by us or by the venue; nothing was done and a repeat fails again."""

    default_reason = "ORDER_REJECTED"
    default_code = Code.FAILED_PRECONDITION


class InvalidFieldError(RejectedError):
    """One field of the request is wrong: `field` is its path (`orders[2].price`)."""

    default_reason = "FIELD_INVALID"
    default_code = Code.INVALID_ARGUMENT

    def __init__(
        self,
        field: str,
        problem: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{field}: {problem}", reason=reason, metadata=metadata)
        self.field = field
        self.problem = problem


class NotFoundError(RejectedError):
    """The named thing does not exist; pass the reason that names the kind, as ORDER_NOT_FOUND."""

    default_reason = "NOT_FOUND"
    default_code = Code.NOT_FOUND


class PreconditionError(RejectedError):
    """The request is well formed, but the state does not allow it; nothing was sent."""

    default_reason = "PRECONDITION_FAILED"
    default_code = Code.FAILED_PRECONDITION


class AlreadyExistsError(RejectedError):
    """The id was used before, with other content; nothing was sent."""

    default_reason = "CLIENT_ORDER_ID_EXISTS"
    default_code = Code.ALREADY_EXISTS


class AuthError(RejectedError):
    """The caller did not prove who it is (UNAUTHENTICATED), or it may not do this."""

    default_reason = "TOKEN_INVALID"
    default_code = Code.UNAUTHENTICATED


class UnimplementedError(RejectedError):
    """This service, or the venue behind it, does not offer the operation."""

    default_reason = "NOT_SUPPORTED"
    default_code = Code.UNIMPLEMENTED


class RetryableError(OpensqtError):
    """Refused for certain and nothing was done; the same may succeed after `retry_after`."""

    default_reason = "VENUE_RATE_LIMITED"
    default_code = Code.RESOURCE_EXHAUSTED

    def __init__(
        self,
        message: str,
        *,
        retry_after: timedelta | None = None,
        reason: str | None = None,
        code: Code | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, code=code, metadata=metadata)
        self.retry_after = retry_after


class UnreachableError(RetryableError):
    """The other side could not be reached; for a write: before anything was sent."""

    default_reason = "VENUE_UNREACHABLE"
    default_code = Code.UNAVAILABLE


class OutcomeUnknownError(OpensqtError):
    """A write was sent and not answered: it may be live. Ask by `client_order_id`, never resend."""

    default_reason = "ORDER_OUTCOME_UNKNOWN"
    default_code = Code.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        client_order_id: str,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            message,
            reason=reason,
            # Ours last: relayed metadata must not replace the id to ask by.
            metadata={**(metadata or {}), "clientOrderId": client_order_id},
        )
        self.client_order_id = client_order_id


class FatalError(OpensqtError):
    """A bug or a broken invariant; the caller can do nothing but report it."""
