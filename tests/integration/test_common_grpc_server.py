"""The server against real calls: statuses, decoding, health, reflection, limits, drain."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status

from services.common.call_errors import from_call_error, retry_read, translated
from services.common.channels import Deadlines, open_channel
from services.common.errors import (
    AlreadyExistsError,
    AuthError,
    Code,
    FatalError,
    InvalidFieldError,
    NotFoundError,
    OpensqtError,
    OutcomeUnknownError,
    PreconditionError,
    RejectedError,
    RetryableError,
    UnimplementedError,
    UnreachableError,
)
from services.common.metrics import ServiceMetrics
from services.common.server import GrpcServer
from services.common.settings import ServerSettings
from tests.support.echo_service import (
    SERVICE,
    Number,
    echo_server,
    health,
    method,
    raw,
    reflection_stub,
    unary,
)

GARBAGE = b"\xff\xff\xff\xff"
WAIT = 60.0


async def failed(call: Any) -> grpc.aio.AioRpcError:
    """Return the error of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def collect(stream: Any) -> list[Any]:
    """Return all replies of a stream."""
    return [reply async for reply in stream]


def details_of(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """Return the status details of a failed call by message name."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # stub knows only grpc.Call
    assert status is not None
    known = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo)
    found = {}
    for packed in status.details:
        for kind in known:
            message = kind()
            if packed.Unpack(message):
                found[kind.__name__] = message
    return found


ERRORS = [
    (RejectedError("no", metadata={"venueCode": "-2010"}), Code.FAILED_PRECONDITION),
    (InvalidFieldError("orders[2].price", "must be positive"), Code.INVALID_ARGUMENT),
    (NotFoundError("none", reason="ORDER_NOT_FOUND"), Code.NOT_FOUND),
    (PreconditionError("halted", reason="ENGINE_HALTED"), Code.FAILED_PRECONDITION),
    (AlreadyExistsError("used"), Code.ALREADY_EXISTS),
    (
        AuthError("scope", reason="SCOPE_MISSING", code=Code.PERMISSION_DENIED),
        Code.PERMISSION_DENIED,
    ),
    (UnimplementedError("no margin here"), Code.UNIMPLEMENTED),
    (RetryableError("slow down", retry_after=timedelta(seconds=1.5)), Code.RESOURCE_EXHAUSTED),
    (UnreachableError("venue is down"), Code.UNAVAILABLE),
    (OutcomeUnknownError("sent", client_order_id="a1"), Code.UNKNOWN),
    (FatalError("broken"), Code.INTERNAL),
]


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("shape", ["One", "Many"])
async def test_an_error_of_the_tree_arrives_as_itself(
    error: OpensqtError, code: Code, shape: str
) -> None:
    """Class, code, reason and metadata survive the wire, unary and streaming."""
    async with echo_server(failure=error) as (server, _), open_channel(server.address) as channel:
        request = Number(value="1")
        if shape == "One":
            call = unary(channel, "One")(request)
        else:
            call = collect(raw(channel).unary_stream(method("Many"))(request.SerializeToString()))
        raised = await failed(call)
    assert raised.code().name == code.value
    info = details_of(raised)["ErrorInfo"]
    assert info.domain == "opensqt.market_maker.v1"
    back = from_call_error(raised)
    assert type(back) is type(error)
    assert (back.reason, back.code, back.metadata) == (error.reason, error.code, error.metadata)


async def test_a_field_error_carries_the_violation() -> None:
    """BadRequest names the field's path; the rebuilt error has field and problem."""
    error = InvalidFieldError("orders[2].price", "must be positive")
    async with echo_server(failure=error) as (server, _), open_channel(server.address) as channel:
        raised = await failed(unary(channel, "One")(Number(value="1")))
    violation = details_of(raised)["BadRequest"].field_violations[0]
    assert (violation.field, violation.description) == ("orders[2].price", "must be positive")
    back = from_call_error(raised)
    assert isinstance(back, InvalidFieldError)
    assert (back.field, back.problem) == (error.field, error.problem)


async def test_retry_after_survives() -> None:
    """RetryInfo carries the wait and comes back as timedelta."""
    error = RetryableError("slow down", retry_after=timedelta(seconds=1.5))
    async with echo_server(failure=error) as (server, _), open_channel(server.address) as channel:
        back = from_call_error(await failed(unary(channel, "One")(Number(value="1"))))
    assert isinstance(back, RetryableError)
    assert back.retry_after == timedelta(seconds=1.5)


async def test_a_bug_shows_the_caller_a_fixed_text_and_an_id() -> None:
    """INTERNAL without the exception's text, which might hold a secret."""
    failure = ValueError("key=hunter2")
    async with echo_server(failure=failure) as (server, _), open_channel(server.address) as channel:
        raised = await failed(unary(channel, "One")(Number(value="1")))
        wrong = await failed(unary(channel, "Wrong")(Number(value="1")))
    assert (raised.code(), raised.details()) == (grpc.StatusCode.INTERNAL, "internal error")
    assert "hunter2" not in repr(raised)
    assert len(details_of(raised)["ErrorInfo"].metadata["errorId"]) == 32
    assert (wrong.code(), wrong.details()) == (grpc.StatusCode.INTERNAL, "internal error")


async def _send(*messages: bytes) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


@pytest.mark.parametrize("shape", ["One", "Many", "SumUp", "Chat"])
async def test_garbage_bytes_are_an_invalid_argument(shape: str) -> None:
    """Bytes that are no message give INVALID_ARGUMENT in every shape of call."""
    async with echo_server() as (server, _), open_channel(server.address) as channel:
        calls: dict[str, Any] = {
            "One": lambda: raw(channel).unary_unary(method("One"))(GARBAGE),
            "Many": lambda: collect(raw(channel).unary_stream(method("Many"))(GARBAGE)),
            "SumUp": lambda: raw(channel).stream_unary(method("SumUp"))(_send(b"", GARBAGE)),
            "Chat": lambda: collect(
                raw(channel).stream_stream(method("Chat"))(_send(b"", GARBAGE))
            ),
        }
        raised = await failed(calls[shape]())
    assert raised.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(raised)["BadRequest"].field_violations[0].field == "request"


async def test_streams_of_requests_reach_the_handler() -> None:
    """Stream-unary and stream-stream calls work through the interceptors of both sides."""
    async with echo_server() as (server, _), open_channel(server.address) as channel:
        one = Number(value="1").SerializeToString()
        total = await raw(channel).stream_unary(method("SumUp"))(_send(one, one, one))
        echoed = await collect(raw(channel).stream_stream(method("Chat"))(_send(one, one)))
    assert Number.FromString(total).value == "3"
    assert echoed == [one, one]


async def test_an_unknown_method_is_unimplemented_with_a_reason() -> None:
    """UNIMPLEMENTED carries our ErrorInfo too, for unary and streaming callers."""
    async with echo_server() as (server, _), open_channel(server.address) as channel:
        raised = await failed(raw(channel).unary_unary("/no.Such/Method")(b""))
        streamed = await failed(collect(raw(channel).unary_stream("/no.Such/Method")(b"")))
    assert details_of(raised)["ErrorInfo"].reason == "METHOD_UNKNOWN"
    assert streamed.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_request_over_the_limit_is_refused() -> None:
    """The receive limit of the settings holds: RESOURCE_EXHAUSTED, and the next call works."""
    settings = ServerSettings(max_message_bytes=2_000)
    async with echo_server(settings) as (server, _), open_channel(server.address) as channel:
        raised = await failed(raw(channel).unary_unary(method("One"))(b"\n\xd0\x0f" + b"1" * 2_000))
        assert await unary(channel, "One")(Number(value="1")) == Number(value="1")
    assert raised.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_calls_over_the_cap_are_refused_and_health_is_not() -> None:
    """With one call at work and a cap of one, the second gets RESOURCE_EXHAUSTED."""
    settings = ServerSettings(max_concurrent_calls=1, drain_seconds=1)
    async with echo_server(settings) as (server, echo), open_channel(server.address) as channel:
        first = unary(channel, "Slow")(Number(value="1"))
        async with asyncio.timeout(WAIT):
            await echo.arrived.wait()
        back = from_call_error(await failed(unary(channel, "One")(Number(value="1"))))
        reply = await health(channel).Check(health_pb2.HealthCheckRequest())
        echo.gate.set()
        await first
    assert (type(back), back.reason) == (RetryableError, "CALL_LIMIT_REACHED")
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_deadline_passes_to_the_handler_and_back() -> None:
    """The channel's default deadline ends the call, and the server cancels the handler."""
    deadlines = Deadlines(timedelta(seconds=30), {method("Slow"): timedelta(milliseconds=200)})
    async with (
        echo_server() as (server, echo),
        open_channel(server.address, deadlines=deadlines) as channel,
    ):
        raised = await failed(unary(channel, "Slow")(Number(value="1")))
        async with asyncio.timeout(WAIT):
            await echo.cancelled.wait()
    assert raised.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    read, write = from_call_error(raised), from_call_error(raised, client_order_id="a1")
    assert (type(read), read.code) == (RetryableError, Code.DEADLINE_EXCEEDED)
    assert isinstance(write, OutcomeUnknownError)
    assert write.client_order_id == "a1"


async def test_health_follows_each_service() -> None:
    """A service registered as not serving turns SERVING when told; an unknown name is NOT_FOUND."""
    server = GrpcServer(ServerSettings(), metrics=ServiceMetrics("echo"))
    server.add(lambda _servicer, _server: None, None, SERVICE, serving=False)
    async with server, open_channel(server.address) as channel:
        check = health(channel).Check
        before = await check(health_pb2.HealthCheckRequest(service=SERVICE))
        await server.set_serving(SERVICE, serving=True)
        after = await check(health_pb2.HealthCheckRequest(service=SERVICE))
        unknown = await failed(check(health_pb2.HealthCheckRequest(service="no.Such")))
    assert before.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert after.status == health_pb2.HealthCheckResponse.SERVING
    assert unknown.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_services_and_gives_descriptors() -> None:
    """A stranger with reflection alone finds the services and the file of a known symbol."""
    request: Any = reflection_pb2.ServerReflectionRequest
    async with echo_server() as (server, _), open_channel(server.address) as channel:
        stub = reflection_stub(channel)

        async def ask() -> AsyncIterator[Any]:
            yield request(list_services="")
            yield request(file_containing_symbol="grpc.health.v1.Health")

        listed, described = await collect(stub.ServerReflectionInfo(ask()))
    names = {service.name for service in listed.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names
    encoded = described.file_descriptor_response.file_descriptor_proto[0]
    assert descriptor_pb2.FileDescriptorProto.FromString(encoded).package == "grpc.health.v1"


async def test_drain_lets_a_call_finish_and_ends_streams() -> None:
    """Health turns NOT_SERVING, streams end with UNAVAILABLE, a call in flight is answered."""
    seen: asyncio.Queue[int] = asyncio.Queue()
    async with (
        echo_server(ServerSettings(drain_seconds=8)) as (server, echo),
        open_channel(server.address) as channel,
    ):

        async def watch() -> None:
            with contextlib.suppress(grpc.aio.AioRpcError):
                async for reply in health(channel).Watch(health_pb2.HealthCheckRequest()):
                    await seen.put(reply.status)

        stream = raw(channel).unary_stream(method("Many"))(Number(value="1").SerializeToString())
        await stream.read()
        slow = unary(channel, "Slow")(Number(value="1"))
        async with asyncio.timeout(WAIT), asyncio.TaskGroup() as group:
            group.create_task(watch())
            await echo.arrived.wait()
            assert await seen.get() == health_pb2.HealthCheckResponse.SERVING
            draining = group.create_task(server.drain())
            ended = await failed(collect(stream))
            # Only once new calls are refused has the server begun to stop.
            with contextlib.suppress(grpc.aio.AioRpcError):
                while True:
                    await unary(channel, "One")(Number(value="1"))
            assert not draining.done()
            echo.gate.set()
            assert await slow == Number(value="1")
        assert draining.result() == 0
    assert seen.get_nowait() == health_pb2.HealthCheckResponse.NOT_SERVING
    assert seen.empty()
    assert (ended.code(), from_call_error(ended).reason) == (
        grpc.StatusCode.UNAVAILABLE,
        "SERVICE_STOPPING",
    )
    assert echo.cancelled.is_set()


async def test_drain_is_bounded_and_counts_what_it_cut() -> None:
    """A call that outlives the grace is cancelled.

    Its writer learns that the outcome is unknown.
    """
    settings = ServerSettings(drain_seconds=0.2)
    async with echo_server(settings) as (server, echo), open_channel(server.address) as channel:
        slow = unary(channel, "Slow")(Number(value="1"))
        async with asyncio.timeout(WAIT):
            await echo.arrived.wait()
            cut = await server.drain()
            raised = await failed(slow)
    assert cut == 1
    assert echo.cancelled.is_set()
    assert isinstance(from_call_error(raised, client_order_id="a1"), OutcomeUnknownError)


async def test_a_taken_port_is_a_clear_error() -> None:
    """The second server on a port does not share it in silence."""
    async with echo_server() as (server, _):
        port = int(server.address.rpartition(":")[2])
        second = GrpcServer(ServerSettings(port=port), metrics=ServiceMetrics("echo"))
        with pytest.raises(FatalError, match="is the port taken"):
            await second.start()


async def test_calls_are_counted_by_method_and_code() -> None:
    """Requests, latency and in-flight figures add up; unknown methods share one label."""
    metrics = ServiceMetrics("echo")
    async with (
        echo_server(metrics=metrics) as (server, _),
        open_channel(server.address) as channel,
    ):
        await unary(channel, "One")(Number(value="1"))
        await failed(unary(channel, "One")(Number(value="NaN")))
        await failed(raw(channel).unary_unary("/no.Such/Method")(b""))
    value = metrics.registry.get_sample_value
    total = "opensqt_echo_grpc_requests_total"
    assert value(total, {"method": method("One"), "code": "OK"}) == 1
    assert value(total, {"method": method("One"), "code": "INVALID_ARGUMENT"}) == 1
    assert value(total, {"method": "unknown", "code": "UNIMPLEMENTED"}) == 1
    seconds = "opensqt_echo_grpc_request_duration_seconds_count"
    assert value(seconds, {"method": method("One")}) == 2
    assert value("opensqt_echo_grpc_requests_in_flight", {"method": method("One")}) == 0


async def test_a_lost_service_is_unreachable_for_reads_and_unknown_for_writes() -> None:
    """Nobody listening: a read is retried, then UnreachableError; a write is an unknown outcome."""
    async with echo_server() as (server, _):
        address = server.address
    async with open_channel(address) as channel:
        attempts = 0

        def read() -> Any:
            nonlocal attempts
            attempts += 1
            return unary(channel, "One")(Number(value="1"))

        with pytest.raises(UnreachableError) as caught:
            await retry_read(read, attempts=2)
        assert (attempts, caught.value.reason) == (2, "SERVICE_UNREACHABLE")
        with pytest.raises(OutcomeUnknownError), translated(client_order_id="a1"):
            await unary(channel, "One")(Number(value="1"))


async def test_only_unavailable_is_retried() -> None:
    """A refusal is final: the second attempt would only repeat it."""
    attempts = 0
    failure = PreconditionError("halted")
    async with echo_server(failure=failure) as (server, _), open_channel(server.address) as channel:

        def read() -> Any:
            nonlocal attempts
            attempts += 1
            return unary(channel, "One")(Number(value="1"))

        with pytest.raises(PreconditionError):
            await retry_read(read)
    assert attempts == 1


async def test_a_caller_who_leaves_cancels_its_handlers() -> None:
    """Unary and streaming handlers end when their caller does, and nothing stays counted."""
    metrics = ServiceMetrics("echo")
    async with (
        echo_server(metrics=metrics) as (server, echo),
        open_channel(server.address) as channel,
    ):
        starts: list[Callable[[], Any]] = [
            lambda: unary(channel, "Slow")(Number(value="1")),
            lambda: raw(channel).unary_stream(method("Many"))(b""),
        ]
        for start in starts:
            call = start()
            async with asyncio.timeout(WAIT):
                await echo.arrived.wait()
                call.cancel()
                await echo.cancelled.wait()
            echo.arrived.clear()
            echo.cancelled.clear()
    value = metrics.registry.get_sample_value
    for name in ("Slow", "Many"):
        labels = {"method": method(name)}
        assert value("opensqt_echo_grpc_requests_in_flight", labels) == 0
        assert value("opensqt_echo_grpc_requests_total", {**labels, "code": "CANCELLED"}) == 1


async def test_a_stream_left_in_mid_write_is_closed_at_once() -> None:
    """A caller who does not read and then leaves: the handler's cleanup runs, the count is zero."""
    metrics = ServiceMetrics("echo")
    request = Number(value="1" * 100).SerializeToString()
    async with echo_server(metrics=metrics) as (server, echo):
        for _ in range(5):
            async with open_channel(server.address) as channel, asyncio.timeout(WAIT):
                stream = raw(channel).unary_stream(method("Flood"))(request)
                await stream.read()
                # Long enough for the window of the transport to fill, so that the write waits.
                await asyncio.sleep(0.1)
                stream.cancel()
                await echo.cancelled.wait()
                echo.cancelled.clear()
        gc.collect()
    value = metrics.registry.get_sample_value
    labels = {"method": method("Flood")}
    assert value("opensqt_echo_grpc_requests_in_flight", labels) == 0
    assert value("opensqt_echo_grpc_requests_total", {**labels, "code": "CANCELLED"}) == 5


async def test_headers_and_compressed_bodies_have_limits() -> None:
    """Headers over 8 KiB and a small body that inflates over the limit are RESOURCE_EXHAUSTED."""
    async with echo_server() as (server, _), open_channel(server.address) as channel:
        large = (("x-large", "a" * 20_000),)
        headers = await failed(unary(channel, "One")(Number(value="1"), metadata=large))
        bomb = Number(value="1" * 3_000_000)
        body = await failed(unary(channel, "One")(bomb, compression=grpc.Compression.Gzip))
        assert await unary(channel, "One")(Number(value="1")) == Number(value="1")
    assert headers.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert body.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
