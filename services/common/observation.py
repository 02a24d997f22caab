"""What is seen of one call, and how it ends: status to the caller, metrics, one log line."""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc

from services.common.auth import OPEN_METHODS
from services.common.errors import Code, FatalError, OpensqtError
from services.common.logs import get_logger
from services.common.principals import ANYBODY
from services.common.status_details import to_grpc_status
from services.common.trace_context import TRACEPARENT
from services.common.tracing import NULL_TRACER, SPAN, TRACER, Span, Tracer, problem_of

if TYPE_CHECKING:
    from types import TracebackType

    from services.common.clock import Clock
    from services.common.in_flight import Call, CallsInFlight
    from services.common.line_budget import LineBudget
    from services.common.metrics import MethodFigures, ServiceMetrics

CallContext = grpc.aio.ServicerContext[Any, Any]
_log = get_logger(__name__)
_levels: Final = logging.getLogger(__name__)
_CODE_NAMES: Final[dict[object, str]] = {status.value[0]: status.name for status in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class CallWatch:
    """What the observations of one server share."""

    metrics: ServiceMetrics
    calls: CallsInFlight
    clock: Clock
    refusals: LineBudget
    tracer: Tracer = NULL_TRACER


class CallerGoneError(Exception):
    """A reply could not be written: the caller left; ends the handling without a status."""


class Observation:
    """Surrounds the handling of one call; errors leave it as `google.rpc.Status`.

    Our own errors go out with their details. Anything else is a bug: the caller gets a fixed text
    and an id, the log gets the traceback under the same id.
    """

    def __init__(
        self, watch: CallWatch, method: str, context: CallContext, *, is_streaming: bool
    ) -> None:
        self._metrics = watch.metrics
        self._calls = watch.calls
        self._clock = watch.clock
        self._refusals = watch.refusals
        self._tracer = watch.tracer
        self._span: Span | None = None
        self._method = method
        self._context = context
        self._is_streaming = is_streaming
        self._start = 0.0
        # Read while the call lives: gRPC frees what a late look would touch.
        self._peer = context.peer()
        self.call: Call
        self._figures: MethodFigures

    async def __aenter__(self) -> Call:
        """Note the arrival."""
        self.call = self._calls.begin(self._method, is_streaming=self._is_streaming)
        self._figures = self._metrics.of_method(self._method)
        self._figures.in_flight.inc()
        self._start = self._clock.monotonic()
        if self._tracer.is_on:
            self._join_trace()
        return self.call

    def _join_trace(self) -> None:
        TRACER.set(self._tracer)
        # A stream would be a span of days; what goes over it is traced piece by piece.
        if not self._is_streaming:
            name = self._method.lstrip("/")
            self._span = self._tracer.join(name, _traceparent(self._context))
            SPAN.set(self._span)

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> bool:
        """Note the end; when the handler failed set the status, and let the error go no further."""
        answer = self._answer(error)
        code = self._code(error, answer)
        if self._span is not None:
            self._span.facts["rpc.grpc.status_code"] = code
            self._span.end(problem_of(answer or error))
        self._finish(code, answer)
        if answer is None:
            return isinstance(error, CallerGoneError)
        # Set, not aborted with: gRPC keeps the abort's exception in the call that its traceback
        # holds, and a flood of refusals would leave a ring of garbage each.
        status = to_grpc_status(answer)
        self._context.set_trailing_metadata(status.trailing_metadata)
        self._context.set_code(status.code)
        self._context.set_details(status.details)
        return True

    def _answer(self, error: BaseException | None) -> OpensqtError | None:
        if isinstance(error, OpensqtError):
            return error
        # An abort by the handler (the health service's own) has set its status already.
        if isinstance(error, Exception) and not isinstance(
            error, grpc.aio.AbortError | CallerGoneError
        ):
            error_id = uuid.uuid4().hex
            _log.error("call_failed", method=self._method, error_id=error_id, exc_info=error)
            return FatalError("internal error", metadata={"errorId": error_id})
        return None

    def _code(self, error: BaseException | None, answer: OpensqtError | None) -> str:
        if answer is not None:
            return answer.code.value
        if isinstance(error, CallerGoneError):
            return Code.CANCELLED.value
        if isinstance(error, asyncio.CancelledError):
            self._calls.cut()
            late = _is_over(self._context.time_remaining())
            return (Code.DEADLINE_EXCEEDED if late else Code.CANCELLED).value
        return _code_name(self._context.code())

    def _finish(self, code: str, answer: OpensqtError | None) -> None:
        seconds = self._clock.monotonic() - self._start
        self._calls.end(self.call)
        self._figures.in_flight.dec()
        self._figures.finished(code).inc()
        self._figures.seconds.observe(seconds)
        # Probes come every few seconds; they would drown the calls.
        level = logging.DEBUG if self._method in OPEN_METHODS else logging.INFO
        # A line that nobody wants is not put together; one held back is counted all the same.
        if answer is None and not _levels.isEnabledFor(level):
            return
        facts: dict[str, object] = {
            "method": self._method,
            "code": code,
            "seconds": round(seconds, 6),
        }
        if self.call.principal is not ANYBODY:
            facts["principal"] = self.call.principal.name
        if answer is not None:
            facts["reason"] = answer.reason
            facts["problem"] = answer.message
            # Refused at the door: anybody can cause these, as many as the wire carries.
            if not self.call.is_admitted and not self._refusals.take():
                return
        _log.log(level, "call_finished", peer=self._peer, **facts)


def _traceparent(context: CallContext) -> str:
    for name, value in context.invocation_metadata() or ():
        if name == TRACEPARENT:
            return value if isinstance(value, str) else ""
    return ""


def _is_over(remaining: object) -> bool:
    # The stub promises a number; a call without deadline has None.
    return isinstance(remaining, int | float) and remaining <= 0


def _code_name(code: object) -> str:
    # None or 0 until a handler sets one; the number or the enum afterwards.
    if isinstance(code, grpc.StatusCode):
        return code.name
    return _CODE_NAMES.get(code or 0, Code.UNKNOWN.value)
