"""The file of a journal: opened, checked, marked, appended to and closed. Blocking.

One process at a time holds the lock beside it; one thread at a time uses it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from services.common.clock import Clock
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
from services.engine.journal_mark import is_altered, load_mark, loss_of, save_mark, seal
from services.engine.journal_parts import live_changes

_logger = get_logger(__name__)


class JournalFile:
    """A journal in SQLite and the mark beside it."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._lock: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._identity = ""
        self.epoch = 0
        """Number of the last opening: see `_next_epoch`."""

    def open(self) -> None:
        """Create the file where it is missing, or check, migrate and mark it.

        A journal that is not the one that was here last, or lacks its newest rows, gets a halt as
        its next row. Raises JournalError, with reason JOURNAL_IN_USE where another process has it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _lock(self._path)
        try:
            self._open(self._lock)
        except JournalError:
            self._release()
            raise
        # Damaged names in the file make SQLite's own errors impossible to decode.
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            self._release()
            raise JournalError(f"cannot open the journal {self._path}: {error}") from error

    def commit(self, rows: Sequence[JournalRow]) -> None:
        """Append rows durably; on any error none of them was appended."""
        if self._connection is None:
            raise JournalError("the journal is not open")
        head = _commit(self._connection, rows)
        # The rows are durable: a mark that stays behind only shows less of a later loss.
        with contextlib.suppress(OSError):
            if self._lock is not None:
                save_mark(self._lock, self._identity, head)

    def close(self) -> None:
        """Close and seal the file and let others open it; closed already it stays so."""
        is_open = self._connection is not None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        # Without the seal the next start looks at the rows alone, as after a crash.
        with contextlib.suppress(OSError):
            if is_open and self._lock is not None:
                seal(self._lock, self._path)
        self._release()

    def _open(self, lock: int) -> None:
        # Before SQLite opens the file, which changes it.
        altered = is_altered(load_mark(lock), self._path)
        # Made in one thread and used in another, but never by both.
        connection = sqlite3.connect(
            self._path, isolation_level=None, timeout=5, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            # Without FULL a commit in WAL mode returns before the row is on the disk.
            connection.execute("PRAGMA synchronous=FULL")
            self._begin(connection, lock, altered=altered)
            self._path.chmod(0o600)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _begin(self, connection: sqlite3.Connection, lock: int, *, altered: bool) -> None:
        mark = load_mark(lock)
        # A lost journal goes on under its identity: the mark then still tells what is missing.
        taken_over = schema.prepare(connection, mark.identity or uuid.uuid4().hex)
        self._identity = schema.read_identity(connection)
        now = self._clock.now()
        self.epoch = _next_epoch(schema.read_fact(connection, "epoch"), now)
        schema.write_fact(connection, "epoch", str(self.epoch))
        loss = loss_of(connection, mark, self._identity, taken_over=taken_over)
        if altered and not loss:
            loss = "its file was changed since it was closed"
        if loss:
            _logger.error("journal_lost_or_replaced", path=str(self._path), problem=loss)
            reason = f"the journal is not the one that was here last: {loss}; check the venues"
            _commit(connection, [row_of(EngineHalted(now, reason))])
        save_mark(lock, self._identity, schema.read_head(connection), durable=True)

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def read_events(path: Path) -> tuple[Event, ...]:
    """Return every event of a journal file, from outside the process that writes it too.

    Raises `JournalError` for a file or a row that cannot be read or is not as it was written.
    """
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=5)) as connection:
            return events_in(connection)
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise JournalError(f"cannot read the journal {path}: {error}") from error


def events_in(connection: sqlite3.Connection) -> tuple[Event, ...]:
    """Return every event of an open journal.

    Raises JournalError, sqlite3.Error, ValueError or TypeError for what is not as it was written.
    """
    start = first_head(schema.read_identity(connection))
    rows = connection.execute(schema.SELECT).fetchall()
    return tuple(event_of(row) for _, row in checked_rows(start, rows))


def _lock(path: Path) -> int:
    # Two engines on one journal would send the same ids.
    try:
        return lock_beside(path)
    except BlockingIOError as error:
        raise JournalError(
            f"another process has the journal open: {path}", reason="JOURNAL_IN_USE"
        ) from error
    except OSError as error:
        raise JournalError(f"cannot open the journal {path}: {error}") from error


def _next_epoch(last: str | None, now: datetime) -> int:
    """Return milliseconds since 1970 or, where the clock was set back, one more than the last.

    So that a journal begun anew is not below the one that was lost.
    """
    return max(round(now.timestamp() * 1000), int(last or 0) + 1)


def _commit(connection: sqlite3.Connection, rows: Sequence[JournalRow]) -> ChainHead:
    """Append rows durably and return the new head; on any error nothing was appended."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Read anew: after a failed write memory may think of rows that are not there.
        head = schema.read_head(connection)
        for row in rows:
            head = follow(head, row)
            connection.execute(schema.INSERT, (head.sequence, *row, head.digest))
        schema.note_live(connection, live_changes(rows))
        connection.execute("COMMIT")
    # Half a batch must not stay open: the next one would be written with it.
    except BaseException:
        # SQLite has rolled a transaction back itself where the disk failed.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return head
