"""One entry is one trace: what begins it, what hangs on it, what ends it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal

import pytest
import pytest_asyncio

from services.common.errors import PreconditionError
from services.common.span_tracer import SpanTracer
from services.common.tracing import SPAN, Span, under
from services.engine import traces as traces_module
from services.engine.commands import HaltCommand
from services.engine.entry_desk import EntryRefusedError
from services.engine.instruments import LegSide
from services.engine.order_ids import client_order_id
from services.engine.orders import OrderClass, OrderPlan, OrderSide
from services.engine.traces import PositionTraces, TracedListener
from services.engine.views import PositionStatus, PositionView
from tests.support.engine_rig import EngineRig, MemoryJournal, Recorder
from tests.support.virtual_clock import VirtualClock

OTHER_ID = "p00000000000000x"


class TracedRig:
    """An engine whose traces go into a list; nothing is ended but by `tell`."""

    def __init__(self, ratio: float = 1.0) -> None:
        self.clock = VirtualClock()
        self.spans: list[Span] = []
        self.traces = PositionTraces(SpanTracer(self.clock, self.spans.append, ratio))
        self.rig = EngineRig(self.clock, MemoryJournal())
        self.rig.extras["traces"] = self.traces
        self.rig.new_engine()

    def tell(self, view: PositionView, status: PositionStatus | None = None) -> None:
        """Tell of a position, as it is or in another state."""
        listener = TracedListener(Recorder(), self.traces, self.clock)
        listener.position_changed(view if status is None else replace(view, status=status))

    def send(self, view: PositionView, order_class: OrderClass, attempt: int = 0) -> Span | None:
        """Return the span of an order of a position as it leaves."""
        ref = view.long_leg.instrument
        key = client_order_id(view.position_id, LegSide.LONG, order_class, attempt)
        side, one = OrderSide.BUY, Decimal(1)
        return self.traces.order(OrderPlan(key, ref, LegSide.LONG, order_class, side, one, None))

    def sent(self, view: PositionView, order_class: OrderClass) -> Span:
        """Return it where there must be one."""
        span = self.send(view, order_class)
        assert span is not None
        return span

    def named(self, name: str) -> Span:
        """Return the one span of this name that has ended."""
        (found,) = [span for span in self.spans if span.name == name]
        return found


@pytest_asyncio.fixture
async def traced() -> AsyncIterator[TracedRig]:
    """Run an engine with a tracer."""
    found = TracedRig()
    await found.rig.start()
    yield found
    await found.rig.close_rig()


async def test_an_entry_is_a_trace_until_it_settles(traced: TracedRig) -> None:
    """Decision, checks, baselines and journal hang on it, and each order that leaves."""
    view = await traced.rig.open()
    lead, hedge = (traced.sent(view, kind) for kind in (OrderClass.ENTRY, OrderClass.HEDGE))
    assert [span.name for span in traced.spans] == ["decision", "checks", "baselines", "journal"]
    traced.tell(view, PositionStatus.OPENING)
    traced.tell(view, PositionStatus.UNWINDING)
    assert len(traced.spans) == 4
    traced.tell(view)
    entry = traced.named("entry")
    assert (lead.name, hedge.name) == ("lead", "hedge")
    assert {span.parent for span in (*traced.spans[:4], lead, hedge)} == {entry.context}
    assert entry.facts["position_id"] == view.position_id
    assert (entry.facts["state"], entry.facts["symbol"]) == ("open", "BTCUSDT")
    traced.tell(view)
    assert len(traced.spans) == 5
    assert SPAN.get() is None


async def test_a_refused_entry_ends_its_trace_with_the_reason(traced: TracedRig) -> None:
    """The span that was refused has it too; what came after does not exist."""
    with pytest.raises(EntryRefusedError):
        await traced.rig.open("1000000")
    assert [span.name for span in traced.spans] == ["decision", "checks", "entry"]
    assert [span.problem for span in traced.spans] == ["", *["ENTRY_CHECKS_FAILED"] * 2]
    await traced.rig.call(traced.rig.engine.halt(HaltCommand(traced.rig.request_id(), "test")))
    with pytest.raises(PreconditionError):
        await traced.rig.open()
    assert traced.spans[-1].problem == "ENGINE_HALTED"


async def test_the_caller_is_linked_and_not_joined(traced: TracedRig) -> None:
    """However many entries somebody asks for under one span, each is a trace."""
    caller = SpanTracer(traced.clock, traced.spans.append).begin("caller")
    assert caller is not None
    with under(caller):
        view = await traced.rig.open()
    traced.tell(view)
    entry = traced.named("entry")
    assert entry.links == (caller.context,)
    assert entry.context.trace_id != caller.context.trace_id


async def test_an_exit_is_a_trace_of_its_own(traced: TracedRig) -> None:
    """It begins with the request, whoever is first to tell of it, and has both orders."""
    view = await traced.rig.open()
    traced.tell(view)
    entry = traced.named("entry")
    closing = replace(view, update_time=traced.clock.now(), status=PositionStatus.CLOSING)
    asked_at = traced.clock.monotonic()
    await traced.clock.pass_time(1.0)
    order = traced.sent(view, OrderClass.EXIT)
    # Told late, of the time before the exit.
    traced.tell(view)
    traced.tell(closing)
    assert traced.sent(view, OrderClass.EXIT).parent == order.parent
    traced.tell(view, PositionStatus.CLOSED)
    exit_ = traced.named("exit")
    assert order.parent == exit_.context
    assert exit_.started_at == pytest.approx(asked_at)
    assert exit_.links == (entry.context,)
    assert exit_.facts["state"] == "closed"


async def test_an_exit_overtakes_its_entry(traced: TracedRig) -> None:
    """Closing while the entry is under way ends the one trace and begins the other."""
    view = await traced.rig.open()
    traced.tell(view, PositionStatus.CLOSING)
    assert traced.named("entry").facts["state"] == "closing"
    traced.tell(view, PositionStatus.FLAT)
    assert traced.named("exit").links == (traced.named("entry").context,)


async def test_an_unwind_is_linked_to_its_entry(traced: TracedRig) -> None:
    """What gives a leg back is no part of the entry's own work."""
    view = await traced.rig.open()
    unwind = traced.sent(view, OrderClass.UNWIND)
    traced.tell(view)
    assert unwind.parent is None
    assert unwind.links == (traced.named("entry").context,)


async def test_an_order_of_an_earlier_run_begins_a_trace(traced: TracedRig) -> None:
    """Its entry's trace ended with the process."""
    view = replace(await traced.rig.open(), position_id=OTHER_ID)
    hedge = traced.sent(view, OrderClass.HEDGE)
    assert (hedge.parent, hedge.links) == (None, ())
    assert traced.sent(view, OrderClass.EXIT).name == "exit_order"


async def test_what_is_not_kept_is_not_kept_in_part() -> None:
    """Neither the orders of an entry that is left out, nor its exit."""
    traced = TracedRig(ratio=0.0)
    await traced.rig.start()
    view = await traced.rig.open()
    assert [traced.send(view, kind) for kind in OrderClass] == [None] * 4
    traced.tell(view)
    traced.tell(view, PositionStatus.CLOSING)
    traced.tell(view, PositionStatus.CLOSED)
    assert traced.spans == []
    await traced.rig.close_rig()


async def test_memory_is_bounded(traced: TracedRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest entries are forgotten; their later orders begin traces of their own."""
    monkeypatch.setattr(traces_module, "MOST_KNOWN", 2)
    view = await traced.rig.open()
    for number in range(3):
        with traced.traces.entry("") as entry:
            entry.is_of(f"p{number:015d}")
    assert traced.sent(view, OrderClass.HEDGE).parent is None
    known = replace(view, position_id=f"p{2:015d}")
    assert traced.sent(known, OrderClass.HEDGE).parent is not None
