"""Bounds of many waits on one timer of the loop.

`asyncio.timeout` sets and cancels a timer each time: 0.04 ms twice, between a fill and its hedge.
Here the timer stands for the earliest of all waits, and one that ends in time touches none.
"""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class Deadlines:
    """Ends waits of tasks that last too long; belongs to one event loop."""

    def __init__(self) -> None:
        self._bounds: list[tuple[float, int, _Bound]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> _Bound:
        """Return a block that ends with TimeoutError after `seconds`, as `asyncio.timeout` does."""
        return _Bound(self, seconds)

    def add(self, bound: _Bound, due: float) -> None:
        """Watch over a wait that has begun; `due` is on the loop's clock."""
        is_first = not self._bounds or due < self._bounds[0][0]
        heappush(self._bounds, (due, next(self._numbers), bound))
        if is_first:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(self._bounds[0][0], self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._bounds and (self._bounds[0][0] <= now or self._bounds[0][2].is_over):
            heappop(self._bounds)[2].expire()
        if self._bounds:
            self._arm()


class _Bound:
    """One wait of one task; mutable: it is over once the task has left the block."""

    __slots__ = ("_cancelling", "_deadlines", "_is_late", "_seconds", "_task", "is_over")

    def __init__(self, deadlines: Deadlines, seconds: float) -> None:
        self._deadlines = deadlines
        self._seconds = seconds
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._is_late = False
        self.is_over = False

    def __enter__(self) -> None:
        """Begin to wait; raises RuntimeError outside a task."""
        task = self._task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can be bounded")
        self._cancelling = task.cancelling()
        self._deadlines.add(self, asyncio.get_running_loop().time() + self._seconds)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """End the wait; raises TimeoutError where it was the bound that ended it."""
        self.is_over = True
        task, self._task = self._task, None
        # Somebody else may have cancelled the task as well: then it is to end, not to be late.
        is_ours = self._is_late and task is not None and task.uncancel() <= self._cancelling
        if is_ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error

    def expire(self) -> None:
        """Break the wait off, unless it is over."""
        if self._task is not None:
            self._is_late = True
            self._task.cancel()
