"""gRPC without a wire: a stub whose methods run the connector's servicer in its own process.

Requests and replies are serialised as on the wire. A handler is cancelled when its caller's
deadline passes or its caller is gone, as grpc.aio does; errors leave it as `google.rpc.Status`; a
process that dies breaks the calls into it with UNAVAILABLE.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc

from services.common.errors import FatalError, OpensqtError
from simulation.loop import Process, context_of
from simulation.transport_network import Fate, Network
from simulation.transport_status import (
    BROKEN,
    DOWN,
    LATE,
    SERVICE,
    Ended,
    error_of,
    message_type,
    status_of,
)
from simulation.transport_streams import StreamCall


class SimContext:
    """What the servicer's methods use of grpc.aio's ServicerContext."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, deadline: float | None, told: Sequence[Any]
    ) -> None:
        self._loop = loop
        self._deadline = deadline
        self._told = tuple(told)

    def time_remaining(self) -> float | None:
        """Return the seconds left of the caller's deadline, None where there is none."""
        return None if self._deadline is None else max(self._deadline - self._loop.time(), 0.0)

    def invocation_metadata(self) -> tuple[Any, ...]:
        """Return what the caller told."""
        return self._told

    def peer(self) -> str:
        """Return where the caller is."""
        return "memory:engine"


# Not frozen: it learns of its handler.
@dataclass(slots=True)
class UnaryCall:
    """One call under way, as its caller holds it."""

    network: Network
    link: str
    fate: Fate
    deadline: float | None
    metadata: tuple[Any, ...]
    future: asyncio.Future[Ended]
    context: Context
    handler: asyncio.Task[Any] | None = None

    def end(self, ended: Ended) -> None:
        """Send the end back, in the caller's context: one that has died hears nothing."""
        if self.fate is not Fate.REPLY_LOST:
            told = BROKEN if self.fate is Fate.REPLY_CUT else ended
            self.network.post(self.link, self._set, told, context=self.context)

    def give_up(self) -> None:
        """Tell the other side that nobody waits any more; its handler is cancelled then."""
        self.network.post(self.link, self._cancel, context=context_of(None))

    def _set(self, ended: Ended) -> None:
        if not self.future.done():
            self.future.set_result(ended)

    def _cancel(self) -> None:
        if self.handler is not None:
            self.handler.cancel()


Call = UnaryCall | StreamCall


# Not frozen: a process comes and goes behind it.
@dataclass(slots=True)
class CallDoor:
    """The connector's side of the calls: its servicer while its process lives."""

    network: Network
    process: Process | None = None
    servicer: Any = None
    calls: dict[int, Call] = field(default_factory=dict)
    _count: int = 0

    def open(self, process: Process, servicer: Any) -> None:
        """Serve from now on."""
        self.process, self.servicer = process, servicer
        process.mourners.append(self.close)

    def close(self) -> None:
        """Serve no more: calls under way break."""
        self.process = self.servicer = None
        calls, self.calls = self.calls, {}
        for call in calls.values():
            call.end(BROKEN)

    def take(self, call: UnaryCall, name: str, raw: bytes) -> None:
        """Take a call that has arrived."""
        self._begin(call, partial(self._answer, call, name, raw))

    def take_stream(self, call: StreamCall, name: str, raw: bytes) -> None:
        """Take a call whose reply is a stream."""
        self._begin(call, partial(self._feed, call, name, raw))

    def _begin(self, call: Call, work: Callable[[], Coroutine[Any, Any, Ended]]) -> None:
        process = self.process
        if process is None or process.is_dead:
            call.end(DOWN)
            return
        self._count += 1
        number = self._count
        self.calls[number] = call
        task = self.network.loop.create_task(self._guarded(work), context=context_of(process))
        call.handler = task
        task.add_done_callback(
            lambda done: self._finish(number, call, done), context=context_of(process)
        )

    async def _guarded(self, work: Callable[[], Coroutine[Any, Any, Ended]]) -> Ended:
        try:
            return await work()
        except TimeoutError:
            return LATE
        except OpensqtError as error:
            return status_of(error)
        # As the server's own interceptor: a bug goes out as an internal error.
        except Exception as error:
            told = {"message": "a method broke", "exception": error}
            self.network.loop.call_exception_handler(told)
            return status_of(FatalError("internal error"))

    async def _answer(self, call: UnaryCall, name: str, raw: bytes) -> Ended:
        context = SimContext(self.network.loop, call.deadline, call.metadata)
        request = message_type(name).FromString(raw)
        async with asyncio.timeout_at(call.deadline):
            response = await getattr(self.servicer, name)(request, context)
        return Ended(response.SerializeToString())

    async def _feed(self, call: StreamCall, name: str, raw: bytes) -> Ended:
        context = SimContext(self.network.loop, None, call.metadata)
        # A stream both ways has no one request.
        request = call.incoming or message_type(name).FromString(raw)
        async for message in getattr(self.servicer, name)(request, context):
            call.send(message.SerializeToString())
        return Ended()

    def _finish(self, number: int, call: Call, task: asyncio.Task[Ended]) -> None:
        self.calls.pop(number, None)
        if not task.cancelled():
            call.end(task.result())


class ConnectorStub:
    """Stands for `ExchangeServiceStub`: each method is a call with `timeout` and `metadata`."""

    def __init__(self, link: str, network: Network, door: CallDoor, caller: Process) -> None:
        self._link = link
        self._network = network
        self._door = door
        self._open: dict[int, Call] = {}
        self._count = 0
        caller.mourners.append(self._hang_up)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = SERVICE.methods_by_name.get(name)
        if method is None:
            raise AttributeError(name)
        return partial(self._stream if method.server_streaming else self._unary, name)

    def _stream(
        self, name: str, request: Any, *, timeout: float | None = None, metadata: Any = ()
    ) -> StreamCall:
        del timeout
        call = StreamCall(self._network, self._link, name, tuple(metadata or ()))
        self._note(call)
        if SERVICE.methods_by_name[name].client_streaming:
            call.pump(self._door, request)
        else:
            call.begin(self._door, request.SerializeToString())
        return call

    async def _unary(
        self,
        name: str,
        request: Any,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - gRPC's name
        metadata: Any = (),
    ) -> Any:
        loop = self._network.loop
        deadline = None if timeout is None else loop.time() + timeout
        call = UnaryCall(
            self._network,
            self._link,
            self._network.fate(self._link),
            deadline,
            tuple(metadata or ()),
            loop.create_future(),
            copy_context(),
        )
        self._send(call, name, request.SerializeToString())
        number = self._note(call)
        try:
            async with asyncio.timeout_at(deadline):
                ended = await call.future
        except TimeoutError:
            call.give_up()
            ended = LATE
        except asyncio.CancelledError:
            call.give_up()
            raise
        finally:
            self._open.pop(number, None)
        if ended.code is not grpc.StatusCode.OK:
            raise error_of(ended)
        return message_type(name, is_reply=True).FromString(ended.raw)

    def _note(self, call: Call) -> int:
        self._count += 1
        self._open[self._count] = call
        return self._count

    def _send(self, call: UnaryCall, name: str, raw: bytes) -> None:
        if call.fate is Fate.REQUEST_LOST:
            return
        if call.fate is Fate.REQUEST_CUT:
            call.end(BROKEN)
            return
        self._network.post(self._link, self._door.take, call, name, raw, context=context_of(None))

    def _hang_up(self) -> None:
        # The kernel closes the dead caller's connection; its handlers are cancelled.
        for call in self._open.values():
            call.give_up()
        self._open = {}
