"""gRPC without a wire: a stub whose methods run the connector's servicer in its own process.

Requests and replies are serialised as on the wire. A handler is cancelled when its caller's
deadline passes or its caller is gone, as grpc.aio does; errors leave it as `google.rpc.Status`; a
process that dies breaks the calls into it with UNAVAILABLE.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Final

import grpc
from google.protobuf import message_factory

from opensqt.market_maker.v1 import exchange_pb2
from services.common.errors import FatalError, OpensqtError, UnimplementedError
from services.common.status_details import to_grpc_status
from simulation.loop import Process, context_of
from simulation.transport_network import Fate, Network

_SERVICE: Final = exchange_pb2.DESCRIPTOR.services_by_name["ExchangeService"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended: bytes of a reply, or a status with its metadata."""

    raw: bytes = b""
    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""
    metadata: tuple[tuple[str, Any], ...] = ()


_DOWN: Final = Ended(code=grpc.StatusCode.UNAVAILABLE, details="failed to connect to the service")
_BROKEN: Final = Ended(code=grpc.StatusCode.UNAVAILABLE, details="Socket closed")
_LATE: Final = Ended(code=grpc.StatusCode.DEADLINE_EXCEEDED, details="Deadline Exceeded")


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


# Not frozen: a process comes and goes behind it.
@dataclass(slots=True)
class CallDoor:
    """The connector's side of the calls: its servicer while its process lives."""

    network: Network
    process: Process | None = None
    servicer: Any = None
    calls: dict[int, _Call] = field(default_factory=dict)
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
            call.end(_BROKEN)

    def take(self, call: _Call, name: str, raw: bytes) -> None:
        """Take a call that has arrived."""
        process = self.process
        if process is None or process.is_dead:
            call.end(_DOWN)
            return
        self._count += 1
        number = self._count
        self.calls[number] = call
        work = self._handle(call, name, raw)
        # Held by the process: its tasks must not be collected when it is killed.
        task = self.network.loop.create_task(work, context=context_of(process))
        call.handler = task
        task.add_done_callback(
            lambda done: self._finish(number, call, done), context=context_of(process)
        )

    async def _handle(self, call: _Call, name: str, raw: bytes) -> Ended:
        kind = message_type(name)
        context = SimContext(self.network.loop, call.deadline, call.metadata)
        try:
            async with asyncio.timeout_at(call.deadline):
                response = await getattr(self.servicer, name)(kind.FromString(raw), context)
            return Ended(response.SerializeToString())
        except TimeoutError:
            return _LATE
        except OpensqtError as error:
            return _ended(error)
        except NotImplementedError:
            return _ended(UnimplementedError("the service does not offer this method"))
        # As the server's own interceptor: a bug goes out as an internal error.
        except Exception as error:
            self.network.loop.call_exception_handler(
                {"message": f"{name} broke", "exception": error}
            )
            return _ended(FatalError("internal error"))

    def _finish(self, number: int, call: _Call, task: asyncio.Task[Ended]) -> None:
        self.calls.pop(number, None)
        if not task.cancelled():
            call.end(task.result())


# Not frozen: it learns of its handler.
@dataclass(slots=True)
class _Call:
    """One call under way, as its caller holds it."""

    network: Network
    link: str
    fate: Fate
    deadline: float | None
    metadata: tuple[Any, ...]
    future: asyncio.Future[Ended]
    context: Context
    handler: asyncio.Task[Ended] | None = None

    def end(self, ended: Ended) -> None:
        """Send the end back, in the caller's context: one that has died hears nothing."""
        if self.fate is not Fate.REPLY_LOST:
            told = _BROKEN if self.fate is Fate.REPLY_CUT else ended
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


class ConnectorStub:
    """Stands for `ExchangeServiceStub`: each method is a call with `timeout` and `metadata`."""

    def __init__(self, link: str, network: Network, door: CallDoor, caller: Process) -> None:
        self._link = link
        self._network = network
        self._door = door
        self._caller = caller
        self._open: dict[int, _Call] = {}
        self._count = 0
        caller.mourners.append(self._hang_up)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in _SERVICE.methods_by_name:
            raise AttributeError(name)
        return partial(self._unary, name)

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
        fate = self._network.fate(self._link)
        call = _Call(
            self._network,
            self._link,
            fate,
            deadline,
            tuple(metadata or ()),
            loop.create_future(),
            copy_context(),
        )
        self._send(call, name, request.SerializeToString())
        self._count += 1
        number = self._count
        self._open[number] = call
        try:
            async with asyncio.timeout_at(deadline):
                ended = await call.future
        except TimeoutError:
            call.give_up()
            ended = _LATE
        except asyncio.CancelledError:
            call.give_up()
            raise
        finally:
            self._open.pop(number, None)
        if ended.code is not grpc.StatusCode.OK:
            raise grpc.aio.AioRpcError(
                ended.code,
                grpc.aio.Metadata(),
                grpc.aio.Metadata(*ended.metadata),
                details=ended.details,
            )
        return message_type(name, is_reply=True).FromString(ended.raw)

    def _send(self, call: _Call, name: str, raw: bytes) -> None:
        if call.fate is Fate.REQUEST_LOST:
            return
        if call.fate is Fate.REQUEST_CUT:
            call.end(_BROKEN)
            return
        self._network.post(self._link, self._door.take, call, name, raw, context=context_of(None))

    def _hang_up(self) -> None:
        # The kernel closes the dead caller's connection; its handlers are cancelled.
        for call in self._open.values():
            call.give_up()
        self._open = {}


@cache
def message_type(name: str, *, is_reply: bool = False) -> Any:
    """Return the message class of a method's request or reply."""
    method = _SERVICE.methods_by_name[name]
    kind = method.output_type if is_reply else method.input_type
    return message_factory.GetMessageClass(kind)


def _ended(error: OpensqtError) -> Ended:
    status = to_grpc_status(error)
    return Ended(
        code=status.code, details=status.details, metadata=tuple(status.trailing_metadata or ())
    )
