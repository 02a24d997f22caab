"""Traces: the span the present work belongs to, and its children.

Code that does work says `with traced("name"):` and knows of no tracer: where the caller's work is
not traced, nothing is made. Who begins a trace, or joins one that came over the wire, is given a
`Tracer`. A span is told of when it has ended, to a tracer that only takes note: nothing waits.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from services.common.errors import OpensqtError
from services.common.trace_context import TraceContext

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextvars import Token
    from types import TracebackType

Fact = str | int | float | bool | tuple[str, ...]
"""Value of an attribute of a span."""


class SpanKind(StrEnum):
    """Which side of a call a span is; INTERNAL is none."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"


# Not frozen: it is under way, and whoever does the work adds what came of it.
@dataclass(slots=True, eq=False)
class Span:
    """A piece of work of one trace; times in seconds of the tracer's monotonic clock.

    `problem` is empty where the work succeeded, else the reason of its error.
    """

    tracer: Tracer
    name: str
    context: TraceContext
    started_at: float
    kind: SpanKind = SpanKind.INTERNAL
    parent: TraceContext | None = None
    links: tuple[TraceContext, ...] = ()
    facts: dict[str, Fact] = field(default_factory=dict)
    ended_at: float = 0.0
    problem: str = ""

    def end(self, problem: str = "") -> None:
        """Take the time and hand the span to its tracer; once."""
        self.problem = problem
        self.ended_at = self.tracer.monotonic()
        self.tracer.record(self)


class Tracer(Protocol):
    """Makes spans, and takes those that have ended; never waits and never raises."""

    @property
    def is_on(self) -> bool:
        """Whether any span can come of it."""
        ...

    def monotonic(self) -> float:
        """Return the present time of its clock."""
        ...

    def begin(
        self,
        name: str,
        *,
        context: TraceContext | None = None,
        links: tuple[TraceContext, ...] = (),
    ) -> Span | None:
        """Return the first span of a new trace; None where that trace is not kept.

        With `context` the trace has this name instead of a random one.
        """
        ...

    def join(self, name: str, traceparent: str, kind: SpanKind = SpanKind.SERVER) -> Span | None:
        """Return a span under a caller's; None where the caller shows none that is kept."""
        ...

    def child(self, parent: Span, name: str, kind: SpanKind = SpanKind.INTERNAL) -> Span:
        """Return a span under another one."""
        ...

    def record(self, span: Span) -> None:
        """Take a span that has ended."""
        ...


class NullTracer:
    """Makes nothing: what services have without `[tracing]`."""

    is_on: Final = False

    def monotonic(self) -> float:
        """Return zero: no span asks."""
        return 0.0

    def begin(
        self,
        name: str,
        *,
        context: TraceContext | None = None,
        links: tuple[TraceContext, ...] = (),
    ) -> Span | None:
        """Begin nothing."""
        return None

    def join(self, name: str, traceparent: str, kind: SpanKind = SpanKind.SERVER) -> Span | None:
        """Join nothing."""
        return None

    def child(self, parent: Span, name: str, kind: SpanKind = SpanKind.INTERNAL) -> Span:
        """Return the parent, which is another tracer's."""
        return parent

    def record(self, span: Span) -> None:
        """Drop it."""


NULL_TRACER: Final = NullTracer()

SPAN: Final[ContextVar[Span | None]] = ContextVar("span", default=None)
"""The span under which the present work stands; None where it is not traced."""

TRACER: Final[ContextVar[Tracer]] = ContextVar("tracer", default=NULL_TRACER)
"""Tracer of the server whose call is handled; set by its interceptor."""


def present_traceparent() -> str:
    """Return how to name the present span to another service; empty where there is none."""
    span = SPAN.get()
    return "" if span is None else span.context.traceparent


class _Untraced:
    """Stands for a span where nothing is traced: one for all, so that it costs nothing."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_error: object) -> None:
        return None


class UnderSpan:
    """Makes a span the present one inside the block, and ends it with the block."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span) -> None:
        self._span = span
        self._token: Token[Span | None]

    def __enter__(self) -> Span:
        """Return the span."""
        self._token = SPAN.set(self._span)
        return self._span

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """End the span with the error's reason."""
        SPAN.reset(self._token)
        self._span.end(problem_of(error))


_UNTRACED: Final = _Untraced()


def under(span: Span | None) -> UnderSpan | _Untraced:
    """Return a block that is this span; of None a block that is nothing."""
    return _UNTRACED if span is None else UnderSpan(span)


def traced(name: str, **facts: Fact) -> UnderSpan | _Untraced:
    """Return a block that is a span under the present one; nothing where there is none."""
    parent = SPAN.get()
    if parent is None:
        return _UNTRACED
    span = parent.tracer.child(parent, name)
    span.facts.update(facts)
    return UnderSpan(span)


def link_present(context: TraceContext) -> None:
    """Link the present span to one of another trace; nothing where there is none."""
    span = SPAN.get()
    if span is not None:
        span.links = (*span.links, context)


@contextmanager
def present(span: Span | None) -> Iterator[None]:
    """Make a span the present one inside the block, without ending it."""
    token = SPAN.set(span)
    try:
        yield
    finally:
        SPAN.reset(token)


def problem_of(error: BaseException | None) -> str:
    """Return what to call an error in a span: its reason, else its kind; empty for none."""
    if error is None:
        return ""
    if isinstance(error, OpensqtError):
        return error.reason
    if isinstance(error, asyncio.CancelledError):
        return "CANCELLED"
    return type(error).__name__
