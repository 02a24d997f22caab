"""Channels to other services: found dead and back in seconds, every call with a deadline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import grpc

from services.common.secrets_files import read_secret
from services.common.tls import channel_credentials
from services.common.trace_context import TRACEPARENT
from services.common.tracing import present_traceparent

if TYPE_CHECKING:
    from pydantic import SecretStr

    from services.common.settings import ClientTlsSettings, VenueSettings

# What servers may send: a smaller bound here would refuse their longest replies.
MAX_REPLY_BYTES: Final = 4 * 1024 * 1024
CHANNEL_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.ping_timeout_ms", 2_000),
    # The default stops pinging an idle channel after two pings; its death would go unseen.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Despite its name the least time that one attempt gets, with TLS and all: with less, a busy
    # machine or a long way fails the call that opens the connection.
    ("grpc.min_reconnect_backoff_ms", 3_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # gRPC would send a call again by itself; an order must never be.
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
    ("grpc.max_send_message_length", MAX_REPLY_BYTES),
)
"""A dead peer is noticed within 7 s and a healed one used within 2 s."""

_Interceptors = list[grpc.aio.ClientInterceptor]


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a call with one reply may take when its caller does not say.

    `methods` maps full method names (`/package.Service/Method`) to their own. Streams of replies
    get none: they live until their reader or the service ends them.
    """

    default: timedelta = timedelta(seconds=10)
    methods: Mapping[str, timedelta] = field(default_factory=dict)

    def seconds(self, method: str) -> float:
        """Return the deadline of a method, in seconds."""
        return self.methods.get(method, self.default).total_seconds()


def open_channel(
    target: VenueSettings | str,
    *,
    token: SecretStr | None = None,
    tls: ClientTlsSettings | None = None,
    deadlines: Deadlines | None = None,
) -> grpc.aio.Channel:
    """Return a channel to a configured venue or to an address `host:port`; close it after use.

    A venue brings its own token, TLS and deadline; for an address they are the arguments.
    Raises ValueError when the venue's token file cannot be read any more.
    """
    if isinstance(target, str):
        address = target
    else:
        address, tls = target.address, target.tls
        token = None if target.token_file is None else read_secret(target.token_file)
        deadlines = deadlines or Deadlines(target.call_timeout)
    interceptors = _interceptors(token, deadlines or Deadlines())
    options: list[tuple[str, Any]] = list(CHANNEL_OPTIONS)
    if tls is None:
        return grpc.aio.insecure_channel(address, options=options, interceptors=interceptors)
    if tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return grpc.aio.secure_channel(
        address, channel_credentials(tls), options=options, interceptors=interceptors
    )


def _interceptors(token: SecretStr | None, deadlines: Deadlines) -> _Interceptors:
    return [
        _UnaryUnary(token, deadlines),
        _StreamUnary(token, deadlines),
        _UnaryStream(token, None),
        _StreamStream(token, None),
    ]


class _Outgoing:
    """Adds token, deadline and the present trace to the details of a call."""

    def __init__(self, token: SecretStr | None, deadlines: Deadlines | None) -> None:
        self._token = token
        self._deadlines = deadlines

    def _complete(self, details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        # A second credential beside the caller's own would be refused, if one of them is wrong.
        if self._token is not None and metadata.get("authorization") is None:
            metadata.add("authorization", f"Bearer {self._token.get_secret_value()}")
        if traceparent := present_traceparent():
            metadata.add(TRACEPARENT, traceparent)
        timeout = details.timeout
        # A call without deadline could wait for a stopped process for ever.
        if timeout is None and self._deadlines is not None:
            timeout = self._deadlines.seconds(_text(details.method))
        return grpc.aio.ClientCallDetails(
            method=details.method,
            timeout=timeout,
            metadata=metadata,
            credentials=details.credentials,
            wait_for_ready=details.wait_for_ready,
        )


def _text(method: object) -> str:
    # The stubs say text; the runtime hands over bytes.
    return method.decode() if isinstance(method, bytes) else str(method)


_Continue = Callable[[grpc.aio.ClientCallDetails, Any], Awaitable[Any]]


# Four classes: grpc.aio files each interceptor under the first kind it fits, and only there.
class _UnaryUnary(_Outgoing, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: _Continue, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(self._complete(client_call_details), request)


class _UnaryStream(_Outgoing, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: _Continue, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        return await continuation(self._complete(client_call_details), request)


class _StreamUnary(_Outgoing, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self,
        continuation: _Continue,
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: Any,
    ) -> Any:
        return await continuation(self._complete(client_call_details), request_iterator)


class _StreamStream(_Outgoing, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(
        self,
        continuation: _Continue,
        client_call_details: grpc.aio.ClientCallDetails,
        request_iterator: Any,
    ) -> Any:
        return await continuation(self._complete(client_call_details), request_iterator)
