"""Room on a real server: hanging calls, unsent requests, slow readers, calls without an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.common.call_errors import from_call_error
from services.common.channels import open_channel
from services.common.scopes import Role
from services.common.settings import PrincipalSettings, ServerSettings
from tests.support.echo_service import Number, echo_server, method, raw, unary

WAIT = 60.0
ONE, OTHER = "the-one-token-0123456789", "the-other-token-0123456789"
NUMBER = Number(value="1")


def settings(tmp_path: Path, **changes: Any) -> ServerSettings:
    """Return two operators with little room: four calls, two streams, two exits."""
    principals = []
    for name, token in (("one", ONE), ("other", OTHER)):
        path = tmp_path / name
        path.write_text(token + "\n")
        principals.append(PrincipalSettings(name=name, roles=(Role.OPERATOR,), token_file=path))
    values: dict[str, Any] = {
        "principals": tuple(principals),
        "principal_calls": 4,
        "principal_streams": 2,
        "principal_exits": 2,
        "drain_seconds": 0.2,
    }
    return ServerSettings(**{**values, **changes})


def who(token: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a caller."""
    return (("x-api-key", token),)


async def reason_of(call: Any) -> str:
    """Return the reason a call was refused for."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_call_error(caught.value).reason


async def never() -> AsyncIterator[bytes]:
    """Return requests that never come."""
    await asyncio.Event().wait()
    yield b""


async def test_hanging_calls_leave_exits_and_others_their_room(tmp_path: Path) -> None:
    """Of forty only the quota's four hang; its own exits and the other principal are served."""
    async with (
        echo_server(settings(tmp_path)) as (server, echo),
        open_channel(server.address) as channel,
    ):
        slow, leave = unary(channel, "Slow"), unary(channel, "SlowExit")
        hanging = [slow(NUMBER, metadata=who(ONE)) for _ in range(40)]
        async with asyncio.timeout(WAIT):
            await echo.arrived.wait()
            # All have been heard once a later call on the same connection is.
        assert await reason_of(unary(channel, "One")(NUMBER, metadata=who(ONE))) == (
            "CALL_LIMIT_REACHED"
        )
        assert await unary(channel, "One")(NUMBER, metadata=who(OTHER)) == NUMBER
        leaving = [leave(NUMBER, metadata=who(ONE)) for _ in range(2)]
        assert await unary(channel, "One")(NUMBER, metadata=who(OTHER)) == NUMBER
        assert await reason_of(leave(NUMBER, metadata=who(ONE))) == "CALL_LIMIT_REACHED"
        echo.gate.set()
        ended = await asyncio.gather(*hanging, *leaving, return_exceptions=True)
        assert ended.count(NUMBER) == 4 + 2
        assert await unary(channel, "One")(NUMBER, metadata=who(ONE)) == NUMBER


async def test_calls_that_never_send_their_request_keep_out_nobody(tmp_path: Path) -> None:
    """The oldest of them go for a newcomer, who is served; the rest end when their time is up."""
    chosen = settings(tmp_path, request_seconds=1.0)
    async with echo_server(chosen) as (server, _), open_channel(server.address) as channel:
        begun = raw(channel).stream_unary(method("One"))
        owing = [begun(never(), metadata=who(ONE)) for _ in range(30)]
        for _ in range(5):
            assert await unary(channel, "One")(NUMBER, metadata=who(ONE)) == NUMBER
        reasons = [await reason_of(call) for call in owing]
    assert set(reasons) == {"CALL_LIMIT_REACHED", "REQUEST_MISSING"}
    assert reasons.count("REQUEST_MISSING") <= 4


async def test_a_call_without_a_deadline_ends_by_the_servers_own(tmp_path: Path) -> None:
    """DEADLINE_EXCEEDED with a reason, the handler is cancelled; a far deadline changes nothing."""
    chosen = settings(tmp_path, call_seconds=0.2)
    async with echo_server(chosen) as (server, echo), open_channel(server.address) as channel:
        for timeout in (None, 3_600):
            call = raw(channel).unary_unary(method("Slow"))(b"", metadata=who(ONE), timeout=timeout)
            assert await reason_of(call) == "CALL_TOO_LONG"
            assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            async with asyncio.timeout(WAIT):
                await echo.cancelled.wait()
            echo.cancelled.clear()


async def test_a_stream_nobody_reads_is_ended(tmp_path: Path) -> None:
    """Its handler is cleaned up at once; who reads on is told why; the place is free again."""
    chosen = settings(tmp_path, principal_streams=1, write_seconds=0.2)
    async with (
        echo_server(chosen) as (server, echo),
        open_channel(server.address) as channel,
    ):
        flood = raw(channel).unary_stream(method("Flood"))
        request = Number(value="1" * 100).SerializeToString()
        for reads_on in (True, False):
            stream = flood(request, metadata=who(ONE))
            assert await stream.read()
            async with asyncio.timeout(WAIT):
                await echo.cancelled.wait()
                echo.cancelled.clear()
                if reads_on:
                    assert await reason_of(drained(stream)) == "SUBSCRIBER_TOO_SLOW"
                else:
                    assert await reason_of(drained(flood(request, metadata=who(ONE)))) == (
                        "CALL_LIMIT_REACHED"
                    )
                    stream.cancel()
                    await until_served(channel)


async def drained(stream: Any) -> None:
    """Read a stream to its end."""
    async for _reply in stream:
        pass


async def until_served(channel: grpc.aio.Channel) -> None:
    """Open streams until one is let in, and leave it."""
    while True:
        stream = raw(channel).unary_stream(method("Many"))(b"", metadata=who(ONE))
        try:
            await stream.read()
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.02)
            continue
        stream.cancel()
        return


async def test_streams_have_a_bound_of_their_own(tmp_path: Path) -> None:
    """Two stand, the third is refused, calls go on."""
    async with (
        echo_server(settings(tmp_path)) as (server, _),
        open_channel(server.address) as channel,
    ):
        many = raw(channel).unary_stream(method("Many"))
        streams = [many(NUMBER.SerializeToString(), metadata=who(ONE)) for _ in range(2)]
        for stream in streams:
            assert await stream.read()
        third = many(NUMBER.SerializeToString(), metadata=who(ONE))
        assert await reason_of(third.read()) == "CALL_LIMIT_REACHED"
        assert await unary(channel, "One")(NUMBER, metadata=who(ONE)) == NUMBER
