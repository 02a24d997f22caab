"""A streaming call without a wire: messages one way or both, in order and in time.

What is lost on a connection breaks it: a fault on a message ends the call for both sides, before
the message has arrived. Which of the two it was, neither can tell.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

import grpc

from simulation.loop import context_of
from simulation.transport_network import Fate, Lane, Network
from simulation.transport_status import BROKEN, Ended, error_of, message_type

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from simulation.transport_calls import CallDoor


class Incoming:
    """The request messages of a call as its handler reads them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    def put(self, raw: bytes | None) -> None:
        """Take a message, None for the end."""
        self._queue.put_nowait(raw)

    def __aiter__(self) -> Incoming:
        return self

    async def __anext__(self) -> Any:
        raw = await self._queue.get()
        if raw is None:
            raise StopAsyncIteration
        return message_type(self._name).FromString(raw)


class StreamCall:
    """One stream as its reader holds it: iterated over, and cancelled at its end."""

    deadline: float | None = None

    def __init__(self, network: Network, link: str, name: str, metadata: tuple[Any, ...]) -> None:
        self.metadata = metadata
        self.handler: asyncio.Task[Any] | None = None
        self.incoming: Incoming | None = None
        self._network = network
        self._link = link
        self._name = name
        self._lane = Lane(network, link)
        self._context: Context = copy_context()
        self._came: deque[bytes] = deque()
        self._ended: Ended | None = None
        self._wake = asyncio.Event()

    def begin(self, door: CallDoor, raw: bytes) -> None:
        """Send the request."""
        self._network.post(
            self._link, door.take_stream, self, self._name, raw, context=context_of(None)
        )

    def pump(self, door: CallDoor, requests: AsyncIterator[Any]) -> None:
        """Send the request messages as they come, in a task of the caller's process."""
        self.incoming = Incoming(self._name)
        self.begin(door, b"")
        out = Lane(self._network, self._link)
        world = context_of(None)

        async def send(incoming: Incoming) -> None:
            async for request in requests:
                if self._meets_fault():
                    return
                out.post(incoming.put, request.SerializeToString(), context=world)
            out.post(incoming.put, None, context=world)

        # Owned by the caller's process, and ended by the end of the requests.
        self._network.loop.create_task(send(self.incoming))

    def __aiter__(self) -> StreamCall:
        return self

    async def __anext__(self) -> Any:
        while not self._came:
            if self._ended is not None:
                if self._ended.code is grpc.StatusCode.OK:
                    raise StopAsyncIteration
                raise error_of(self._ended)
            self._wake.clear()
            await self._wake.wait()
        return message_type(self._name, is_reply=True).FromString(self._came.popleft())

    def cancel(self) -> bool:
        """Read no more; the handler is cancelled when it learns of it."""
        if self._ended is None:
            self._ended = Ended(code=grpc.StatusCode.CANCELLED, details="Locally cancelled")
            self._network.post(self._link, self._cancel, context=context_of(None))
        return True

    def give_up(self) -> None:
        """Tell the other side that nobody reads any more."""
        self._network.post(self._link, self._cancel, context=context_of(None))

    def send(self, raw: bytes) -> None:
        """Send a message to the reader, unless it meets a fault."""
        if self._meets_fault():
            return
        self._lane.post(self._take, raw, context=self._context)

    def end(self, ended: Ended) -> None:
        """Send the end to the reader."""
        self._lane.post(self._finish, ended, context=self._context)

    def _meets_fault(self) -> bool:
        if self._network.fate(self._link) is Fate.WHOLE:
            return False
        self.end(BROKEN)
        self.give_up()
        return True

    def _take(self, raw: bytes) -> None:
        if self._ended is None:
            self._came.append(raw)
            self._wake.set()

    def _finish(self, ended: Ended) -> None:
        if self._ended is None:
            self._ended = ended
            self._wake.set()

    def _cancel(self) -> None:
        if self.handler is not None:
            self.handler.cancel()
