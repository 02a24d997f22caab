"""The journal in SQLite: WAL, synchronous FULL, one writer thread, group commit.

The thread takes whatever waits in the queue into one transaction, so that concurrent positions
share one fsync. Rows that nobody waits for are kept and written again when a write fails; rows
that somebody waits for are dropped then, since their caller was told and did nothing.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from services.common.clock import Clock, SystemClock
from services.common.logs import get_logger
from services.common.room_reserve import Reserve, ReserveFile, lacks_room
from services.engine.afterwards import Afterwards
from services.engine.events import CommandAccepted, Event
from services.engine.journal import JournalError
from services.engine.journal_chain import ChainHead, JournalRow, row_of
from services.engine.journal_file import JournalFile, read_events
from services.engine.journal_parts import WHOLE_ROWS, JournalPage, OpenPart
from services.engine.journal_reading import find_command, read_open, read_page
from services.engine.journal_room import opens_exposure

_logger = get_logger(__name__)


# Compared by identity: two appends of equal rows are two appends.
@dataclass(frozen=True, slots=True, eq=False)
class _Write:
    """Rows of one append; the writer thread sets the future when they are on the disk or lost."""

    rows: tuple[JournalRow, ...]
    opens: bool = False
    done: Future[None] | None = field(default=None)


class SqliteJournal:
    """A journal in one SQLite file; open it before use, close it after.

    One process at a time: an exclusive lock is held on a file beside the database.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock | None = None,
        reserve: Reserve | None = None,
        whole_rows: int = WHOLE_ROWS,
    ) -> None:
        self._path = path
        self._whole_rows = whole_rows
        self._file = JournalFile(path, clock or SystemClock())
        self._reserve = reserve or ReserveFile(path.with_name(f"{path.name}.reserve"))
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._kept: list[_Write] = []
        self._soon: list[Event] = []
        self._afterwards = Afterwards()

    @property
    def epoch(self) -> int:
        """Number of this opening, above that of every one before; orders carry it."""
        return self._file.epoch

    async def open(self) -> None:
        """Create the file where it is missing and start the writer; see `JournalFile.open`."""
        # In full here: a writer that failed to start would let appends wait.
        await asyncio.to_thread(self._open)
        if not self._reserve.hold():
            _logger.warning("journal_reserve_missing", path=str(self._path))
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Write what is queued, stop the writer and let others open the file."""
        if self._thread is not None:
            self._pass_on()
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    async def append(self, events: Sequence[Event]) -> None:
        """Append durably; see `Journal.append`.

        While the disk is full, rows that open exposure are refused with reason JOURNAL_FULL.
        """
        done: Future[None] = Future()
        self._pass_on()
        self._put(_Write(_rows(events), any(map(opens_exposure, events)), done))
        # A caller that gives up must not cancel the future the writer thread is going to set.
        await asyncio.shield(asyncio.wrap_future(done))

    def append_soon(self, events: Sequence[Event]) -> None:
        """Append without waiting; see `Journal.append_soon`.

        Encoded and written a moment later, or before the next durable rows: neither the loop nor
        the thread works on them while the order that follows from them has not left.
        """
        if self._thread is None:
            raise JournalError("the journal is not open")
        self._soon.extend(events)
        self._afterwards.do(self._pass_on)

    async def load(self) -> tuple[Event, ...]:
        """Read the whole journal; see `Journal.load`."""
        return await asyncio.to_thread(read_events, self._path)

    async def load_open(self) -> OpenPart:
        """Read what exits need; see `JournalParts.load_open`."""
        return await asyncio.to_thread(read_open, self._path, self._whole_rows)

    async def load_page(self, after: ChainHead | None, upto: int) -> JournalPage:
        """Read on; see `JournalParts.load_page`."""
        return await asyncio.to_thread(read_page, self._path, after, upto)

    async def find_command(self, request_id: str) -> CommandAccepted | None:
        """Look a command up; see `JournalParts.find_command`."""
        return await asyncio.to_thread(find_command, self._path, request_id)

    def _open(self) -> None:
        """Open the file, and where the disk is full in the room that the last life kept."""
        try:
            self._file.open()
        except JournalError as error:
            if not isinstance(error.__cause__, Exception) or not lacks_room(error.__cause__):
                raise
            # A start that died of it would leave what is open to nobody.
            _logger.error("journal_reserve_given_up", problem=error.message)
            self._reserve.give_up()
            self._file.open()

    def _pass_on(self) -> None:
        # Empty where durable rows took them along, and once the journal is closed.
        if self._soon:
            soon, self._soon = self._soon, []
            self._put(_Write(_rows(soon)))

    def _put(self, write: _Write) -> None:
        if self._thread is None:
            raise JournalError("the journal is not open")
        self._queue.put(write)

    def _run(self) -> None:
        try:
            stopping = False
            while not stopping:
                batch, stopping = self._take()
                self._write(batch)
        finally:
            self._file.close()

    def _take(self) -> tuple[list[_Write], bool]:
        """Return everything that waits, at least one; true when the end was asked for."""
        # Blocks in its own thread, and then takes all that came meanwhile: one fsync for all of
        # them.
        batch: list[_Write] = []
        item = self._queue.get()
        while item is not None:
            batch.append(item)
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _write(self, batch: list[_Write]) -> None:
        writes = self._kept + batch
        # Only an entry is worth the question whether the disk has room again.
        if any(write.opens for write in writes) and not self._reserve.hold():
            writes = _refuse_entries(writes)
        problem = self._try(writes)
        if problem is not None and lacks_room(problem) and self._reserve.is_held:
            _logger.error("journal_reserve_given_up", problem=str(problem))
            self._reserve.give_up()
            writes = _refuse_entries(writes)
            problem = self._try(writes)
        self._kept = []
        if isinstance(problem, sqlite3.IntegrityError):
            self._write_singly(writes)
        else:
            self._tell(writes, problem)

    def _write_singly(self, writes: list[_Write]) -> None:
        """Write one after the other: a command that was taken before fails alone."""
        for index, write in enumerate(writes):
            problem = self._try([write])
            if problem is not None and not isinstance(problem, sqlite3.IntegrityError):
                # Rows keep their order: none passes one that must be tried again.
                self._tell(writes[index:], problem)
                return
            self._tell([write], problem)

    def _tell(self, writes: list[_Write], problem: Exception | None) -> None:
        """Tell whoever waits, and keep what nobody waits for until it can be written."""
        for write in writes:
            if write.done is None:
                self._kept += [] if problem is None else [write]
            elif problem is None:
                write.done.set_result(None)
            else:
                error = JournalError(f"the journal cannot be written: {problem}")
                write.done.set_exception(error)

    def _try(self, writes: list[_Write]) -> Exception | None:
        rows = [row for write in writes for row in write.rows]
        try:
            if rows:
                self._file.commit(rows)
        except Exception as error:
            return error
        return None


def _refuse_entries(writes: list[_Write]) -> list[_Write]:
    """Tell those who would open exposure that there is no room; return the others."""
    left = []
    for write in writes:
        if write.opens and write.done is not None:
            write.done.set_exception(
                JournalError("the disk is full: no entry is journaled", reason="JOURNAL_FULL")
            )
        else:
            left.append(write)
    return left


def _rows(events: Sequence[Event]) -> tuple[JournalRow, ...]:
    return tuple(row_of(event) for event in events)
