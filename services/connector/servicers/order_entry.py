"""Order entry over one long-lived call: each entry placed as `PlaceOrder` does, side by side."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

from opensqt.market_maker.v1 import order_entry_pb2, resources_pb2
from services.common.admission import ENTRY_ROOM
from services.common.codec import optional_duration
from services.common.engine_epoch import read_epoch
from services.common.errors import FatalError, InvalidFieldError, OpensqtError, RetryableError
from services.common.logs import get_logger
from services.common.scopes import Lane, lane_of_order
from services.common.status_details import to_status_proto
from services.common.tracing import TRACER, under
from services.connector.engine_epochs import CALL_EPOCH
from services.connector.rate_budget import CALL_DEADLINE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from grpc.aio import ServicerContext

    from services.common.admission import EntryRoom
    from services.connector.engine_epochs import EngineSender

    Context = ServicerContext[Any, Any]
    Place = Callable[[resources_pb2.PlaceOrderRequest, str], Awaitable[resources_pb2.Order]]

MOST_ENTRIES: Final = 256
"""Entries of one call at work at once; more are refused, each on its own, and nothing is sent.

Those that reduce exposure go on up to `MOST_UNREAD`. The caller's own quota bounds both first.
"""

MOST_UNREAD: Final = 2 * MOST_ENTRIES
"""Entries whose answers have not been taken; then no more are read, so that nothing grows."""

_ENTRY_NAME: Final = "opensqt.market_maker.v1.ExchangeService/EnterOrders"
_log = get_logger(__name__)


class OrderEntryMethods:
    """Mixed into the servicer beside `OrderMethods`, whose `_place` it calls."""

    _place: Place
    _admit: Callable[[], Awaitable[EngineSender | None]]

    async def EnterOrders(
        self, request_iterator: AsyncIterator[order_entry_pb2.EnterOrdersRequest], context: Context
    ) -> AsyncIterator[order_entry_pb2.EnterOrdersResponse]:
        """Place the orders that come in, and answer each when its outcome is known."""
        # Of the call, so of all its entries: an engine has one epoch as long as it lives.
        CALL_EPOCH.set(read_epoch(context.invocation_metadata() or ()))
        # At once, not with the first order: an engine that took over is known from here on.
        await self._admit()
        session = _Session(self._place, ENTRY_ROOM.get())
        yield order_entry_pb2.EnterOrdersResponse()
        async for response in session.answers(request_iterator):
            yield response


class _Session:
    """The entries of one call."""

    def __init__(self, place: Place, room: EntryRoom | None) -> None:
        self._place = place
        self._principal_room = room
        self._answers: asyncio.Queue[order_entry_pb2.EnterOrdersResponse | None] = asyncio.Queue()
        self._entries: dict[int, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(MOST_UNREAD)

    async def answers(
        self, requests: AsyncIterator[order_entry_pb2.EnterOrdersRequest]
    ) -> AsyncIterator[order_entry_pb2.EnterOrdersResponse]:
        """Yield answers until the caller has no more entries and all of them are answered."""
        reading = asyncio.create_task(self._read(requests))
        try:
            while (response := await self._answers.get()) is not None:
                yield response
                self._room.release()
            # What ended the reading, if not the caller: a broken message, the end of the call.
            await reading
        finally:
            # Only the waits for answers end here: each order's task belongs to the process.
            for task in (reading, *self._entries.values()):
                task.cancel()
            await asyncio.gather(reading, *self._entries.values(), return_exceptions=True)

    async def _read(self, requests: AsyncIterator[order_entry_pb2.EnterOrdersRequest]) -> None:
        try:
            async for request in requests:
                await self._room.acquire()
                self._take(request)
            await asyncio.gather(*self._entries.values())
        finally:
            self._answers.put_nowait(None)

    def _take(self, request: order_entry_pb2.EnterOrdersRequest) -> None:
        entry = request.entry_id
        if entry <= 0 or entry in self._entries:
            problem = "must be above zero and not at work already"
            self._answer(entry, InvalidFieldError("entry_id", problem))
        elif not request.HasField("order"):
            self._answer(entry, InvalidFieldError("order", "is required"))
        else:
            self._start(request)

    def _start(self, request: order_entry_pb2.EnterOrdersRequest) -> None:
        entry, room = request.entry_id, self._principal_room
        lane = lane_of_order(request.order)
        try:
            if lane is Lane.COMMON and len(self._entries) >= MOST_ENTRIES:
                raise RetryableError("too many entries at once", reason="CALL_LIMIT_REACHED")
            ticket = None if room is None else room.enter(lane)
        except RetryableError as error:
            self._answer(entry, error)
            return

        def end(_task: asyncio.Task[None]) -> None:
            # Also of a task that was cancelled before it ran.
            self._entries.pop(entry, None)
            if room is not None and ticket is not None:
                room.leave(ticket)

        task = asyncio.create_task(self._enter(request))
        self._entries[entry] = task
        task.add_done_callback(end)

    async def _enter(self, request: order_entry_pb2.EnterOrdersRequest) -> None:
        try:
            timeout = optional_duration(request, "timeout")
            # In this entry's own context: each has a deadline of its own.
            CALL_DEADLINE.set(
                None if timeout is None else time.monotonic() + timeout.total_seconds()
            )
            span = TRACER.get().join(_ENTRY_NAME, request.traceparent)
            with under(span):
                order = await self._place(request.order, "order.")
            self._answer(request.entry_id, order)
        except OpensqtError as error:
            self._answer(request.entry_id, error)
        except Exception as error:
            # One entry's bug must not end the others; the caller gets an id, the log the rest.
            error_id = uuid.uuid4().hex
            _log.error("entry_failed", error_id=error_id, exc_info=error)
            bug = FatalError("internal error", metadata={"errorId": error_id})
            self._answer(request.entry_id, bug)

    def _answer(self, entry: int, result: resources_pb2.Order | OpensqtError) -> None:
        response = order_entry_pb2.EnterOrdersResponse(entry_id=entry)
        if isinstance(result, OpensqtError):
            response.error.CopyFrom(to_status_proto(result))
        else:
            response.order.CopyFrom(result)
        self._answers.put_nowait(response)
