"""The one server interceptor: caller, room, decoding, and the observation around each handler.

One wrapper instead of a chain, because every part needs the same call: who calls is settled before
a byte of the request is read, and each way a call can end passes through one place. Every method is
registered in a shape that reads its requests itself; gRPC's own shapes for one request would wait
for it before any of this runs, and a call that never sends it would stand outside every bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from services.common.admission import ENTRY_ROOM, EntryRoom
from services.common.call_limit import CallLimit
from services.common.errors import (
    InvalidFieldError,
    RetryableError,
    UnimplementedError,
    UnreachableError,
)
from services.common.observation import CallContext, CallWatch, Observation
from services.common.principals import CALLER
from services.common.reply_writer import ReplyWriter
from services.common.scopes import Lane, MethodRule, lane_of_request
from services.common.write_turns import WriteTurns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.common.admission import Admission, Ticket
    from services.common.auth import CallGuard
    from services.common.in_flight import Call

UNKNOWN_METHOD = "unknown"
"""Metric label of methods the server lacks: callers choose those names, so they are unbounded."""

MAX_PLAIN_REQUEST_BYTES = 16_384
"""Largest request without a list in it; with every text at its limit one has under 8 KiB."""

_CERTIFICATE_NAMES = ("x509_subject_alternative_name", "peer_uri")
"""Properties of gRPC's auth context: DNS names and addresses; URIs, as a SPIFFE id."""

_Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class CallBounds:
    """Seconds: to send the request, to answer a call with one reply, to read a stream's reply."""

    request_seconds: float
    call_seconds: float
    write_seconds: float


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each handler of a server; see the module's text."""

    def __init__(
        self, guard: CallGuard, admission: Admission, bounds: CallBounds, watch: CallWatch
    ) -> None:
        self._guard = guard
        self._admission = admission
        self._bounds = bounds
        self._watch = watch
        self._wrapped: dict[str, Any] = {}
        self._turns = WriteTurns()

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Return the handler to run: the method's own, wrapped, or one that refuses."""
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                # Not kept: callers choose these names.
                return self._unknown()
            wrapped = self._wrapped[method] = self._wrap(method, handler)
        return wrapped

    def _unknown(self) -> Any:
        async def refuse(_requests: AsyncIterator[bytes], context: CallContext) -> None:
            async with self._observe(UNKNOWN_METHOD, context, is_streaming=False):
                self._guard.identify(None, _metadata(context), self._names(context))
                raise UnimplementedError("the server has no such method", reason="METHOD_UNKNOWN")

        # Raw bytes both ways: this shape answers unary and streaming callers alike.
        return grpc.stream_stream_rpc_method_handler(refuse)

    def _wrap(self, method: str, handler: Any) -> Any:
        rule = self._guard.rule(method)
        if handler.response_streaming:
            # The serializer is for handlers that send by context.write; the others' are bytes here.
            return grpc.stream_stream_rpc_method_handler(
                self._streaming(method, rule, handler), None, _encoder(handler)
            )
        return grpc.stream_unary_rpc_method_handler(self._single(method, rule, handler))

    def _single(self, method: str, rule: MethodRule | None, handler: Any) -> Any:
        inner = handler.stream_unary if handler.request_streaming else handler.unary_unary
        encode = _encoder(handler)

        async def call(requests: AsyncIterator[bytes], context: CallContext) -> bytes:
            async with self._observe(method, context, is_streaming=False) as held:
                known = self._let_in(rule, context, held)
                with self._ticket(held) as ticket:
                    async with CallLimit(self._bounds.request_seconds) as limit:
                        request = await _request(known, handler, requests, context)
                        self._admit(known, request, ticket, held)
                        limit.answer_within(self._bounds.call_seconds)
                        response = await inner(request, context)
                # Encoded here, so that a reply that cannot be encoded is an error like any other.
                return encode(response)
            # A refused call: its status is set, and no message is sent.
            return b""

        return call

    def _streaming(self, method: str, rule: MethodRule | None, handler: Any) -> Any:
        inner = handler.stream_stream if handler.request_streaming else handler.unary_stream
        encode = _encoder(handler)

        # A coroutine that writes, not a generator that yields: one left in mid-write would be
        # closed by the garbage collector, when gRPC has freed the call already.
        async def call(requests: AsyncIterator[bytes], context: CallContext) -> None:
            async with self._observe(method, context, is_streaming=True) as held:
                known = self._let_in(rule, context, held)
                self._check_not_draining()
                with self._ticket(held) as ticket:
                    async with CallLimit(self._bounds.request_seconds):
                        request = await _request(known, handler, requests, context)
                    self._admit(known, request, ticket, held)
                    if known.lane is Lane.BY_REQUEST:
                        ENTRY_ROOM.set(EntryRoom(self._admission, held.principal))
                    replies = inner(request, context)
                    if not hasattr(replies, "__aiter__"):
                        # The handler sends by context.write, as the health service does.
                        await self._interruptible(held, replies)
                        return
                    # Answers to orders go at once; what many follow takes turns.
                    turns = self._turns if known.lane is Lane.COMMON else None
                    await self._send_all(held, context, aiter(replies), encode, turns)

        return call

    async def _send_all(
        self,
        held: Call,
        context: CallContext,
        replies: Any,
        encode: Callable[[Any], bytes],
        turns: WriteTurns | None,
    ) -> None:
        async with ReplyWriter(context, replies, self._bounds.write_seconds) as writer:
            while True:
                self._check_not_draining()
                try:
                    response = await self._interruptible(held, anext(replies))
                except StopAsyncIteration:
                    return
                if turns is not None:
                    await turns.wait()
                await writer.write(encode(response))

    def _let_in(self, rule: MethodRule | None, context: CallContext, held: Call) -> MethodRule:
        principal = self._guard.identify(rule, _metadata(context), self._names(context))
        held.principal = principal
        CALLER.set(principal.name)
        return self._guard.authorize(principal, rule)

    def _names(self, context: CallContext) -> list[str]:
        if not self._guard.reads_certificates:
            return []
        shown = context.auth_context()
        return [
            name.decode("utf-8", "replace")
            for kind in _CERTIFICATE_NAMES
            for name in shown.get(kind, ())
        ]

    @contextmanager
    def _ticket(self, held: Call) -> Iterator[Ticket]:
        task = held.task
        ticket = self._admission.arrive(held.principal, lambda: task and task.cancel())
        try:
            yield ticket
        except asyncio.CancelledError:
            if not ticket.is_displaced or task is None:
                raise
            # The cancel was ours: taken back, so that timeouts inside the abort still work.
            task.uncancel()
            raise RetryableError(
                "too many calls that owe their request", reason="CALL_LIMIT_REACHED"
            ) from None
        finally:
            self._admission.leave(ticket)

    def _admit(self, rule: MethodRule, request: Any, ticket: Ticket, held: Call) -> None:
        # A stream of orders says its lane with each: the reserve is open to the stream itself.
        lane = rule.lane if hasattr(request, "__aiter__") else lane_of_request(rule, request)
        self._admission.admit(ticket, lane, is_stream=held.is_streaming)
        held.is_admitted = True

    def _check_not_draining(self) -> None:
        if self._watch.calls.is_draining:
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
        return Observation(self._watch, method, context, is_streaming=is_streaming)


def _draining() -> UnreachableError:
    return UnreachableError("the service is stopping; connect again", reason="SERVICE_STOPPING")


def _metadata(context: CallContext) -> Any:
    return context.invocation_metadata() or ()


async def _request(
    rule: MethodRule, handler: Any, requests: AsyncIterator[bytes], context: CallContext
) -> Any:
    decode = handler.request_deserializer
    if handler.request_streaming:
        return _decoded_each(rule, decode, requests)
    # Not by the iterator: left after its first message, it would cost a task to close it.
    raw: Any = await context.read()
    if raw is grpc.aio.EOF:
        raise InvalidFieldError("request", "none was sent")
    return _decoded(rule, decode, raw)


def _decoded(rule: MethodRule, decode: Callable[[bytes], Any] | None, raw: bytes) -> Any:
    if len(raw) > MAX_PLAIN_REQUEST_BYTES and not rule.has_list:
        raise InvalidFieldError(
            "request", f"longer than {MAX_PLAIN_REQUEST_BYTES} bytes", reason="REQUEST_TOO_LONG"
        )
    if decode is None:
        return raw
    # grpc.aio would answer a failing deserializer of its own with INTERNAL, before any handler.
    try:
        return decode(raw)
    except Exception:
        raise InvalidFieldError(
            "request", "its bytes are not a message of this method's type"
        ) from None


async def _decoded_each(
    rule: MethodRule, decode: Callable[[bytes], Any] | None, requests: AsyncIterator[bytes]
) -> AsyncIterator[Any]:
    async for raw in requests:
        yield _decoded(rule, decode, raw)


def _encoder(handler: Any) -> Callable[[Any], bytes]:
    encode = handler.response_serializer

    def encoded(response: Any) -> bytes:
        if isinstance(response, bytes) or encode is None:
            raw: bytes = response
            return raw
        reply: bytes = encode(response)
        return reply

    return encoded
