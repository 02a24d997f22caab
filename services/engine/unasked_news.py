"""What order streams tell of positions that no drive works: handed on, or kept while early."""

from __future__ import annotations

from collections import deque
from typing import Final

from services.engine.book import PositionBook
from services.engine.leg_gone import ForcedFill
from services.engine.news_desk import NewsDesk
from services.engine.owned_tasks import OwnedTasks
from services.engine.ports import OrderEvent

_MOST_KEPT: Final = 1000


class UnaskedNews:
    """Passes late and forced fills on to the desk, each in a task of its own.

    A late fill of a position that is not known yet, since the journal is still being read, waits
    for `replay`; of more than a thousand the oldest are left to the comparison with the venues.
    """

    def __init__(self, desk: NewsDesk, book: PositionBook, tasks: OwnedTasks) -> None:
        self._desk = desk
        self._book = book
        self._tasks = tasks
        self._early: deque[OrderEvent] = deque(maxlen=_MOST_KEPT)

    def hear_late(self, event: OrderEvent) -> None:
        """Take an event of an order that no drive follows."""
        if not self._book.is_whole:
            self._early.append(event)
        late = self._desk.find_late(event)
        if late is not None:
            self._tasks.spawn(self._desk.late_fill(late), "late-fill")

    def hear_forced(self, fill: ForcedFill) -> None:
        """Take a forced fill; only positions that are on have legs to lose."""
        self._tasks.spawn(self._desk.forced_fill(fill), "forced-fill")

    def replay(self) -> None:
        """Hear what came early again, now that every position is known; twice changes nothing."""
        while self._early:
            self.hear_late(self._early.popleft())
