"""Tasks with an owner: started, watched and ended in one place."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any, TypeVar

from services.common.errors import OpensqtError
from services.common.logs import get_logger
from services.common.ordered_set import OrderedSet

_T = TypeVar("_T")
_log = get_logger(__name__)


class OwnedTasks:
    """A set of background tasks; a bug in one is logged even where nobody waits for it."""

    def __init__(self) -> None:
        self._tasks: OrderedSet[asyncio.Task[Any]] = OrderedSet()

    def spawn(self, work: Coroutine[Any, Any, _T], name: str) -> asyncio.Task[_T]:
        """Start a task that this owner ends."""
        # One context for both: the line about a task that failed tells what the task had bound.
        context = copy_context()
        task = asyncio.create_task(work, name=name, context=context)
        # asyncio keeps only weak references: an unowned drive could be collected in mid-flight.
        self._tasks.add(task)
        task.add_done_callback(self._ended, context=context)
        return task

    async def close(self) -> int:
        """Cancel what still runs, wait for it, and return how many tasks that were."""
        running = tuple(task for task in self._tasks if not task.done())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        return len(running)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, OpensqtError):
            _log.error("task_failed", task=task.get_name(), exc_info=error)
