"""Persistent workers on one bounded queue, for the life of the process.

A scan hands in a batch and waits for it; cancelling the wait cancels the batch: queued tasks are
dropped, running ones are interrupted, and the workers go on. A task that fails, hangs or is
cancelled never ends a worker. Idle workers wait on the queue and cost nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from services.scanner.task_runner import TaskEnd, TaskPriority

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from services.common.clock import Clock
    from services.scanner.metrics import PoolMetrics

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")


@dataclass(slots=True, eq=False)
class _Job(Generic[TaskT, ResultT]):
    """A task in the queue. Mutable: the future carries its end."""

    task: TaskT
    end: asyncio.Future[TaskEnd[TaskT, ResultT]]
    queued: float


class WorkerPool(Generic[TaskT, ResultT]):
    """Runs tasks with `handle`; use as an async context manager, which owns the workers."""

    def __init__(
        self,
        handle: Callable[[TaskT], Awaitable[ResultT]],
        *,
        size: int,
        capacity: int,
        task_timeout: float,
        clock: Clock,
        metrics: PoolMetrics,
        label: Callable[[TaskT], str],
    ) -> None:
        self._handle = handle
        self._size = size
        self._task_timeout = task_timeout
        self._clock = clock
        self._metrics = metrics
        self._label = label
        self._queue: asyncio.Queue[_Job[TaskT, ResultT]] = asyncio.Queue(capacity)
        self._workers: list[asyncio.Task[None]] = []
        self._group = asyncio.TaskGroup()
        metrics.size.set(size)
        metrics.queued.set_function(self._queue.qsize)

    async def __aenter__(self) -> Self:
        """Start the workers."""
        await self._group.__aenter__()
        self._workers = [self._group.create_task(self._work()) for _ in range(self._size)]
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Stop the workers with what they run, and wait for them."""
        for worker in self._workers:
            worker.cancel()
        # Not told of the block's own error, which is to pass through as it is, in no group.
        await self._group.__aexit__(None, None, None)

    async def run(
        self,
        tasks: Sequence[TaskT],
        on_end: Callable[[TaskEnd[TaskT, ResultT]], None] | None = None,
        *,
        priority: TaskPriority = TaskPriority.SCAN,
        timeout_seconds: float | None = None,
    ) -> list[TaskEnd[TaskT, ResultT]]:
        """Run a batch and return how each task ended, in the order given.

        Waits for room in the queue. `on_end` is called once a task as it ends. When the caller is
        cancelled, so is the batch. A worker must not call this: with a full queue it would wait
        for itself.
        """
        loop = asyncio.get_running_loop()
        jobs: list[_Job[TaskT, ResultT]] = []
        try:
            for task in tasks:
                job = _Job(task, loop.create_future(), self._clock.monotonic())
                if on_end is not None:
                    job.end.add_done_callback(lambda end: _notify(end, on_end))
                jobs.append(job)
                # Waits while the queue is full; that is the bound on what a scan may hold in
                # memory.
                await self._queue.put(job)
            return [await job.end for job in jobs]
        finally:
            # However the wait ended, nothing of the batch may go on: its owner is gone.
            for job in jobs:
                job.end.cancel()

    async def _work(self) -> None:
        while True:
            job = await self._queue.get()
            # Cancelled while it waited: its place in the queue is all that is left of it.
            if not job.end.done():
                await self._run_job(job)

    async def _run_job(self, job: _Job[TaskT, ResultT]) -> None:
        label = self._label(job.task)
        started = self._clock.monotonic()
        self._metrics.wait_seconds.observe(started - job.queued)
        self._metrics.busy.inc()
        # A task of its own, so that cancelling what runs does not cancel the worker.
        running = asyncio.create_task(self._guarded(job.task))
        job.end.add_done_callback(lambda end: running.cancel() if end.cancelled() else None)
        try:
            await asyncio.wait({running}, timeout=self._task_timeout)
        finally:
            running.cancel()
            await asyncio.wait({running})
            self._metrics.busy.dec()
        end = self._end_of(job, running)
        self._metrics.task_seconds.labels(label).observe(self._clock.monotonic() - started)
        outcome = "cancelled" if end is None else "failed" if end.error else "done"
        self._metrics.tasks.labels(label, outcome).inc()
        if end is not None and not job.end.done():
            job.end.set_result(end)

    async def _guarded(self, task: TaskT) -> TaskEnd[TaskT, ResultT]:
        try:
            return TaskEnd(task, await self._handle(task), None)
        except Exception as error:  # the pool outlives any task; the batch's owner reads the error
            return TaskEnd(task, None, error)

    def _end_of(
        self, job: _Job[TaskT, ResultT], running: asyncio.Task[TaskEnd[TaskT, ResultT]]
    ) -> TaskEnd[TaskT, ResultT] | None:
        """Return the end of a task that ran out, was cancelled (None), or ended by itself."""
        if not running.cancelled():
            return running.result()
        if job.end.done():
            return None
        return TaskEnd(job.task, None, TimeoutError(f"took longer than {self._task_timeout:g} s"))


def _notify(
    end: asyncio.Future[TaskEnd[TaskT, ResultT]],
    on_end: Callable[[TaskEnd[TaskT, ResultT]], None],
) -> None:
    if not end.cancelled():
        on_end(end.result())
