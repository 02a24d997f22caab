"""The tracer that makes spans: random ids, the share that is kept, and where ended spans go."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from services.common.trace_context import TraceContext, is_kept, read_traceparent
from services.common.tracing import Span, SpanKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.common.clock import Clock


class SpanTracer:
    """Implements `Tracer`; `sink` takes the ended spans and must neither wait nor raise."""

    is_on: Final = True

    def __init__(self, clock: Clock, sink: Callable[[Span], None], ratio: float = 1.0) -> None:
        self.monotonic = clock.monotonic
        self._sink = sink
        self._ratio = ratio
        # Names, not secrets: the system's own source takes ten times as long.
        self._bits = random.Random().getrandbits  # noqa: S311 - ids need no secrecy

    def begin(
        self,
        name: str,
        *,
        context: TraceContext | None = None,
        links: tuple[TraceContext, ...] = (),
    ) -> Span | None:
        """See `Tracer.begin`."""
        found = context or TraceContext(self._bits(128), self._span_id())
        if not is_kept(found.trace_id, self._ratio):
            return None
        return Span(self, name, found, self.monotonic(), links=links)

    def join(self, name: str, traceparent: str, kind: SpanKind = SpanKind.SERVER) -> Span | None:
        """See `Tracer.join`: the caller has decided what is kept."""
        parent = read_traceparent(traceparent)
        if parent is None:
            return None
        return self._under(parent, name, kind)

    def child(self, parent: Span, name: str, kind: SpanKind = SpanKind.INTERNAL) -> Span:
        """See `Tracer.child`."""
        return self._under(parent.context, name, kind)

    def record(self, span: Span) -> None:
        """See `Tracer.record`."""
        self._sink(span)

    def _under(self, parent: TraceContext, name: str, kind: SpanKind) -> Span:
        context = TraceContext(parent.trace_id, self._span_id())
        return Span(self, name, context, self.monotonic(), kind, parent)

    def _span_id(self) -> int:
        # Zero is no id.
        return self._bits(64) or 1
