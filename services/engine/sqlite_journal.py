"""The journal in SQLite: WAL, synchronous FULL, one writer thread, group commit.

The thread takes whatever waits in the queue into one transaction, so that concurrent positions
share one fsync. Rows that nobody waits for are kept and written again when a write fails; rows
that somebody waits for are dropped then, since their caller was told and did nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from services.common.clock import Clock, SystemClock
from services.common.file_lock import lock_beside
from services.common.logs import get_logger
from services.engine import journal_schema as schema
from services.engine.events import EngineHalted, Event
from services.engine.journal import JournalError
from services.engine.journal_chain import (
    ChainHead,
    JournalRow,
    checked_rows,
    event_of,
    first_head,
    follow,
    row_of,
)
from services.engine.journal_mark import load_mark, loss_of, save_mark
from services.engine.journal_room import Reserve, ReserveFile, opens_exposure

_logger = get_logger(__name__)
_NO_ROOM: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
"""Primary codes of a write that found no room: the log's index fails as an I/O error."""


# Compared by identity: two appends of equal rows are two appends.
@dataclass(frozen=True, slots=True, eq=False)
class _Write:
    """Rows of one append; the writer thread sets the future when they are on the disk or lost."""

    rows: tuple[JournalRow, ...]
    opens: bool = False
    done: Future[None] | None = field(default=None)


class SqliteJournal:
    """A journal in one SQLite file; open it before use, close it after.

    One process at a time: the writer holds an exclusive lock on a file beside the database.
    """

    def __init__(
        self, path: Path, *, clock: Clock | None = None, reserve: Reserve | None = None
    ) -> None:
        self._path = path
        self._clock = clock or SystemClock()
        self._reserve = reserve or ReserveFile(path.with_name(f"{path.name}.reserve"))
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._kept: list[_Write] = []
        self._lock: int | None = None
        self._identity = ""
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """Number of this opening, above that of every one before; orders carry it.

        Milliseconds since 1970 or, where the clock was set back, one more than the last: so that a
        journal begun anew is not below the one that was lost.
        """
        return self._epoch

    async def open(self) -> None:
        """Create the file where it is missing and start the writer.

        A journal that is not the one that was here last, or lacks its newest rows, gets a halt as
        its next row. Raises `JournalError`, with reason JOURNAL_IN_USE where another process has
        it open.
        """
        try:
            connection = await asyncio.to_thread(self._create)
        except JournalError:
            self._unlock()
            raise
        except (sqlite3.Error, OSError) as error:
            self._unlock()
            raise JournalError(f"cannot open the journal {self._path}: {error}") from error
        self._thread = threading.Thread(
            target=self._run, args=(connection,), name="journal-writer", daemon=True
        )
        self._thread.start()

    async def close(self) -> None:
        """Write what is queued, stop the writer and let others open the file."""
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        self._unlock()

    async def append(self, events: Sequence[Event]) -> None:
        """Append durably; see `Journal.append`.

        While the disk is full, rows that open exposure are refused with reason JOURNAL_FULL.
        """
        done: Future[None] = Future()
        self._put(_Write(_rows(events), any(map(opens_exposure, events)), done))
        # A caller that gives up must not cancel the future the writer thread is going to set.
        await asyncio.shield(asyncio.wrap_future(done))

    def append_soon(self, events: Sequence[Event]) -> None:
        """Append without waiting; see `Journal.append_soon`."""
        self._put(_Write(_rows(events)))

    async def load(self) -> tuple[Event, ...]:
        """Read the whole journal; see `Journal.load`."""
        return await asyncio.to_thread(read_events, self._path)

    def _put(self, write: _Write) -> None:
        if self._thread is None:
            raise JournalError("the journal is not open")
        self._queue.put(write)

    def _create(self) -> sqlite3.Connection:
        """Open the file in full here: a writer that failed to start would let appends wait."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _lock(self._path)
        # Made in one thread and used in another, but never by both.
        connection = sqlite3.connect(
            self._path, isolation_level=None, timeout=5, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            # Without FULL a commit in WAL mode returns before the row is on the disk.
            connection.execute("PRAGMA synchronous=FULL")
            self._begin(connection, self._lock)
            self._path.chmod(0o600)
        except BaseException:
            connection.close()
            raise
        if not self._reserve.hold():
            _logger.warning("journal_reserve_missing", path=str(self._path))
        return connection

    def _begin(self, connection: sqlite3.Connection, lock: int) -> None:
        """Check, migrate and mark the file, and count this opening."""
        mark = load_mark(lock)
        # A lost journal goes on under its identity: the mark then still tells what is missing.
        taken_over = schema.prepare(connection, mark.identity or uuid.uuid4().hex)
        self._identity = schema.read_identity(connection)
        now = self._clock.now()
        self._epoch = _next_epoch(schema.read_fact(connection, "epoch"), now)
        schema.write_fact(connection, "epoch", str(self._epoch))
        loss = loss_of(connection, mark, self._identity, taken_over=taken_over)
        if loss:
            _logger.error("journal_lost_or_replaced", path=str(self._path), problem=loss)
            reason = f"the journal is not the one that was here last: {loss}; check the venues"
            _commit(connection, [row_of(EngineHalted(now, reason))])
        save_mark(lock, self._identity, schema.read_head(connection), durable=True)

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _run(self, connection: sqlite3.Connection) -> None:
        with contextlib.closing(connection):
            while True:
                batch, stopping = self._take()
                self._write(connection, batch)
                if stopping:
                    return

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

    def _write(self, connection: sqlite3.Connection, batch: list[_Write]) -> None:
        writes = self._kept + batch
        # Only an entry is worth the question whether the disk has room again.
        if any(write.opens for write in writes) and not self._reserve.hold():
            writes = _refuse_entries(writes)
        problem = self._try(connection, writes)
        if problem is not None and _lacks_room(problem) and self._reserve.is_held:
            _logger.error("journal_reserve_given_up", problem=str(problem))
            self._reserve.give_up()
            writes = _refuse_entries(writes)
            problem = self._try(connection, writes)
        self._kept = [] if problem is None else [write for write in writes if write.done is None]
        for write in writes:
            if write.done is None:
                continue
            if problem is None:
                write.done.set_result(None)
            else:
                write.done.set_exception(JournalError(f"the journal cannot be written: {problem}"))

    def _try(self, connection: sqlite3.Connection, writes: list[_Write]) -> Exception | None:
        rows = [row for write in writes for row in write.rows]
        try:
            if rows:
                head = _commit(connection, rows)
                self._mark(head)
        except Exception as error:
            return error
        return None

    def _mark(self, head: ChainHead) -> None:
        # The rows are durable already: a mark that stays behind only shows less of a later loss.
        with contextlib.suppress(OSError):
            if self._lock is not None:
                save_mark(self._lock, self._identity, head)


def read_events(path: Path) -> tuple[Event, ...]:
    """Return every event of a journal file, from outside the process that writes it too.

    Raises `JournalError` for a file or a row that cannot be read or is not as it was written.
    """
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=5)) as connection:
            start = first_head(schema.read_identity(connection))
            rows = connection.execute(schema.SELECT).fetchall()
        return tuple(event_of(row) for _, row in checked_rows(start, rows))
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise JournalError(f"cannot read the journal {path}: {error}") from error


def _lock(path: Path) -> int:
    # Two engines on one journal would send the same ids.
    try:
        return lock_beside(path)
    except BlockingIOError as error:
        raise JournalError(
            f"another process has the journal open: {path}", reason="JOURNAL_IN_USE"
        ) from error


def _next_epoch(last: str | None, now: datetime) -> int:
    return max(round(now.timestamp() * 1000), int(last or 0) + 1)


def _lacks_room(problem: Exception) -> bool:
    # The low byte is the primary code.
    code = getattr(problem, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in _NO_ROOM


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


def _commit(connection: sqlite3.Connection, rows: Sequence[JournalRow]) -> ChainHead:
    """Append rows durably and return the new head; on any error nothing was appended."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Read anew: after a failed write memory may think of rows that are not there.
        head = schema.read_head(connection)
        for row in rows:
            head = follow(head, row)
            connection.execute(schema.INSERT, (head.sequence, *row, head.digest))
        connection.execute("COMMIT")
    # Half a batch must not stay open: the next one would be written with it.
    except BaseException:
        # SQLite has rolled a transaction back itself where the disk failed.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return head


def _rows(events: Sequence[Event]) -> tuple[JournalRow, ...]:
    return tuple(row_of(event) for event in events)
