"""A batch on its way through the pool: what still has to be queued, what runs, what ended."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from services.scanner.task_runner import TaskEnd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.scanner.task_attempt import Outcome
    from services.scanner.task_runner import TaskPriority

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, eq=False)
class Job(Generic[TaskT, ResultT]):
    """A task of a batch that waits in the queue or runs; `over` is set once it is to go no further:
    it ended, its time did, or nobody wants it.
    """

    batch: Batch[TaskT, ResultT]
    index: int
    venue: str
    label: str
    over: asyncio.Future[Outcome]

    @property
    def task(self) -> TaskT:
        """What is to be done."""
        return self.batch.tasks[self.index]

    def end(self, value: ResultT | None, error: Exception | None) -> None:
        """Tell the batch how the task ended."""
        self.batch.settle(self.index, value, error)


class Batch(Generic[TaskT, ResultT]):
    """Tasks handed in together; `done` is set once each has ended, or with what broke the batch."""

    def __init__(
        self,
        tasks: Sequence[TaskT],
        venue_of: Callable[[TaskT], str],
        label_of: Callable[[TaskT], str],
        on_end: Callable[[TaskEnd[TaskT, ResultT]], None] | None,
        *,
        priority: TaskPriority,
        submitted: float,
    ) -> None:
        self.tasks = tasks
        self.priority = priority
        self.submitted = submitted
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Indices by venue, in the order given: what is not in the queue yet.
        self.unqueued: dict[str, deque[int]] = {}
        for index, task in enumerate(tasks):
            self.unqueued.setdefault(venue_of(task), deque()).append(index)
        # Asked here and not later: where these functions raise, they raise at the caller.
        self._labels = [label_of(task) for task in tasks]
        self.jobs: set[Job[TaskT, ResultT]] = set()
        self._on_end = on_end
        self._ends: list[TaskEnd[TaskT, ResultT] | None] = [None] * len(tasks)
        self._open_count = len(tasks)
        if not tasks:
            self.done.set_result(None)

    def next_job(self, venue: str) -> Job[TaskT, ResultT]:
        """Make a job of the venue's next task; IndexError when all are queued."""
        index = self.unqueued[venue].popleft()
        job = Job(self, index, venue, self._labels[index], self.done.get_loop().create_future())
        self.jobs.add(job)
        return job

    def settle(self, index: int, value: ResultT | None, error: Exception | None) -> None:
        """Note how a task ended; the first word counts, and none after the batch is over."""
        if self._ends[index] is not None or self.done.done():
            return
        end = self._ends[index] = TaskEnd(self.tasks[index], value, error)
        self._open_count -= 1
        try:
            if self._on_end is not None:
                self._on_end(end)
        except Exception as broken:  # raised where the batch is awaited, not in a worker
            self.break_off(broken)
        if not self._open_count and not self.done.done():
            self.done.set_result(None)

    def end_rest(self, error: Exception) -> None:
        """End every task that has not ended, with one error."""
        for index in range(len(self.tasks)):
            self.settle(index, None, error)

    def break_off(self, error: Exception) -> None:
        """End the batch as a whole: who waits for it gets the error."""
        if not self.done.done():
            self.done.set_exception(error)

    def close(self) -> None:
        """Take no more ends: whoever waited is gone."""
        if not self.done.cancel() and not self.done.cancelled():
            # Read, so that the error of a batch nobody awaits any more is not reported as lost.
            self.done.exception()

    def ends(self) -> list[TaskEnd[TaskT, ResultT]]:
        """Return how the tasks ended, in the order given; raises what broke the batch off."""
        self.done.result()
        return cast("list[TaskEnd[TaskT, ResultT]]", self._ends)
