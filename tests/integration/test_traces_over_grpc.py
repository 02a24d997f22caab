"""The trace of an order over the wire: from the engine's gateway into the connector's handler."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import grpc
import pytest

from opensqt.market_maker.v1 import exchange_pb2, exchange_pb2_grpc
from services.common.channels import open_channel
from services.common.clock import SystemClock
from services.common.errors import OutcomeUnknownError, RejectedError
from services.common.metrics import ServiceMetrics
from services.common.server import GrpcServer
from services.common.settings import ServerSettings
from services.common.span_tracer import SpanTracer
from services.common.tracing import NULL_TRACER, Span, SpanKind, Tracer, traced, under
from services.engine.afterwards import Work
from services.engine.instruments import InstrumentKind, InstrumentRef, LegSide
from services.engine.order_ids import client_order_id
from services.engine.orders import OrderClass, OrderPlan, OrderSide
from services.engine.traced_gateway import TracedGateway
from services.engine.traces import PositionTraces
from tests.support.connector_messages import order
from tests.support.gateway_rig import NAME, scripted
from tests.support.scripted_service import ScriptedService

POSITION = "p000000000000001"
ORDER = client_order_id(POSITION, LegSide.SHORT, OrderClass.HEDGE, 0)
REF = InstrumentRef(NAME, "BTCUSDT", InstrumentKind.PERPETUAL)
PLAN = OrderPlan(
    ORDER, REF, LegSide.SHORT, OrderClass.HEDGE, OrderSide.SELL, Decimal(1), Decimal(99)
)
CALL = "opensqt.market_maker.v1.ExchangeService/PlaceOrder"


@asynccontextmanager
async def stub_of(
    script: ScriptedService, tracer: Tracer
) -> AsyncIterator[exchange_pb2_grpc.ExchangeServiceAsyncStub]:
    """Serve a script under a tracer and open a channel to it."""
    server = GrpcServer(
        ServerSettings(drain_seconds=0), metrics=ServiceMetrics("traced"), tracer=tracer
    )
    server.add(script.add_to_server, script, script.service.full_name)
    async with server:
        channel = open_channel(server.address)
        try:
            yield exchange_pb2_grpc.ExchangeServiceStub(channel)
        finally:
            await channel.close()


def gateway_of(stub: Any, traces: PositionTraces, waiting: list[Work]) -> TracedGateway:
    """Return a gateway whose work of afterwards waits in a list."""
    return TracedGateway(
        NAME,
        InstrumentKind.PERPETUAL,
        stub,
        call_seconds=5,
        place_seconds=5,
        traces=traces,
        later=waiting.append,
    )


async def test_an_order_is_one_line_of_spans_through_both_services() -> None:
    """Entry, hedge, call, and what the handler did; told of when the hedge is long gone."""
    ours: list[Span] = []
    theirs: list[Span] = []
    waiting: list[Work] = []
    tracer = SpanTracer(SystemClock(), ours.append)

    async def answer(_request: object, _context: object) -> Any:
        with traced("venue_call"):
            return order(client_order_id=ORDER)

    traces = PositionTraces(tracer)
    entry = tracer.begin("entry")
    assert entry is not None
    traces.follow(POSITION, entry)
    async with stub_of(scripted(PlaceOrder=answer), SpanTracer(SystemClock(), theirs.append)) as to:
        await gateway_of(to, traces, waiting).place(PLAN)
    assert ours == []
    for work in waiting:
        work()
    (hedge,) = ours
    inner, call = theirs
    assert (hedge.name, hedge.parent, hedge.kind) == ("hedge", entry.context, SpanKind.CLIENT)
    assert (call.name, call.parent, call.kind) == (CALL, hedge.context, SpanKind.SERVER)
    assert (inner.name, inner.parent) == ("venue_call", call.context)
    assert hedge.facts["client_order_id"] == ORDER
    assert hedge.facts["position_id"] == POSITION
    assert call.facts == {"rpc.grpc.status_code": "OK"}
    assert hedge.started_at <= hedge.ended_at


@pytest.mark.parametrize(
    ("error", "told", "code"),
    [
        (RejectedError("no funds", reason="ORDER_REJECTED"), "ORDER_REJECTED", None),
        (KeyError("bug"), "ORDER_OUTCOME_UNKNOWN", "INTERNAL"),
    ],
)
async def test_a_failed_order_is_told_by_its_reason(
    error: Exception, told: str, code: str | None
) -> None:
    """At both ends, whatever the text of the error."""
    ours: list[Span] = []
    theirs: list[Span] = []
    waiting: list[Work] = []
    traces = PositionTraces(SpanTracer(SystemClock(), ours.append))
    async with stub_of(scripted(PlaceOrder=error), SpanTracer(SystemClock(), theirs.append)) as to:
        with pytest.raises((RejectedError, OutcomeUnknownError)):
            await gateway_of(to, traces, waiting).place(PLAN)
    for work in waiting:
        work()
    assert ours[0].problem == told
    assert theirs[0].problem == (told if code is None else code)
    assert "executed" not in ours[0].facts


async def test_what_nobody_shows_is_joined_by_nobody() -> None:
    """No header from a caller without a span, no span for a header that is none."""
    theirs: list[Span] = []
    seen: list[dict[str, Any]] = []
    ask = exchange_pb2.GetNameRequest()

    async def answer(_request: object, context: Any) -> Any:
        seen.append(dict(context.invocation_metadata() or ()))
        return exchange_pb2.GetNameResponse(name=NAME)

    async with stub_of(scripted(GetName=answer), SpanTracer(SystemClock(), theirs.append)) as stub:
        await stub.GetName(ask)
        await stub.GetName(ask, metadata=grpc.aio.Metadata(("traceparent", "00-nonsense")))
    assert "traceparent" not in seen[0]
    assert theirs == []


async def test_a_server_without_a_tracer_leaves_the_header_alone() -> None:
    """The caller's trace is the caller's affair."""
    caller = SpanTracer(SystemClock(), lambda _span: None).begin("caller")
    inside: list[object] = []

    async def answer(_request: object, _context: object) -> Any:
        with traced("work") as span:
            inside.append(span)
        return exchange_pb2.GetNameResponse(name=NAME)

    async with stub_of(scripted(GetName=answer), NULL_TRACER) as stub:
        with under(caller):
            await stub.GetName(exchange_pb2.GetNameRequest())
    assert inside == [None]
