"""The gRPC server of a service: security, health, reflection, limits and a bounded drain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.common.admission import Admission, Quotas
from services.common.auth import CallGuard
from services.common.clock import Clock, SystemClock
from services.common.errors import FatalError
from services.common.in_flight import CallsInFlight
from services.common.interceptors import CallBounds, CallInterceptor
from services.common.line_budget import LineBudget
from services.common.metrics import ServiceMetrics
from services.common.observation import CallWatch
from services.common.principals import PrincipalBook
from services.common.run import run_service, serve
from services.common.scopes import METHOD_RULES, MethodRule
from services.common.tls import find_problem, server_credentials
from services.common.tracing import NULL_TRACER, Tracer

if TYPE_CHECKING:
    from services.common.settings import ServerSettings

__all__ = ["GrpcServer", "run_service", "serve"]

MAX_REPLY_BYTES = 4 * 1024 * 1024
MAX_HEADER_BYTES = 8 * 1024
HANDSHAKE_MILLISECONDS = 2_000
MIN_PING_MILLISECONDS = 4_000
"""Clients ping every 5 s; pings closer than this count as abuse and close the connection."""

MAX_PENDING_CALLS = 65_536
"""Calls, over all connections, that arrived and were not looked at yet; each is refused in turn."""

PING_MILLISECONDS = 30_000
PING_TIMEOUT_MILLISECONDS = 10_000
AGE_GRACE_MILLISECONDS = 60_000
"""Time the calls on an aged connection have to end; their streams are resumed on a new one."""

CANCEL_SECONDS = 2.0
"""Time a cancelled call gets to clean up before the process goes on without it."""

PROBE_SECONDS = 0.1
"""Time the health watchers get to read NOT_SERVING before their streams end."""

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class _MethodTable:
    """Takes the methods of generated code into a server, found by name when they are called.

    Registered ones as well would each have a task that waits for its next call, and grpc.aio looks
    at every such task with every call: 43 of them in a connector.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Add handlers that are found by name."""
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, _service: str, _handlers: object) -> None:
        """Leave them out: the generic handler has the same methods."""


class GrpcServer:
    """A grpc.aio server: `add` servicers, `start`, and in the end `drain`.

    Must be made inside the running event loop. Off-loopback settings without token and TLS cannot
    be constructed, so this class need not check them again.
    """

    def __init__(
        self,
        settings: ServerSettings,
        *,
        metrics: ServiceMetrics,
        clock: Clock | None = None,
        rules: Mapping[str, MethodRule] = METHOD_RULES,
        tracer: Tracer = NULL_TRACER,
    ) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._calls = CallsInFlight()
        self._book = _read_book(settings)
        self._keeper: asyncio.Task[None] | None = None
        watch = CallWatch(metrics, self._calls, self._clock, LineBudget(self._clock), tracer)
        interceptor = CallInterceptor(
            CallGuard(self._book, rules), Admission(_quotas(settings)), _bounds(settings), watch
        )
        self._server = grpc.aio.server(interceptors=[interceptor], options=_options(settings))
        # What generated code takes for the server.
        self._methods = cast("grpc.aio.Server", _MethodTable(self._server))
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._methods)
        self._serving: dict[str, bool] = {"": True}
        self.address = ""

    def add(
        self,
        add_to_server: Callable[[Any, grpc.aio.Server], None],
        servicer: object,
        name: str,
        *,
        serving: bool = True,
    ) -> None:
        """Register a servicer by its generated function and its full service name, before `start`.

        With `serving` false its health is NOT_SERVING until `set_serving` says otherwise.
        """
        add_to_server(servicer, self._methods)
        self._serving[name] = serving

    async def set_serving(self, name: str, *, serving: bool) -> None:
        """Tell the health of one service; the empty name stands for the whole process."""
        self._serving[name] = serving
        if self.address:
            await self._health.set(name, _SERVING if serving else _NOT_SERVING)

    async def start(self) -> str:
        """Listen and serve.

        Return the address as `host:port`. Raises FatalError when it is taken.
        """
        if self._settings.reflection:
            names = [name for name in self._serving if name]
            listed = (*names, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(listed, self._server)
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        port = self._bind(f"{host}:{self._settings.port}")
        # Before start: the first probe must not meet a name unknown to the health service.
        for name, serving in self._serving.items():
            await self._health.set(name, _SERVING if serving else _NOT_SERVING)
        await self._server.start()
        if not self._book.is_open:
            keeping = self._book.keep_fresh(self._clock, self._settings.secrets_reload_seconds)
            self._keeper = asyncio.get_running_loop().create_task(keeping)
        self.address = f"{host}:{port}"
        return self.address

    def _bind(self, wanted: str) -> int:
        tls = self._settings.tls
        try:
            if tls is None:
                port = self._server.add_insecure_port(wanted)
            else:
                port = self._server.add_secure_port(wanted, server_credentials(tls))
        except RuntimeError:
            # grpcio tells of a taken port by this error, in some versions by the number 0.
            port = 0
        if port == 0:
            # gRPC tells of files that do not do in the same way.
            problem = "" if tls is None else find_problem(tls)
            if problem:
                raise FatalError(f"the files of [grpc.tls] do not do: {problem}")
            raise FatalError(f"cannot listen on {wanted}: is the port taken?", reason="PORT_TAKEN")
        return port

    async def drain(self) -> int:
        """Stop in order and return how many calls were cut off.

        Health turns NOT_SERVING, streams end with UNAVAILABLE (their clients resume elsewhere),
        calls with one reply have `drain_seconds` to finish, the rest is cancelled and has two
        seconds more.
        """
        await self._health.enter_graceful_shutdown()
        self._calls.start_drain()
        await self._calls.wait_idle(PROBE_SECONDS)
        self._calls.end_probes()
        await self._server.stop(self._settings.drain_seconds)
        stuck = await self._calls.wait_idle(CANCEL_SECONDS)
        if self._keeper is not None:
            self._keeper.cancel()
        return self._calls.cut_count + stuck

    async def __aenter__(self) -> GrpcServer:
        """Start the server."""
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Drain the server."""
        # A cancelled block must still drain, or its calls end without a status.
        await asyncio.shield(self.drain())


def _read_book(settings: ServerSettings) -> PrincipalBook:
    try:
        return PrincipalBook.of_settings(settings)
    except ValueError as error:
        raise FatalError(f"a token file went bad since the settings were read: {error}") from None


def _quotas(settings: ServerSettings) -> Quotas:
    return Quotas(
        calls=settings.principal_calls,
        streams=settings.principal_streams,
        exits=settings.principal_exits,
        total=settings.max_concurrent_calls,
    )


def _bounds(settings: ServerSettings) -> CallBounds:
    return CallBounds(settings.request_seconds, settings.call_seconds, settings.write_seconds)


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", MAX_REPLY_BYTES),
        ("grpc.max_metadata_size", MAX_HEADER_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_HEADER_BYTES),
        ("grpc.max_concurrent_streams", settings.max_concurrent_streams),
        # By default gRPC drops calls at random, exits among them, when a thousand wait to be seen.
        ("grpc.server.max_pending_requests", MAX_PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", MAX_PENDING_CALLS),
        # By default a connection may hang in its handshake for two minutes.
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MILLISECONDS),
        # C-core documents it as min_RECV_ping_interval, yet reads this name; the default is 300 s.
        ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_MILLISECONDS),
        ("grpc.keepalive_permit_without_calls", 1),
        # A caller whose machine is gone holds its calls' places no longer than this.
        ("grpc.keepalive_time_ms", PING_MILLISECONDS),
        ("grpc.keepalive_timeout_ms", PING_TIMEOUT_MILLISECONDS),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.max_connection_idle_ms", round(settings.connection_idle_seconds * 1_000)),
        ("grpc.max_connection_age_ms", round(settings.connection_age_seconds * 1_000)),
        ("grpc.max_connection_age_grace_ms", AGE_GRACE_MILLISECONDS),
        # Two servers on one port would share calls without a word; the second must fail.
        ("grpc.so_reuseport", 0),
    ]
