"""Persistent workers on one bounded queue, for the life of the process.

A scan hands in a batch and waits for it; cancelling the wait cancels the batch: what waits is
dropped, what runs is interrupted, and the workers go on. Nothing a task does ends a worker: it may
fail, hang, cancel itself or ignore being cancelled. Idle workers wait for a future each and cost
nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from services.common.errors import FatalError, OpensqtError, UnreachableError
from services.common.logs import get_logger
from services.scanner.task_attempt import Attempt, Outcome, attempt
from services.scanner.task_batch import Batch, Job
from services.scanner.task_queue import TaskQueue
from services.scanner.task_runner import TaskEnd, TaskPriority

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from services.common.clock import Clock
    from services.scanner.metrics import PoolMetrics

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

_log = get_logger(__name__)


class WorkerPool(Generic[TaskT, ResultT]):
    """Runs tasks with `handle`; use as an async context manager, which owns the workers.

    `bounds_of` tells for a number of workers how many tasks of each venue may run at once; its
    venues are all there are. `capacity` bounds what waits in the queue, shared evenly by venue.
    """

    def __init__(
        self,
        handle: Callable[[TaskT], Awaitable[ResultT]],
        *,
        size: int,
        capacity: int,
        task_timeout: float,
        bounds_of: Callable[[int], Mapping[str, int]],
        venue_of: Callable[[TaskT], str],
        label_of: Callable[[TaskT], str],
        clock: Clock,
        metrics: PoolMetrics,
    ) -> None:
        self._handle = handle
        self._size = size
        self._task_timeout = task_timeout
        self._bounds_of = bounds_of
        self._venue_of = venue_of
        self._label_of = label_of
        self._clock = clock
        self._metrics = metrics
        bounds = bounds_of(size)
        self._queue: TaskQueue[Job[TaskT, ResultT]] = TaskQueue(capacity, bounds)
        # Batches with tasks for which the queue had no room yet, the oldest first.
        self._backlog: dict[str, list[Batch[TaskT, ResultT]]] = {venue: [] for venue in bounds}
        self._batches: set[Batch[TaskT, ResultT]] = set()
        self._idle: list[asyncio.Future[Job[TaskT, ResultT] | None]] = []
        self._workers: set[asyncio.Task[None]] = set()
        self._strays: set[asyncio.Task[Attempt[ResultT]]] = set()
        self._reported: set[tuple[str, type[BaseException]]] = set()
        self._worker_count = 0
        self._busy_count = 0
        self._is_open = False
        self._group = asyncio.TaskGroup()
        metrics.follow(bounds, self._waiting_count, self._queue.running_count)
        metrics.busy.set_function(lambda: self._busy_count)

    async def __aenter__(self) -> Self:
        """Start the workers."""
        await self._group.__aenter__()
        self._is_open = True
        self.resize(self._size)
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Stop the workers with what they run, and wait for them; batches under way fail."""
        self._is_open = False
        for batch in self._batches:
            batch.break_off(_stopping())
        for worker in self._workers:
            worker.cancel()
        # Not told of the block's own error, which is to pass through as it is, in no group.
        await self._group.__aexit__(None, None, None)

    @property
    def size(self) -> int:
        """Workers there are to be."""
        return self._size

    def resize(self, worker_count: int) -> int:
        """Set the number of workers and return the number before.

        Workers in excess leave at once when idle, else with the end of their task, which is not
        interrupted; what waits is kept. Raises UnreachableError while the pool is not running.
        """
        if not self._is_open:
            raise _stopping()
        previous, self._size = self._size, worker_count
        self._metrics.size.set(worker_count)
        self._queue.set_bounds(self._bounds_of(worker_count))
        while self._worker_count < worker_count:
            self._worker_count += 1
            worker = self._group.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        while self._worker_count > worker_count and self._idle:
            self._worker_count -= 1
            self._idle.pop().set_result(None)
        self._hand_out()
        return previous

    async def run(
        self,
        tasks: Sequence[TaskT],
        on_end: Callable[[TaskEnd[TaskT, ResultT]], None] | None = None,
        *,
        priority: TaskPriority = TaskPriority.SCAN,
        timeout_seconds: float | None = None,
    ) -> list[TaskEnd[TaskT, ResultT]]:
        """Run a batch, as `TaskRunner` says; a single task is a batch of one.

        A task must not call this: it would hold its worker while it waits for others. Raises
        KeyError for a task of an unknown venue, UnreachableError while the pool is not running, and
        what `on_end` raises.
        """
        if not self._is_open:
            raise _stopping()
        submitted = self._clock.monotonic()
        batch: Batch[TaskT, ResultT] = Batch(
            tasks,
            self._venue_of,
            self._label_of,
            on_end,
            priority=priority,
            submitted=submitted,
        )
        self._take_in(batch)
        try:
            await asyncio.wait({batch.done}, timeout=timeout_seconds)
            if not batch.done.done():
                batch.end_rest(TimeoutError(f"the batch took longer than {timeout_seconds:g} s"))
            return batch.ends()
        finally:
            # However the wait ended, nothing of the batch may go on: its owner is gone.
            self._drop(batch)

    def _take_in(self, batch: Batch[TaskT, ResultT]) -> None:
        backlogs = [self._backlog[venue] for venue in batch.unqueued]
        self._batches.add(batch)
        for backlog in backlogs:
            backlog.append(batch)
        for venue in batch.unqueued:
            self._fill(venue)
        self._hand_out()

    def _fill(self, venue: str) -> None:
        """Queue what the venue's shares of the queue have room for."""
        for batch in tuple(self._backlog[venue]):
            unqueued = batch.unqueued[venue]
            while unqueued and self._queue.has_room(venue, batch.priority):
                self._queue.put(batch.next_job(venue), venue, batch.priority)
            if not unqueued:
                self._backlog[venue].remove(batch)

    def _take(self) -> Job[TaskT, ResultT] | None:
        job = self._queue.take()
        if job is not None:
            self._fill(job.venue)
        return job

    def _hand_out(self) -> None:
        """Give tasks to idle workers while there are both."""
        while self._is_open and self._idle and (job := self._take()) is not None:
            self._idle.pop().set_result(job)

    def _drop(self, batch: Batch[TaskT, ResultT]) -> None:
        """Forget what of a batch waits and stop what runs."""
        batch.close()
        self._batches.discard(batch)
        for venue, unqueued in batch.unqueued.items():
            unqueued.clear()
            self._backlog[venue] = [each for each in self._backlog[venue] if each is not batch]
        for job in tuple(batch.jobs):
            if self._queue.remove(job, job.venue, batch.priority):
                batch.jobs.discard(job)
            elif not job.over.done():
                job.over.set_result(Outcome.CANCELLED)
        for venue in batch.unqueued:
            self._fill(venue)
        self._hand_out()

    async def _work(self) -> None:
        while (job := await self._next()) is not None:
            # Dropped between the queue and the worker: its place is all that is left of it.
            if job.over.done():
                self._release(job)
            else:
                await self._carry_out(job)

    async def _next(self) -> Job[TaskT, ResultT] | None:
        """Return the next job, waiting for one; None when the worker is one too many."""
        if self._worker_count > self._size:
            self._worker_count -= 1
            return None
        job = self._take()
        if job is not None:
            return job
        turn: asyncio.Future[Job[TaskT, ResultT] | None] = (
            asyncio.get_running_loop().create_future()
        )
        self._idle.append(turn)
        return await turn

    async def _carry_out(self, job: Job[TaskT, ResultT]) -> None:
        started = self._clock.monotonic()
        self._metrics.waited(job.batch.priority, started - job.batch.submitted)
        self._busy_count += 1
        try:
            ended = await attempt(
                self._handle, job.task, over=job.over, timeout_seconds=self._task_timeout
            )
        finally:
            self._busy_count -= 1
        if ended.stray is None:
            self._release(job)
        else:
            self._abandon(job, ended.stray)
        self._metrics.ended(job.label, ended.outcome, self._clock.monotonic() - started)
        if ended.outcome is Outcome.FAILED and ended.error is not None:
            self._report(job.label, ended.error)
        # A cancelled one has no end: nobody wants to hear of it any more.
        if ended.outcome is not Outcome.CANCELLED:
            job.end(ended.value, ended.error)

    def _report(self, label: str, error: Exception) -> None:
        """Log an error that is nobody's refusal but a bug, with its trace, once of each kind."""
        if isinstance(error, OpensqtError) and not isinstance(error, FatalError):
            return
        kind = (label, type(error.__cause__ or error))
        if kind not in self._reported:
            self._reported.add(kind)
            _log.error("task_broken", task=label, exc_info=error)

    def _abandon(self, job: Job[TaskT, ResultT], stray: asyncio.Task[Attempt[ResultT]]) -> None:
        """Leave a task alone that ignores its cancellation.

        It keeps its venue's place until it ends, so that such tasks are bounded and cost their own
        venue only.
        """
        self._metrics.abandoned.inc()
        # Held here: nobody else does any more, and the event loop holds its tasks weakly.
        self._strays.add(stray)
        stray.add_done_callback(lambda _: self._end_stray(job, stray))

    def _end_stray(self, job: Job[TaskT, ResultT], stray: asyncio.Task[Attempt[ResultT]]) -> None:
        self._strays.discard(stray)
        self._metrics.abandoned.dec()
        self._release(job)
        self._hand_out()

    def _release(self, job: Job[TaskT, ResultT]) -> None:
        job.batch.jobs.discard(job)
        self._queue.release(job.venue)

    def _waiting_count(self, venue: str) -> int:
        """Return the tasks of a venue that wait, in the queue or for room in it."""
        backlog = tuple(self._backlog[venue])
        return self._queue.waiting_count(venue) + sum(len(each.unqueued[venue]) for each in backlog)


def _stopping() -> UnreachableError:
    return UnreachableError("the service is not running tasks", reason="SHUTTING_DOWN")
