"""The one server interceptor: token, room, decoding, and the observation around each handler.

One wrapper instead of a chain, because every part needs the same call: the token is checked
before a byte of the request is parsed, and each way a call can end passes through one place.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc

from services.common.auth import OPEN_METHODS, TokenGuard
from services.common.errors import (
    InvalidFieldError,
    OpensqtError,
    RetryableError,
    UnimplementedError,
    UnreachableError,
)
from services.common.observation import CallContext, CallerGoneError, Observation

if TYPE_CHECKING:
    from services.common.clock import Clock
    from services.common.in_flight import Call, CallsInFlight
    from services.common.metrics import ServiceMetrics

UNKNOWN_METHOD = "unknown"
"""Metric label of methods the server lacks: callers choose those names, so they are unbounded."""

_Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]


class _Undecodable:
    """Stands in for a request whose bytes are not the message they should be."""


_UNDECODABLE = _Undecodable()


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each handler of a server; see the module's text."""

    def __init__(
        self,
        guard: TokenGuard,
        metrics: ServiceMetrics,
        calls: CallsInFlight,
        clock: Clock,
        max_concurrent_calls: int | None = None,
    ) -> None:
        self._guard = guard
        self._metrics = metrics
        self._calls = calls
        self._clock = clock
        self._max_calls = max_concurrent_calls

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Return the handler to run: the method's own, wrapped, or one that refuses."""
        method = handler_call_details.method
        handler = await continuation(handler_call_details)
        try:
            self._guard.check(method, handler_call_details.invocation_metadata)
            if handler is None:
                raise UnimplementedError("the server has no such method", reason="METHOD_UNKNOWN")
            self._check_room(method)
        except OpensqtError as error:
            return self._refusal(UNKNOWN_METHOD if handler is None else method, error)
        return self._wrap(method, handler)

    def _check_room(self, method: str) -> None:
        limit = self._max_calls
        if limit is not None and method not in OPEN_METHODS and len(self._calls) >= limit:
            raise RetryableError("too many calls at once", reason="CALL_LIMIT_REACHED")

    def _refusal(self, method: str, error: OpensqtError) -> Any:
        async def refuse(_requests: AsyncIterator[bytes], context: CallContext) -> None:
            async with self._observe(method, context, is_streaming=False):
                raise error

        # Raw bytes both ways: this shape answers unary and streaming callers alike.
        return grpc.stream_stream_rpc_method_handler(refuse)

    def _wrap(self, method: str, handler: Any) -> Any:
        decode = _safe_decoder(handler.request_deserializer)
        encode = _bytes_pass(handler.response_serializer)
        if handler.response_streaming:
            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return make(self._streaming(method, handler), decode, encode)
        reply = self._single(method, handler)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(reply, decode, encode)
        return grpc.unary_unary_rpc_method_handler(reply, decode, encode)

    def _single(self, method: str, handler: Any) -> Any:
        inner = handler.stream_unary if handler.request_streaming else handler.unary_unary
        admit = _checked_each if handler.request_streaming else _checked

        async def call(request: Any, context: CallContext) -> bytes:
            async with self._observe(method, context, is_streaming=False):
                response = await inner(admit(request), context)
                # Encoded here, so that a reply that cannot be encoded is an error like any other.
                encoded: bytes = handler.response_serializer(response)
            return encoded

        return call

    def _streaming(self, method: str, handler: Any) -> Any:
        inner = handler.stream_stream if handler.request_streaming else handler.unary_stream
        admit = _checked_each if handler.request_streaming else _checked

        # A coroutine that writes, not a generator that yields: one left in mid-write would be
        # closed by the garbage collector, when gRPC has freed the call already.
        async def call(request: Any, context: CallContext) -> None:
            async with self._observe(method, context, is_streaming=True) as held:
                self._check_not_draining()
                replies = inner(admit(request), context)
                if not hasattr(replies, "__aiter__"):
                    # The handler sends by context.write, as the health service does.
                    await self._interruptible(held, replies)
                    return
                async with _closing(aiter(replies)) as iterator:
                    while True:
                        self._check_not_draining()
                        try:
                            response = await self._interruptible(held, anext(iterator))
                        except StopAsyncIteration:
                            return
                        await _write(context, handler.response_serializer(response))

        return call

    def _check_not_draining(self) -> None:
        if self._calls.is_draining:
            raise _draining()

    async def _interruptible(self, call: Call, step: Awaitable[Any]) -> Any:
        call.is_waiting = True
        try:
            return await step
        except asyncio.CancelledError:
            if not call.is_interrupted or call.task is None:
                raise
            # The cancel was ours: taken back, so that timeouts inside the abort still work.
            call.task.uncancel()
            raise _draining() from None
        finally:
            call.is_waiting = False

    def _observe(self, method: str, context: CallContext, *, is_streaming: bool) -> Observation:
        return Observation(
            self._metrics, self._calls, self._clock, method, context, is_streaming=is_streaming
        )


@asynccontextmanager
async def _closing(iterator: Any) -> AsyncIterator[Any]:
    try:
        yield iterator
    finally:
        if hasattr(iterator, "aclose"):
            await iterator.aclose()


async def _write(context: CallContext, encoded: bytes) -> None:
    try:
        await context.write(encoded)
    except Exception as error:
        # Writing fails only when the call is over; no status can reach the caller any more.
        raise CallerGoneError from error


def _draining() -> UnreachableError:
    return UnreachableError("the service is stopping; connect again", reason="SERVICE_STOPPING")


def _safe_decoder(decode: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    # grpc.aio answers a failing deserializer with its own INTERNAL, before any handler runs. So
    # it is never let fail: the stand-in travels to the handler's place and is refused there, by
    # name.
    def guarded(raw: bytes) -> Any:
        if decode is None:
            return raw
        try:
            return decode(raw)
        except Exception:
            return _UNDECODABLE

    return guarded


def _bytes_pass(encode: Callable[[Any], bytes] | None) -> Callable[[Any], bytes]:
    def encoded(response: Any) -> bytes:
        if isinstance(response, bytes) or encode is None:
            raw: bytes = response
            return raw
        return encode(response)

    return encoded


def _checked(request: Any) -> Any:
    if request is _UNDECODABLE:
        raise InvalidFieldError("request", "its bytes are not a message of this method's type")
    return request


async def _checked_each(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _checked(request)
