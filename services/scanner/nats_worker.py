"""Works tasks of the shared queue: takes, carries out, hands the end over, then acknowledges."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError

from services.common.errors import (
    FatalError,
    InvalidFieldError,
    RetryableError,
    UnreachableError,
)
from services.common.logs import get_logger
from services.scanner.nats_link import raise_if_cancelled
from services.scanner.nats_names import NatsNames, ResultPart, TaskName, split, token
from services.scanner.task_wire import decode_task, encode_error, encode_reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from services.scanner.nats_link import NatsLink
    from services.scanner.queue_metrics import QueueMetrics
    from services.scanner.task_runner import TaskEnd, TaskRunner
    from services.scanner.tasks import VenueTask
    from services.scanner.venue_codec import Reading

FETCH_SECONDS = 30.0
# Between asking again when the server refuses, as while it makes the streams anew.
_REFUSED_SECONDS = 0.2
_UNKNOWN_TASK_SECONDS = 1.0
_RATE_LIMIT_SECONDS = 1.0
# Of the largest message a server takes: headers and the protocol's own words need their part.
_BODY_SHARE = 0.9
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Claim:
    """A message this worker holds, and the connection's generation in which it came."""

    message: Msg
    generation: int


class NatsWorker:
    """Takes tasks of the venues this process has, as many at once as each venue may have here.

    A task is acknowledged once its end is stored for its owner, so a worker that dies loses
    nothing: after `ack_wait` the task goes to another one. `max_deliver` workers may take it; the
    next one tells the owner that it failed.
    """

    def __init__(
        self,
        link: NatsLink,
        names: NatsNames,
        runner: TaskRunner[VenueTask, Reading],
        *,
        concurrency: Mapping[str, int],
        ack_wait_seconds: float,
        max_deliver: int,
        new_id: Callable[[], str],
        metrics: QueueMetrics,
    ) -> None:
        self._link = link
        self._names = names
        self._runner = runner
        self._concurrency = concurrency
        self._ack_wait_seconds = ack_wait_seconds
        self._max_deliver = max_deliver
        self._new_id = new_id
        self._metrics = metrics
        self._idle: set[asyncio.Timeout] = set()
        self._running: dict[str, set[asyncio.Task[None]]] = {}
        link.listen(self._ask_again)

    async def run(self) -> None:
        """Work until cancelled; what is under way then goes back to the queue."""
        calls = await self._link.client.subscribe(self._names.withdrawn(), cb=self._on_withdrawn)
        try:
            async with asyncio.TaskGroup() as group:
                for venue, count in self._concurrency.items():
                    for _ in range(count):
                        group.create_task(self._work_venue(venue))
        finally:
            with suppress(NatsError, OSError):
                await calls.unsubscribe()

    async def _work_venue(self, venue: str) -> None:
        # A subscription each: an answer to one who waits must not go to another.
        source = await self._link.streams.pull_subscribe_bind(
            consumer=token(venue), stream=self._names.stream("tasks")
        )
        try:
            while True:
                for message in await self._fetch(source):
                    await self._take(venue, message)
        finally:
            with suppress(NatsError, OSError):
                await source.unsubscribe()

    async def _fetch(self, source: JetStreamContext.PullSubscription) -> list[Msg]:
        """Wait for a task; none after a while, or when the server is back and knows of no wait."""
        try:
            async with asyncio.timeout(None) as idle:
                self._idle.add(idle)
                try:
                    messages = await source.fetch(1, timeout=FETCH_SECONDS)
                finally:
                    self._idle.discard(idle)
            raise_if_cancelled()
            return messages
        except (TimeoutError, NatsError) as error:
            raise_if_cancelled()
            _log.debug("queue_gave_nothing", problem=str(error))
            if not idle.expired():
                # A refusal in the library's words; told at once, it would be told for ever.
                await asyncio.sleep(_REFUSED_SECONDS)
            return []

    async def _take(self, venue: str, message: Msg) -> None:
        """Work one message as a task of its own, which a withdrawn batch may cancel."""
        try:
            name = self._names.task_name(venue, message.subject)
        except InvalidFieldError:
            await message.term()
            return
        # Its own, since the one that takes must outlive a task that is called off.
        claim = _Claim(message, self._link.generation)
        work = asyncio.create_task(self._work(name, claim))
        of_batch = self._running.setdefault(name.batch, set())
        of_batch.add(work)
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError:
            work.cancel()
            await asyncio.wait({work})
            # This process is stopping: another may have the task at once.
            await self._say(claim, message.nak)
            raise
        finally:
            of_batch.discard(work)
            if not of_batch:
                self._running.pop(name.batch, None)
        if work.cancelled():
            await self._settle(claim, "withdrawn")
        elif (error := work.exception()) is not None:
            # The queue was lost, or this worker is broken: the task comes again after ack_wait.
            _log.warning("queue_task_left", problem=f"{type(error).__name__}: {error}")

    async def _work(self, name: TaskName, claim: _Claim) -> None:
        message = claim.message
        delivery = message.metadata.num_delivered
        if delivery > 1:
            self._metrics.tasks.labels("repeated").inc()
        if delivery > self._max_deliver:
            poisoned = FatalError(
                f"{self._max_deliver} workers took the task and none ended it",
                reason="TASK_POISONED",
            )
            await self._hand_over(name, encode_error(poisoned), is_error=True)
            await self._settle(claim, "poisoned")
            return
        try:
            task = decode_task(message.data)
        except InvalidFieldError as error:
            # Of another version, maybe: a worker of that version may know it.
            _log.warning("queue_task_unknown", problem=str(error))
            await self._return(claim, _UNKNOWN_TASK_SECONDS)
            return
        async with self._kept(claim):
            end = (await self._runner.run([task]))[0]
            delay = _delay(end)
            if delay is not None and delivery < self._max_deliver:
                await self._return(claim, delay)
                return
            is_error = end.error is not None or end.value is None
            body = await asyncio.to_thread(_body, end)
            await self._hand_over(name, body, is_error=is_error)
        await self._settle(claim, "worked")

    async def _hand_over(self, name: TaskName, body: bytes, *, is_error: bool) -> None:
        run = f"{name.key}.{self._new_id()}"
        pieces = split(body, int(self._link.client.max_payload * _BODY_SHARE))
        for number, piece in enumerate(pieces):
            part = ResultPart(name.key, run, number, len(pieces), is_error)
            await self._link.publish(self._names.results(name.owner), piece, part.headers())

    async def _settle(self, claim: _Claim, outcome: str) -> None:
        """End a message for good; when this word is lost, the next worker's end is a duplicate."""
        self._metrics.tasks.labels(outcome).inc()
        await self._say(claim, claim.message.ack)

    async def _return(self, claim: _Claim, delay_seconds: float) -> None:
        self._metrics.tasks.labels("returned").inc()
        await self._say(claim, partial(claim.message.nak, delay=delay_seconds))

    async def _say(self, claim: _Claim, word: Callable[[], Awaitable[None]]) -> None:
        # After a loss the number of this message may be another's: then its time is to run out.
        if claim.generation == self._link.generation:
            with suppress(NatsError, OSError):
                await word()

    @asynccontextmanager
    async def _kept(self, claim: _Claim) -> AsyncIterator[None]:
        """Tell the server meanwhile that the task is in progress, so that nobody else gets it."""
        keeper = asyncio.create_task(self._keep(claim))
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.wait({keeper})

    async def _keep(self, claim: _Claim) -> None:
        while True:
            await asyncio.sleep(self._ack_wait_seconds / 3)
            await self._say(claim, claim.message.in_progress)
            raise_if_cancelled()

    async def _on_withdrawn(self, message: Msg) -> None:
        for work in list(self._running.get(message.data.decode("ascii", "replace"), ())):
            work.cancel()

    async def _ask_again(self) -> None:
        """End the waits that the lost server knew of: nobody will answer them."""
        now = asyncio.get_running_loop().time()
        for idle in list(self._idle):
            idle.reschedule(now)


def _delay(end: TaskEnd[VenueTask, Reading]) -> float | None:
    """Return for how long a task goes back to the queue, None when its end is final.

    What a venue or a connector refused here for now may pass later, or from another machine.
    """
    if not isinstance(end.error, RetryableError):
        return None
    if isinstance(end.error, UnreachableError) or end.error.retry_after is None:
        return _RATE_LIMIT_SECONDS
    return end.error.retry_after.total_seconds()


def _body(end: TaskEnd[VenueTask, Reading]) -> bytes:
    if end.value is None:
        return encode_error(end.error or FatalError("no answer"))
    return encode_reading(end.task, end.value)
