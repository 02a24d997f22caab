"""A small gRPC service with all four shapes of call, to test server and channels with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import grpc
from google.type import decimal_pb2
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc

from services.common.codec import decimal_from_proto
from services.common.errors import OpensqtError
from services.common.metrics import ServiceMetrics
from services.common.scopes import METHOD_RULES, Lane, MethodRule, Scope
from services.common.server import GrpcServer
from services.common.settings import ServerSettings

SERVICE = "opensqt.test.v1.EchoService"
Number: TypeAlias = decimal_pb2.Decimal
ECHO_RULES: Mapping[str, MethodRule] = {
    **METHOD_RULES,
    **{
        f"/{SERVICE}/{name}": MethodRule(scope, lane, has_list=True)
        for name, scope, lane in (
            ("One", Scope.MARKET, Lane.COMMON),
            ("Slow", Scope.MARKET, Lane.COMMON),
            ("SlowExit", Scope.CANCEL, Lane.EXIT),
            ("Wrong", Scope.MARKET, Lane.COMMON),
            ("Many", Scope.MARKET, Lane.COMMON),
            ("Flood", Scope.MARKET, Lane.COMMON),
            ("SumUp", Scope.MARKET, Lane.COMMON),
            ("Chat", Scope.MARKET, Lane.COMMON),
        )
    },
}
"""The rules of the contract and of the methods here; `Unruled` has none."""


def method(name: str) -> str:
    """Return the full name of one of the echo service's methods."""
    return f"/{SERVICE}/{name}"


class EchoService:
    """Sends numbers back; `failure`, when set, is raised instead; `gate` holds Slow calls."""

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        self.arrived = asyncio.Event()
        self.gate = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def one(self, request: Number, _context: Any) -> Number:
        """Answer with the request, or raise `failure`."""
        if self.failure is not None:
            raise self.failure
        decimal_from_proto(request, "value")
        return request

    async def slow(self, request: Number, _context: Any) -> Number:
        """Answer once the gate opens."""
        self.arrived.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return request

    async def wrong(self, _request: Number, _context: Any) -> object:
        """Answer with something that is no message."""
        return object()

    async def many(self, request: Number, _context: Any) -> AsyncIterator[Number]:
        """Answer twice, then raise `failure` or wait at the gate."""
        yield request
        yield request
        self.arrived.set()
        if self.failure is not None:
            raise self.failure
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def flood(self, request: Number, _context: Any) -> AsyncIterator[Number]:
        """Answer without end, faster than a caller who does not read."""
        self.arrived.set()
        try:
            while True:
                yield Number(value=request.value * 1_000)
                await asyncio.sleep(0)
        finally:
            self.cancelled.set()

    async def sum_up(self, requests: AsyncIterator[Number], _context: Any) -> Number:
        """Answer with the number of requests."""
        count = 0
        async for _request in requests:
            count += 1
        return Number(value=str(count))

    async def chat(self, requests: AsyncIterator[Number], _context: Any) -> AsyncIterator[Number]:
        """Send each request back."""
        async for request in requests:
            yield request

    def add_to(self, _servicer: object, server: grpc.aio.Server) -> None:
        """Register the methods, as a generated function would."""
        coding = (Number.FromString, Number.SerializeToString)
        handlers = {
            "One": grpc.unary_unary_rpc_method_handler(self.one, *coding),
            "Slow": grpc.unary_unary_rpc_method_handler(self.slow, *coding),
            "SlowExit": grpc.unary_unary_rpc_method_handler(self.slow, *coding),
            "Unruled": grpc.unary_unary_rpc_method_handler(self.one, *coding),
            "Wrong": grpc.unary_unary_rpc_method_handler(self.wrong, *coding),
            "Many": grpc.unary_stream_rpc_method_handler(self.many, *coding),
            "Flood": grpc.unary_stream_rpc_method_handler(self.flood, *coding),
            "SumUp": grpc.stream_unary_rpc_method_handler(self.sum_up, *coding),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat, *coding),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


@asynccontextmanager
async def echo_server(
    settings: ServerSettings | None = None,
    failure: OpensqtError | Exception | None = None,
    metrics: ServiceMetrics | None = None,
) -> AsyncIterator[tuple[GrpcServer, EchoService]]:
    """Run an echo server for the length of the block; by default it drains for a second at most."""
    server = GrpcServer(
        settings or ServerSettings(drain_seconds=1),
        metrics=metrics or ServiceMetrics("echo"),
        rules=ECHO_RULES,
    )
    service = EchoService()
    service.failure = failure
    server.add(service.add_to, service, SERVICE)
    async with server:
        yield server, service


def raw(channel: grpc.aio.Channel) -> Any:
    """Return the channel without its types: calls made by hand send bytes."""
    return channel


def health(channel: grpc.aio.Channel) -> Any:
    """Return the stub of the health service, whose stubs know no aio channel."""
    return health_pb2_grpc.HealthStub(channel)


def reflection_stub(channel: grpc.aio.Channel) -> Any:
    """Return the stub of the reflection service, untyped for the same reason."""
    make: Any = reflection_pb2_grpc.ServerReflectionStub
    return make(channel)


def unary(channel: grpc.aio.Channel, name: str) -> Any:
    """Return a callable for a method with one request and one reply."""
    return channel.unary_unary(
        method(name),
        request_serializer=Number.SerializeToString,
        response_deserializer=Number.FromString,
    )
