"""Failed calls back into the error tree of `services.common.errors`.

A read may be asked again; a write may not. So the same failed call means two things: for a read a
lost connection is an UnreachableError, for a write (one with a client order id) it is an
OutcomeUnknownError, unless the service itself said, with our ErrorInfo, that nothing was done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeVar

import grpc
import stamina
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from services.common.errors import (
    DOMAIN,
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
from services.common.time_codec import from_duration

T = TypeVar("T")
READ_ATTEMPTS = 3
READ_SECONDS = 10.0
SERVICE_UNREACHABLE: Final = "SERVICE_UNREACHABLE"
"""Reason given by us, the client, when the transport failed and no service answered."""

# Even with our ErrorInfo: each of these may come after the order left for the venue.
_PROVES_NOTHING: Final = frozenset(
    {Code.UNKNOWN, Code.INTERNAL, Code.DEADLINE_EXCEEDED, Code.CANCELLED, Code.DATA_LOSS}
)
_REJECTIONS: Final[Mapping[Code, type[RejectedError]]] = {
    Code.NOT_FOUND: NotFoundError,
    Code.FAILED_PRECONDITION: PreconditionError,
    Code.ALREADY_EXISTS: AlreadyExistsError,
    Code.UNAUTHENTICATED: AuthError,
    Code.PERMISSION_DENIED: AuthError,
    Code.UNIMPLEMENTED: UnimplementedError,
    Code.INVALID_ARGUMENT: RejectedError,
    Code.ABORTED: RejectedError,
    Code.OUT_OF_RANGE: RejectedError,
}


@dataclass(frozen=True, slots=True)
class _Details:
    """What the status of a failed call carries; `is_ours`: with an ErrorInfo of our domain."""

    reason: str
    is_ours: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    violation: tuple[str, str] | None = None
    retry_after: timedelta | None = None


def from_call_error(
    error: grpc.aio.AioRpcError, *, client_order_id: str | None = None
) -> OpensqtError:
    """Return the error a failed call stands for.

    Pass `client_order_id` for a write that may reach a venue: then every answer that does not prove
    the contrary is an OutcomeUnknownError for that id.
    """
    code = Code(error.code().name)
    details = _read_details(_status_of(error), code)
    return _to_error(code, error.details() or code.value, details, client_order_id)


def from_status(status: status_pb2.Status, *, client_order_id: str | None = None) -> OpensqtError:
    """Return the error a status inside a message stands for, as `from_call_error` does."""
    name = code_pb2.Code.Name(status.code) if status.code in code_pb2.Code.values() else "UNKNOWN"
    # OK in the place of an error is none of ours: it proves nothing.
    code = Code(name) if name in Code.__members__ else Code.UNKNOWN
    details = _read_details(status, code)
    return _to_error(code, status.message or code.value, details, client_order_id)


def _to_error(
    code: Code, message: str, details: _Details, client_order_id: str | None
) -> OpensqtError:
    if details.reason == OutcomeUnknownError.default_reason or (
        client_order_id is not None and (not details.is_ours or code in _PROVES_NOTHING)
    ):
        known_id = client_order_id or details.metadata.get("clientOrderId", "")
        return OutcomeUnknownError(message, client_order_id=known_id, metadata=details.metadata)
    # A details-carrying refusal is about one field; the first violation names it.
    if details.violation is not None:
        return InvalidFieldError(
            *details.violation, reason=details.reason, metadata=details.metadata
        )
    if code in (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.DEADLINE_EXCEEDED):
        retryable = UnreachableError if code is Code.UNAVAILABLE else RetryableError
        return retryable(
            message,
            retry_after=details.retry_after,
            reason=details.reason,
            code=code,
            metadata=details.metadata,
        )
    return _plain(code, details.reason)(
        message, reason=details.reason, code=code, metadata=details.metadata
    )


@contextmanager
def translated(*, client_order_id: str | None = None) -> Iterator[None]:
    """Raise the error tree's own error when a call inside the block fails."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise from_call_error(error, client_order_id=client_order_id) from error


def is_cancelled() -> bool:
    """Whether the present task is asked to end.

    gRPC raises CancelledError too when a call alone was cancelled; and a cancellation that meets
    the end of a call it tells as that end. A task that goes on from call to call asks here.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def retry_read(
    read: Callable[[], Awaitable[T]],
    *,
    attempts: int = READ_ATTEMPTS,
    seconds: float = READ_SECONDS,
) -> T:
    """Make a call that changes nothing, again after UNAVAILABLE, with growing waits and jitter.

    Raises the translated error of the last attempt; other errors are raised at once.
    """
    # Without stamina while all goes well: its context is half the cost of a read.
    try:
        with translated():
            return await read()
    except UnreachableError as error:
        first: UnreachableError | None = error
    # Only UNAVAILABLE: asking again what was too much or too slow adds to the load.
    async for attempt in stamina.retry_context(
        on=UnreachableError, attempts=attempts, timeout=seconds, wait_initial=0.1, wait_max=2.0
    ):
        with attempt, translated():
            if first is not None:
                told, first = first, None
                raise told
            return await read()
    raise FatalError("a retry loop ended without an answer")


def _plain(code: Code, reason: str) -> type[OpensqtError]:
    if reason == RejectedError.default_reason:
        return RejectedError
    return _REJECTIONS.get(code, FatalError)


def _status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    try:
        # The function reads code, details and trailing metadata, which this error has as a call
        # has.
        found: status_pb2.Status | None = rpc_status.from_call(error)  # type: ignore[arg-type]  # stub knows only grpc.Call
    except ValueError:
        # Status and transport disagree: an intermediary rewrote one of them.
        return None
    return found


def _read_details(status: status_pb2.Status | None, code: Code) -> _Details:
    fallback = _Details(SERVICE_UNREACHABLE if code is Code.UNAVAILABLE else code.value)
    if status is None:
        return fallback
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    has_retry = False
    for packed in status.details:
        packed.Unpack(info)
        packed.Unpack(bad)
        has_retry = packed.Unpack(retry) or has_retry
    # A proxy may send statuses with details too; only our services' words prove anything.
    if info.domain != DOMAIN:
        return fallback
    first = bad.field_violations[0] if bad.field_violations else None
    return _Details(
        reason=info.reason,
        is_ours=True,
        metadata=dict(info.metadata),
        violation=None if first is None else (first.field, first.description),
        retry_after=from_duration(retry.retry_delay) if has_retry else None,
    )
