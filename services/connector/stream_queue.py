"""The queue between a stream hub and one of its subscribers."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Sequence

T = TypeVar("T")


class RowQueue(Generic[T]):
    """Rows in order; with a key, a row takes the place of the waiting one of the same key."""

    def __init__(self, key: Callable[[T], Hashable] | None) -> None:
        self._rows: OrderedDict[Hashable, T] = OrderedDict()
        self._key = key
        self._count = 0

    def __len__(self) -> int:
        return len(self._rows)

    def extend(self, rows: Iterable[T]) -> None:
        """Add rows behind those that wait."""
        for row in rows:
            self._count += 1
            self._rows[self._count if self._key is None else self._key(row)] = row

    def take(self) -> T:
        """Return the row that waited longest; raise KeyError when there is none."""
        return self._rows.popitem(last=False)[1]

    def drain(self) -> list[T]:
        """Return all rows and keep none."""
        rows = list(self._rows.values())
        self._rows.clear()
        return rows


class Subscriber(Generic[T]):
    """The queue of one subscriber; ends with the error given to `end`."""

    def __init__(self, limit: int, key: Callable[[T], Hashable] | None) -> None:
        self._rows = RowQueue(key)
        self._held = RowQueue(key)
        self._holds = False
        self._limit = limit
        self._wake = asyncio.Event()
        self._error: Exception | None = None

    def hold(self) -> None:
        """Keep changes back until `release` has put a snapshot before them."""
        self._holds = True

    def release(self, snapshot: Sequence[T]) -> None:
        """Queue the snapshot and, behind it, what was held back."""
        self._holds = False
        self._rows.extend(snapshot)
        self._rows.extend(self._held.drain())
        self._wake.set()

    def offer(self, rows: Sequence[T]) -> bool:
        """Queue a batch; False when the subscriber is already `limit` rows behind."""
        if self._error is not None:
            return True
        queue = self._held if self._holds else self._rows
        # A batch may overshoot: one snapshot is often longer than the limit, and must fit.
        if len(queue) >= self._limit:
            return False
        queue.extend(rows)
        self._wake.set()
        return True

    def end(self, error: Exception) -> None:
        """Drop what is queued and raise `error` to the reader."""
        if self._error is None:
            self._error = error
            self._rows.drain()
            self._wake.set()

    async def rows(self) -> AsyncIterator[T]:
        """Yield rows as they come until `end` was called; raise its error."""
        while True:
            while self._rows:
                yield self._rows.take()
            if self._error is not None:
                raise self._error
            # Cleared after the queue is empty, with no await between: no wake-up is lost.
            self._wake.clear()
            await self._wake.wait()
