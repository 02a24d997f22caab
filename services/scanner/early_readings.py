"""What the last scan asked of single instruments, asked by the next one at its start.

A shortlist changes little from scan to scan, and its order books and details are most of the calls
of a warm scan. Begun beside the bulk readings they fill the time in which a venue would wait for
us. What turns out not to be needed is not used, and not missed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from services.scanner.shortlist import leg_tasks
from services.scanner.task_runner import TaskPriority
from services.scanner.tasks import ReadBorrowRates, VenueTask

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from types import TracebackType

    from services.scanner.instruments import InstrumentKey
    from services.scanner.task_runner import TaskEnd, TaskRunner
    from services.scanner.venue_codec import Reading


@dataclass(frozen=True, slots=True)
class Foresight:
    """What a scan asked of single instruments: the legs of its shortlist, assets lent by venue."""

    legs: frozenset[InstrumentKey] = frozenset()
    lent: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def tasks(self, book_depth: int) -> tuple[VenueTask, ...]:
        """Return the same questions again."""
        return (
            *(ReadBorrowRates(venue, tuple(sorted(names))) for venue, names in self.lent.items()),
            *leg_tasks(sorted(self.legs), book_depth),
        )


class EarlyReadings:
    """Readings of one scan begun before anybody knew whether they are needed; a `TaskRunner` that
    joins them.

    An async context manager: at its end what is still under way is not waited for. Mutable: filled
    by batches that carry the readings out, read by whoever finds a need of them.
    """

    def __init__(
        self,
        runner: TaskRunner[VenueTask, Reading],
        seconds_to_read: Callable[[], float | None],
    ) -> None:
        self._runner = runner
        self._seconds_to_read = seconds_to_read
        self._ends: dict[VenueTask, asyncio.Future[TaskEnd[VenueTask, Reading]]] = {}
        self._group = asyncio.TaskGroup()
        self._batches: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Take readings from here on."""
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop what nobody came to need."""
        for batch in self._batches:
            batch.cancel()
        await self._group.__aexit__(kind, error, trace)

    def begin(self, tasks: Iterable[VenueTask]) -> None:
        """Begin readings that are not among them already."""
        loop = asyncio.get_running_loop()
        fresh = tuple(dict.fromkeys(task for task in tasks if task not in self._ends))
        if fresh:
            self._ends |= {task: loop.create_future() for task in fresh}
            self._batches.append(self._group.create_task(self._run(fresh)))

    async def run(
        self,
        tasks: Sequence[VenueTask],
        on_end: Callable[[TaskEnd[VenueTask, Reading]], None] | None = None,
        *,
        priority: TaskPriority = TaskPriority.SCAN,
        timeout_seconds: float | None = None,
    ) -> list[TaskEnd[VenueTask, Reading]]:
        """Run a batch as `TaskRunner.run` does; what was begun early is waited for instead."""
        fresh = [task for task in tasks if task not in self._ends]
        # A group: were the batch refused, nobody would be left to hear of the early ones.
        async with asyncio.TaskGroup() as group:
            joined = group.create_task(
                self._join([task for task in tasks if task in self._ends], on_end)
            )
            ends = await self._runner.run(
                fresh, on_end, priority=priority, timeout_seconds=timeout_seconds
            )
        found = {end.task: end for end in (*ends, *joined.result())}
        return [found[task] for task in tasks]

    async def _join(
        self,
        tasks: Sequence[VenueTask],
        on_end: Callable[[TaskEnd[VenueTask, Reading]], None] | None,
    ) -> list[TaskEnd[VenueTask, Reading]]:
        ends = []
        for task in tasks:
            end = await self._ends[task]
            ends.append(end)
            if on_end is not None:
                on_end(end)
        return ends

    async def _run(self, tasks: Sequence[VenueTask]) -> None:
        # After everything that the scan asks for in this turn: its bulk readings go out first.
        await asyncio.sleep(0)
        await self._runner.run(
            tasks,
            lambda end: self._ends[end.task].set_result(end),
            priority=TaskPriority.AHEAD,
            timeout_seconds=self._seconds_to_read(),
        )

    def borrowing(self, venue: str) -> list[ReadBorrowRates]:
        """Return the readings of borrow rates that were begun at a venue."""
        return [
            task for task in self._ends if isinstance(task, ReadBorrowRates) and task.venue == venue
        ]

    def borrow_tasks(self, venue: str, assets: Collection[str]) -> list[VenueTask]:
        """Return readings of the assets' borrow rates: early ones, and one of what they lack."""
        early = self.borrowing(venue)
        lacking = set(assets).difference(*(task.assets for task in early))
        rest = [ReadBorrowRates(venue, tuple(sorted(lacking)))] if lacking else []
        return [*early, *rest]
