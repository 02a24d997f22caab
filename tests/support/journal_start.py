"""An engine's start on a journal, as far as its book."""

from __future__ import annotations

import asyncio

from services.common.clock import SystemClock
from services.engine.book import PositionBook
from services.engine.halt_desk import HaltDesk
from services.engine.history_desk import HistoryDesk
from services.engine.postgres_journal import PostgresJournal
from services.engine.sqlite_journal import SqliteJournal
from tests.support.engine_rig import Recorder


class _NoWait(SystemClock):
    """A clock that nobody waits for."""

    async def sleep(self, seconds: float) -> None:
        """Give way once."""
        await asyncio.sleep(0)


class Start:
    """An engine's start on a journal as far as its book; `taken_up` is what came too late."""

    def __init__(self, journal: SqliteJournal | PostgresJournal) -> None:
        self.clock = SystemClock()
        recorder = Recorder()
        self.book = PositionBook(journal, recorder, recorder, self.clock, parts=journal)
        self.halts = HaltDesk(self.book, self.clock, None)
        self.desk = HistoryDesk(self.book, journal, self.halts, _NoWait())
        self.taken_up: list[str] = []
        self.was_whole = False

    async def read_rest(self) -> None:
        """Read the rest."""
        await self.desk.read_rest(self.taken_up.append, self._note_whole, lambda: None)

    def _note_whole(self) -> None:
        self.was_whole = True
