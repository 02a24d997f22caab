"""What runs batches of tasks: the interface a scan knows, whoever carries the tasks out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")


class TaskPriority(IntEnum):
    """What goes first where tasks wait; the lower number does."""

    REFRESH = 0
    """What keeps a published opportunity fresh."""
    SCAN = 1
    """What a scan in progress waits for."""
    AHEAD = 2
    """What a scan will probably need, and nobody waits for yet."""


@dataclass(frozen=True, slots=True)
class TaskEnd(Generic[TaskT, ResultT]):
    """How a task ended: with a value, or with the error that ended it."""

    task: TaskT
    value: ResultT | None
    error: Exception | None


class TaskRunner(Protocol[TaskT, ResultT]):
    """Runs batches of tasks; several batches may be under way at once."""

    async def run(
        self,
        tasks: Sequence[TaskT],
        on_end: Callable[[TaskEnd[TaskT, ResultT]], None] | None = None,
        *,
        priority: TaskPriority = TaskPriority.SCAN,
        timeout_seconds: float | None = None,
    ) -> list[TaskEnd[TaskT, ResultT]]:
        """Run a batch and return how each task ended, in the order given.

        `on_end` is called once a task as it ends. What has not ended after `timeout_seconds` ends
        with TimeoutError; the rest of the batch keeps its ends. When the caller is cancelled, so is
        the batch. A task that fails never raises here: its end carries the error.
        """
        ...
