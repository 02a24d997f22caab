"""Runs batches on the shared work queue: puts tasks out, takes their ends in, once each."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

from nats.errors import Error as NatsError

from services.common.errors import InvalidFieldError, OpensqtError, UnreachableError
from services.common.logs import get_logger
from services.scanner.nats_names import MESSAGE_ID, NatsNames, TaskName, result_part
from services.scanner.task_runner import TaskEnd, TaskPriority, TaskRunner
from services.scanner.task_wire import decode_error, decode_reading, encode_task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nats.aio.msg import Msg

    from services.scanner.nats_link import NatsLink
    from services.scanner.nats_names import ResultPart
    from services.scanner.queue_metrics import QueueMetrics
    from services.scanner.tasks import VenueTask
    from services.scanner.venue_codec import Reading

End = TaskEnd["VenueTask", "Reading"]
_log = get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Order:
    """A task of a batch. Mutable: it gathers the pieces of its runs, and its end."""

    name: TaskName
    task: VenueTask
    end: asyncio.Future[End]
    sending: asyncio.Task[None] | None = None
    pieces: dict[str, dict[int, bytes]] = field(default_factory=dict)


@dataclass(slots=True)
class _Lane:
    """One venue's tasks: those that wait by priority, and how many are out. Mutable."""

    waiting: list[tuple[TaskPriority, int, _Order]] = field(default_factory=list)
    out_count: int = 0


class NatsRunner:
    """A TaskRunner over the work queue. What keeps opportunities fresh stays on `local`.

    At most `max_ack_pending` tasks of a venue are out at once, so that a slow venue fills neither
    the queue nor the way of another, and a cancelled batch has little to call back.
    """

    def __init__(
        self,
        link: NatsLink,
        names: NatsNames,
        local: TaskRunner[VenueTask, Reading],
        *,
        owner: str,
        new_id: Callable[[], str],
        max_ack_pending: int,
        metrics: QueueMetrics,
    ) -> None:
        self._link = link
        self._names = names
        self._local = local
        self._owner = owner
        self._new_id = new_id
        self._max_out = max_ack_pending
        self._metrics = metrics
        self._lanes: dict[str, _Lane] = {}
        self._out: dict[str, _Order] = {}
        self._given_up: set[str] = set()
        self._sequence = count()
        self._group = asyncio.TaskGroup()
        link.listen(self._on_return, self._on_outage)

    async def __aenter__(self) -> NatsRunner:
        """Own what sends and calls back."""
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Wait for what is being called back; batches are over by now."""
        await self._group.__aexit__(None, None, None)

    async def run(
        self,
        tasks: Sequence[VenueTask],
        on_end: Callable[[End], None] | None = None,
        *,
        priority: TaskPriority = TaskPriority.SCAN,
        timeout_seconds: float | None = None,
    ) -> list[End]:
        """Run a batch as TaskRunner says, wherever there is a worker for it."""
        if priority is TaskPriority.REFRESH:
            return await self._local.run(
                tasks, on_end, priority=priority, timeout_seconds=timeout_seconds
            )
        batch = self._new_id()
        orders = [self._order(batch, number, task) for number, task in enumerate(tasks)]
        for order in orders:
            if on_end is not None:
                order.end.add_done_callback(lambda end: _notify(end, on_end))
            self._queue(order, priority)
        try:
            # Waited for and not awaited: a wait that is over must not cancel what was waited for.
            if orders:
                await asyncio.wait([order.end for order in orders], timeout=timeout_seconds)
            for order in orders:
                if not order.end.done():
                    late = TimeoutError(f"not done after {timeout_seconds:g} s")
                    order.end.set_result(TaskEnd(order.task, None, late))
            # A turn of the loop for the last ends to be told.
            await asyncio.sleep(0)
            return [order.end.result() for order in orders]
        finally:
            # However the wait ended, nothing of the batch may go on: its owner is gone.
            self._withdraw(orders)

    async def receive(self, message: Msg) -> None:
        """Take a piece of a task's end; the first whole run counts, all others are dropped."""
        with suppress(OpensqtError):
            await self._take(result_part(message.headers), message.data)
        await message.ack()

    async def _take(self, part: ResultPart, body: bytes) -> None:
        order = self._out.get(part.key)
        if order is None:
            self._metrics.tasks.labels("unwanted").inc()
            return
        pieces = order.pieces.setdefault(part.run, {})
        pieces[part.part] = body
        if len(pieces) < part.part_count:
            return
        whole = b"".join(pieces[number] for number in sorted(pieces))
        order.pieces.clear()
        end = await self._opened(order.task, whole, is_error=part.is_error)
        self._metrics.tasks.labels("ended").inc()
        self._finish(order, end)

    async def _opened(self, task: VenueTask, body: bytes, *, is_error: bool) -> End:
        if is_error:
            return TaskEnd(task, None, decode_error(body))
        try:
            # A venue's history is megabytes: opened on the loop it would hold all streams up.
            return TaskEnd(task, await asyncio.to_thread(decode_reading, task, body), None)
        except InvalidFieldError as error:
            return TaskEnd(task, None, error)

    def _order(self, batch: str, number: int, task: VenueTask) -> _Order:
        name = TaskName(task.venue, self._owner, batch, number)
        return _Order(name, task, asyncio.get_running_loop().create_future())

    def _queue(self, order: _Order, priority: TaskPriority) -> None:
        lane = self._lanes.setdefault(order.name.venue, _Lane())
        heappush(lane.waiting, (priority, next(self._sequence), order))
        self._send_next(lane)

    def _send_next(self, lane: _Lane) -> None:
        while lane.waiting and lane.out_count < self._max_out:
            order = heappop(lane.waiting)[2]
            if order.end.done():
                continue
            lane.out_count += 1
            self._out[order.name.key] = order
            order.sending = self._group.create_task(self._send(order))

    async def _send(self, order: _Order) -> None:
        if self._link.outage is not None:
            self._finish(order, TaskEnd(order.task, None, self._link.outage))
            return
        # A task put out anew is another message, which the server must not drop as known.
        message_id = f"{order.name.key}.{next(self._sequence)}"
        try:
            await self._link.publish(
                self._names.task(order.name), encode_task(order.task), {MESSAGE_ID: message_id}
            )
        except UnreachableError as error:
            self._finish(order, TaskEnd(order.task, None, error))
        else:
            self._metrics.tasks.labels("sent").inc()

    def _finish(self, order: _Order, end: End) -> None:
        if not order.end.done():
            order.end.set_result(end)
        self._forget(order)

    def _forget(self, order: _Order) -> None:
        if self._out.pop(order.name.key, None) is None:
            return
        lane = self._lanes[order.name.venue]
        lane.out_count -= 1
        self._send_next(lane)

    def _withdraw(self, orders: Sequence[_Order]) -> None:
        """Drop tasks that nobody waits for, here at once and in the queue as soon as may be."""
        sent = [order for order in orders if order.name.key in self._out]
        for order in orders:
            order.end.cancel()
        for order in sent:
            if order.sending is not None:
                order.sending.cancel()
            self._forget(order)
        if sent:
            self._metrics.tasks.labels("withdrawn").inc(len(sent))
            self._group.create_task(self._call_back(sent[0].name.batch, _sendings(sent)))

    async def _call_back(self, batch: str, sending: Sequence[asyncio.Task[None]]) -> None:
        # First those who send: a task published after the purge would stay.
        if sending:
            await asyncio.wait(sending)
        with suppress(NatsError, OSError):
            await self._link.client.publish(self._names.withdrawn(), batch.encode())
        await self._purge(batch)

    async def _purge(self, batch: str) -> None:
        subject = self._names.tasks_of_batch(self._owner, batch)
        try:
            await self._link.streams.purge_stream(self._names.stream("tasks"), subject=subject)
        except (NatsError, OSError, TimeoutError) as error:
            # What nobody calls back is dropped by the server once it is too old.
            _log.warning("queue_not_purged", problem=str(error))

    async def _on_return(self) -> None:
        """Put out anew what is unanswered, and nothing else.

        A server that was killed may have forgotten tasks, and may give out once more what was done.
        """
        given_up, self._given_up = self._given_up, set()
        for batch in given_up:
            await self._call_back(batch, ())
        batches = {order.name.batch for order in self._out.values()}
        for batch in batches:
            await self._purge(batch)
        for order in list(self._out.values()):
            # Of a batch that began meanwhile nothing was purged.
            if order.name.batch in batches:
                if order.sending is not None:
                    order.sending.cancel()
                order.sending = self._group.create_task(self._send(order))

    def _on_outage(self, outage: UnreachableError) -> None:
        for lane in self._lanes.values():
            waiting, lane.waiting = lane.waiting, []
            for _, _, order in waiting:
                self._finish(order, TaskEnd(order.task, None, outage))
        for order in list(self._out.values()):
            # Still in the queue of a server that comes back, and wanted by nobody then.
            self._given_up.add(order.name.batch)
            self._finish(order, TaskEnd(order.task, None, outage))


def _sendings(orders: Sequence[_Order]) -> list[asyncio.Task[None]]:
    return [order.sending for order in orders if order.sending is not None]


def _notify(end: asyncio.Future[Any], on_end: Callable[[End], None]) -> None:
    if not end.cancelled():
        on_end(end.result())
