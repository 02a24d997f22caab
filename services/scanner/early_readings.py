"""What the last scan asked of single instruments, asked by the next one at its start.

A shortlist changes little from scan to scan, and its order books and details are most of the calls
of a warm scan. Begun beside the bulk readings they fill the time in which a venue would wait for
us. What turns out not to be needed is not used, and not missed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.scanner.shortlist import leg_tasks
from services.scanner.tasks import ReadBorrowRates, VenueTask

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from services.scanner.instruments import InstrumentKey
    from services.scanner.task_runner import TaskEnd
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
    """Readings of one scan begun before anybody knew whether they are needed.

    Mutable: filled by the batch that carries them out, read by whoever finds a need of them.
    """

    def __init__(self, tasks: Iterable[VenueTask]) -> None:
        loop = asyncio.get_running_loop()
        self._ends: dict[VenueTask, asyncio.Future[TaskEnd[VenueTask, Reading]]] = {
            task: loop.create_future() for task in tasks
        }

    @property
    def tasks(self) -> Sequence[VenueTask]:
        """What is read early."""
        return tuple(self._ends)

    def take(self, end: TaskEnd[VenueTask, Reading]) -> None:
        """Keep how one of them ended."""
        self._ends[end.task].set_result(end)

    def holds(self, task: VenueTask) -> bool:
        """Whether a task is among them."""
        return task in self._ends

    async def ends(self, tasks: Iterable[VenueTask]) -> list[TaskEnd[VenueTask, Reading]]:
        """Return how those of the tasks ended that are among them, once each has."""
        return [await self._ends[task] for task in tasks if task in self._ends]

    def borrow_tasks(self, venue: str, assets: Collection[str]) -> list[VenueTask]:
        """Return readings of the assets' borrow rates: the early one, and one of what it lacks."""
        early = [
            task for task in self._ends if isinstance(task, ReadBorrowRates) and task.venue == venue
        ]
        lacking = set(assets).difference(*(task.assets for task in early))
        rest = [ReadBorrowRates(venue, tuple(sorted(lacking)))] if lacking else []
        return [*early, *rest]
