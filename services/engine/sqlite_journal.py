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
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from services.common.file_lock import lock_beside
from services.engine.event_codec import VERSION, decode_event, encode_event
from services.engine.events import CommandAccepted, Event
from services.engine.journal import JournalError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS journal (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    position_id TEXT,
    request_id TEXT UNIQUE,
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT
"""
_INSERT = (
    "INSERT INTO journal (at, position_id, request_id, kind, version, body)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)
_Row = tuple[str, str | None, str | None, str, int, str]


# Compared by identity: two appends of equal rows are two appends.
@dataclass(frozen=True, slots=True, eq=False)
class _Write:
    """Rows of one append; the writer thread sets the future when they are on the disk or lost."""

    rows: tuple[_Row, ...]
    done: Future[None] | None = field(default=None)


class SqliteJournal:
    """A journal in one SQLite file; open it before use, close it after.

    One process at a time: the writer holds an exclusive lock on a file beside the database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._kept: list[_Write] = []
        self._lock: int | None = None

    async def open(self) -> None:
        """Create the file where it is missing and start the writer.

        Raises `JournalError`, with reason JOURNAL_IN_USE where another process has it open.
        """
        try:
            connection = await asyncio.to_thread(self._create)
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
        """Append durably; see `Journal.append`."""
        done: Future[None] = Future()
        self._put(_Write(_rows(events), done))
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
            connection.execute(_SCHEMA)
            self._path.chmod(0o600)
        except BaseException:
            connection.close()
            raise
        return connection

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
        try:
            _commit(connection, [row for write in writes for row in write.rows])
        # Whatever it is, the thread must live: without it every order waits for ever.
        except Exception as error:
            self._kept = [write for write in writes if write.done is None]
            failure = JournalError(f"the journal cannot be written: {error}")
            for write in writes:
                if write.done is not None:
                    write.done.set_exception(failure)
            return
        self._kept = []
        for write in writes:
            if write.done is not None:
                write.done.set_result(None)


def read_events(path: Path) -> tuple[Event, ...]:
    """Return every event of a journal file, from outside the process that writes it too.

    Raises `JournalError` for a file or a row that cannot be read.
    """
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=5)) as connection:
            rows = connection.execute(
                "SELECT kind, version, body FROM journal ORDER BY sequence"
            ).fetchall()
        return tuple(decode_event(kind, version, body) for kind, version, body in rows)
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


def _commit(connection: sqlite3.Connection, rows: list[_Row]) -> None:
    if not rows:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany(_INSERT, rows)
        connection.execute("COMMIT")
    # Half a batch must not stay open: the next one would be written with it.
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _rows(events: Sequence[Event]) -> tuple[_Row, ...]:
    rows: list[_Row] = []
    for event in events:
        kind, body = encode_event(event)
        request_id = event.request_id if isinstance(event, CommandAccepted) else None
        position_id = getattr(event, "position_id", None)
        rows.append((event.at.isoformat(), position_id, request_id, kind, VERSION, body))
    return tuple(rows)
