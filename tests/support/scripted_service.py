"""Servicers whose every answer a test writes, and ways to break the wire to them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from services.common.metrics import ServiceMetrics
from services.common.server import GrpcServer
from services.common.settings import ServerSettings


class ScriptedService:
    """Answers calls with one reply from `answers`; mutable, the test scripts it.

    An answer is a message, an error to raise, or an async function of request and context; a list
    holds the answers of calls in turn. `requests` keeps what came, by method.
    """

    def __init__(self, service: ServiceDescriptor) -> None:
        self.service = service
        self.answers: dict[str, Any] = {}
        self.requests: dict[str, list[Any]] = defaultdict(list)
        self.arrived = asyncio.Event()

    async def answer(self, method: str, request: Any, context: Any) -> Any:
        """Note the request and give the next answer."""
        self.requests[method].append(request)
        self.arrived.set()
        answer = self.answers[method]
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return await answer(request, context) if callable(answer) else answer

    def _handler(self, method: str) -> Any:
        async def handle(request: Any, context: Any) -> Any:
            return await self.answer(method, request, context)

        return handle

    def add_to_server(self, _servicer: object, server: grpc.aio.Server) -> None:
        """Register every method with one reply, as a generated function would."""
        handlers = {
            method.name: grpc.unary_unary_rpc_method_handler(
                self._handler(method.name),
                request_deserializer=GetMessageClass(method.input_type).FromString,
                response_serializer=_serialized,
            )
            for method in self.service.methods
            if not method.server_streaming
        }
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(self.service.full_name, handlers),)
        )


def _serialized(answer: Any) -> bytes:
    # Bytes go out as they are, so that a test can send what is no message.
    return answer if isinstance(answer, bytes) else answer.SerializeToString()


@asynccontextmanager
async def served(script: ScriptedService) -> AsyncIterator[str]:
    """Serve a script on the project's own server; yields the address."""
    server = GrpcServer(ServerSettings(drain_seconds=0), metrics=ServiceMetrics("scripted"))
    server.add(script.add_to_server, script, script.service.full_name)
    async with server:
        yield server.address


@asynccontextmanager
async def served_by_stranger(script: ScriptedService) -> AsyncIterator[str]:
    """Serve a script on a bare gRPC server, as a proxy that knows nothing of our errors."""
    server = grpc.aio.server()
    script.add_to_server(script, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


class Relay:
    """A wire that can be cut: passes bytes on between a caller and a server; mutable."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self.address = ""

    async def __aenter__(self) -> Relay:
        """Start to listen."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Cut everything and stop to listen."""
        if self._server is not None:
            self._server.close()
        self.cut()

    def cut(self) -> None:
        """Reset every connection now; new ones are taken again."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._target.rpartition(":")
        their_reader, their_writer = await asyncio.open_connection(host, int(port))
        self._writers += [writer, their_writer]
        async with asyncio.TaskGroup() as group:
            group.create_task(_pass_on(reader, their_writer))
            group.create_task(_pass_on(their_reader, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
