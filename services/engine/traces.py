"""Traces of positions: one of each entry, one of each exit, and what each order is in them.

An entry's trace begins with its command and ends when the entry settles; its orders hang on it by
their position's id, whichever task sends them. What gives a leg back, an unwind or an exit, is a
trace of its own with a link to the entry's.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from services.common.order_names import position_of
from services.common.tracing import NULL_TRACER, SPAN, SpanKind, present, problem_of
from services.engine.orders import OrderClass
from services.engine.views import PositionStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.common.clock import Clock
    from services.common.trace_context import TraceContext
    from services.common.tracing import Span, Tracer
    from services.engine.orders import OrderPlan
    from services.engine.ports import PositionListener
    from services.engine.views import PositionView

MOST_KNOWN: Final = 4_096
"""Positions whose entry is remembered, for links and for orders; the oldest are forgotten."""

_T = TypeVar("_T")
_EXITING: Final = (PositionStatus.CLOSING, PositionStatus.REDUCING)
_RESTING: Final = (PositionStatus.OPEN, PositionStatus.CLOSED, PositionStatus.FLAT)
_ENTRY_NAMES: Final = {OrderClass.ENTRY: "lead", OrderClass.HEDGE: "hedge"}


class EntryTrace:
    """The trace of an entry whose position has no id yet."""

    def __init__(self, traces: PositionTraces, span: Span | None) -> None:
        self._traces = traces
        self._span = span

    def is_of(self, position_id: str) -> None:
        """Say whose entry it is: from here on its orders hang on it, and settling ends it."""
        self._traces.follow(position_id, self._span)


# Not frozen: it is told of its position's changes.
@dataclass(slots=True)
class _Exit:
    span: Span
    is_told: bool = False


class PositionTraces:
    """The traces under way; without a tracer none is ever made."""

    def __init__(self, tracer: Tracer = NULL_TRACER) -> None:
        self._tracer = tracer
        self._entries: OrderedDict[str, Span | None] = OrderedDict()
        self._known: OrderedDict[str, TraceContext] = OrderedDict()
        self._exits: dict[str, _Exit] = {}

    @contextmanager
    def entry(self, opportunity_id: str) -> Iterator[EntryTrace]:
        """Begin the trace of an entry and make it the present one; what is raised ends it."""
        caller = SPAN.get()
        # Not under the caller's: one trace is one entry, however many somebody asks for.
        span = self._tracer.begin("entry", links=() if caller is None else (caller.context,))
        if span is not None and opportunity_id:
            span.facts["opportunity_id"] = opportunity_id
        try:
            with present(span):
                yield EntryTrace(self, span)
        except BaseException as error:
            if span is not None:
                span.end(problem_of(error))
            raise

    def follow(self, position_id: str, span: Span | None) -> None:
        """Take the span of an entry that was taken; None where its trace is not kept."""
        if not self._tracer.is_on:
            return
        _remember(self._entries, position_id, span)
        if span is not None:
            span.facts["position_id"] = position_id
            _remember(self._known, position_id, span.context)

    def order(self, plan: OrderPlan) -> Span | None:
        """Return the span of an order that leaves now; None where its trace is not kept."""
        position_id = position_of(plan.client_order_id)
        if plan.order_class is OrderClass.EXIT:
            exit_ = self._exit(position_id)
            if exit_ is None:
                return None
            return self._tracer.child(exit_.span, "exit_order", SpanKind.CLIENT)
        if plan.order_class is OrderClass.UNWIND:
            return self._tracer.begin("unwind", links=self._links(position_id))
        name = _ENTRY_NAMES[plan.order_class]
        if position_id not in self._entries:
            # Of an entry of an earlier run, whose trace ended with it.
            return self._tracer.begin(name)
        entry = self._entries[position_id]
        return None if entry is None else self._tracer.child(entry, name, SpanKind.CLIENT)

    def changed(self, view: PositionView, clock: Clock) -> None:
        """Begin and end what a position's change begins and ends."""
        if view.status in _EXITING:
            self._end_entry(view)
            exit_ = self._exit(view.position_id)
            if exit_ is not None and not exit_.is_told:
                exit_.is_told = True
                age = (clock.now() - view.update_time).total_seconds()
                exit_.span.started_at = min(exit_.span.started_at, clock.monotonic() - age)
        elif view.status in _RESTING:
            self._end_entry(view)
            exit_ = self._exits.get(view.position_id)
            # Told late, as everything is: that it rested before the exit does not end the exit.
            if exit_ is not None and exit_.is_told:
                del self._exits[view.position_id]
                _end(exit_.span, view)

    def _exit(self, position_id: str) -> _Exit | None:
        found = self._exits.get(position_id)
        if found is None and len(self._exits) < MOST_KNOWN:
            span = self._tracer.begin("exit", links=self._links(position_id))
            if span is not None:
                found = self._exits[position_id] = _Exit(span)
        return found

    def _links(self, position_id: str) -> tuple[TraceContext, ...]:
        entry = self._known.get(position_id)
        return () if entry is None else (entry,)

    def _end_entry(self, view: PositionView) -> None:
        span = self._entries.pop(view.position_id, None)
        if span is not None:
            _end(span, view)


class TracedListener:
    """Passes a position's changes on, then on to the traces."""

    def __init__(self, inner: PositionListener, traces: PositionTraces, clock: Clock) -> None:
        self._inner = inner
        self._traces = traces
        self._clock = clock

    def position_changed(self, view: PositionView) -> None:
        """See `PositionListener.position_changed`."""
        self._inner.position_changed(view)
        self._traces.changed(view, self._clock)


def _end(span: Span, view: PositionView) -> None:
    span.facts |= {
        "position_id": view.position_id,
        "symbol": view.symbol,
        "state": view.status.value,
        "state_reason": view.state_reason,
        "unhedged_seconds": view.unhedged_time.total_seconds(),
        "lead_quantity": str(view.lead_executed_quantity),
        "hedge_quantity": str(view.hedge_executed_quantity),
    }
    span.end()


def _remember(held: OrderedDict[str, _T], key: str, value: _T) -> None:
    held[key] = value
    while len(held) > MOST_KNOWN:
        held.popitem(last=False)
