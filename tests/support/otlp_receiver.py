"""A receiver of OTLP traces for tests: keeps every span with the name of its service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class SeenSpan:
    """A span as it came over the wire; ids in hex, times in nanoseconds."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    facts: dict[str, Any]
    links: tuple[tuple[str, str], ...]
    problem: str

    @property
    def short_name(self) -> str:
        """The name without the package of a method."""
        return self.name.rpartition(".")[2]


class OtlpReceiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes what exporters send."""

    def __init__(self) -> None:
        self.spans: list[SeenSpan] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.address = "127.0.0.1:0"
        self._server: grpc.aio.Server | None = None

    async def start(self, credentials: grpc.ServerCredentials | None = None) -> None:
        """Listen at `address`, on a free port the first time."""
        self._server = server = grpc.aio.server()
        add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
        add(self, server)
        if credentials is None:
            port = server.add_insecure_port(self.address)
        else:
            port = server.add_secure_port(self.address, credentials)
        self.address = f"127.0.0.1:{port}"
        await server.start()

    async def stop(self) -> None:
        """Listen no more; what came is kept, and `start` takes the same port."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def Export(  # noqa: N802 - the method's name on the wire
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: Any
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Keep the spans of one call."""
        self.metadata.append(dict(context.invocation_metadata() or ()))
        for resource in request.resource_spans:
            service = str(_facts(resource.resource.attributes)["service.name"])
            for scope in resource.scope_spans:
                self.spans += [_seen(service, span) for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def named(self, name: str, **facts: Any) -> list[SeenSpan]:
        """Return the spans of a short name that have these facts."""
        return [
            span
            for span in self.spans
            if span.short_name == name and facts.items() <= span.facts.items()
        ]

    async def until(self, holds: Callable[[], object], what: str, seconds: float = 15.0) -> None:
        """Wait until a condition holds; fails with what was seen when it does not in time."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not holds():
            if asyncio.get_running_loop().time() > deadline:
                seen = sorted({(span.service, span.short_name) for span in self.spans})
                raise AssertionError(f"{what}; seen: {seen}")
            await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def running_receiver(
    credentials: grpc.ServerCredentials | None = None,
) -> AsyncIterator[OtlpReceiver]:
    """Serve a receiver on loopback."""
    receiver = OtlpReceiver()
    await receiver.start(credentials)
    try:
        yield receiver
    finally:
        await receiver.stop()


def _seen(service: str, span: trace_pb2.Span) -> SeenSpan:
    return SeenSpan(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _facts(span.attributes),
        tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        span.status.message,
    )


def _facts(rows: Iterable[common_pb2.KeyValue]) -> dict[str, Any]:
    return {row.key: _value(row.value) for row in rows}


def _value(value: common_pb2.AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_value(each) for each in value.array_value.values)
    return None if kind is None else getattr(value, kind)
