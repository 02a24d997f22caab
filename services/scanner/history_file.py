"""The file of held histories: one SQLite database, one process at a time.

A row for each perpetual: its settlements as two columns of numbers, the spans known of it, and a
digest over all of that. A file that is not ours or of a later version is refused; one of ours that
is damaged is set aside, because the venues still have what it held and a wrong figure costs more
than reading it again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import numpy as np

from services.common.errors import FatalError
from services.common.file_lock import lock_beside
from services.common.logs import get_logger
from services.scanner.funding import Settlements
from services.scanner.history_store import HeldHistory
from services.scanner.spans import Span

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SCHEMA_VERSION: Final = 1
# "osqh": tells our file from any other SQLite database.
_APPLICATION_ID: Final = 0x6F737168
_SCHEMA: Final = """
CREATE TABLE histories (
    venue TEXT NOT NULL,
    symbol TEXT NOT NULL,
    spans BLOB NOT NULL,
    minutes BLOB NOT NULL,
    rates BLOB NOT NULL,
    digest INTEGER NOT NULL,
    PRIMARY KEY (venue, symbol)
) STRICT
"""
_WRITE: Final = "INSERT OR REPLACE INTO histories VALUES (?, ?, ?, ?, ?, ?)"
_REMOVE: Final = "DELETE FROM histories WHERE venue = ? AND symbol = ?"
# Written the same on every machine: little-endian, eight bytes a number.
_INTEGER: Final = np.dtype("<i8")
_FLOAT: Final = np.dtype("<f8")
_log = get_logger(__name__)


class DamagedHistoryError(Exception):
    """A row that is not what was written."""


class HistoryFile:
    """Blocking; call it off the event loop. Writes from several threads go one after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._lock_handle: int | None = None

    def open(self) -> list[HeldHistory]:
        """Open or create the file and return all it holds; a damaged one is set aside first.

        Raises FatalError when another process has it (HISTORY_IN_USE), or when it is another
        program's, of a later version or cannot be opened (HISTORY_UNUSABLE).
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock_handle = self._locked()
            self._connection = self._connected()
            try:
                return _read(self._connection)
            except (DamagedHistoryError, sqlite3.DatabaseError) as error:
                # Not the same as damaged: a full or failing disk says nothing of what is held.
                if isinstance(error, sqlite3.OperationalError):
                    raise
                self._set_aside(error)
                self._connection = self._connected()
                return []
        except (sqlite3.Error, OSError, FatalError) as error:
            self.close()
            if isinstance(error, FatalError):
                raise
            if isinstance(error, sqlite3.OperationalError | OSError):
                remedy = "make room on its disk, or give file and folder to this user"
                raise _unusable(self._path, str(error), remedy) from error
            raise _unusable(self._path, str(error)) from error

    def write(self, histories: Iterable[HeldHistory]) -> None:
        """Put histories in the place of what is held of their symbols, all of them or none.

        Raises sqlite3.Error when they cannot be written, and when the file is closed.
        """
        kept, gone = [], []
        for each in histories:
            if each.is_empty:
                gone.append((each.venue, each.symbol))
            else:
                kept.append(_encoded(each))
        with self._turn:
            if self._connection is None:
                raise sqlite3.ProgrammingError("the history file is closed")
            # One transaction: a span must never be known without its rows.
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany(_REMOVE, gone)
                self._connection.executemany(_WRITE, kept)

    def close(self) -> None:
        """Close the file and let others open it."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if self._lock_handle is not None:
                os.close(self._lock_handle)
                self._lock_handle = None

    def _locked(self) -> int:
        try:
            return lock_beside(self._path)
        except BlockingIOError as error:
            raise FatalError(
                f"another process has the history file {self._path} open", reason="HISTORY_IN_USE"
            ) from error

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, self._path)
            self._path.chmod(0o600)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_aside(self, error: Exception) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        aside = self._path.with_name(f"{self._path.name}.damaged")
        self._path.replace(aside)
        # Who looks into the file keeps its log alive: it belongs to the file it was written for.
        with suppress(FileNotFoundError):
            self._beside("-wal").replace(aside.with_name(f"{aside.name}-wal"))
        self._beside("-shm").unlink(missing_ok=True)
        _log.error("history_set_aside", path=str(aside), problem=str(error))

    def _beside(self, suffix: str) -> Path:
        return self._path.with_name(f"{self._path.name}{suffix}")


def _unusable(path: Path, problem: str, remedy: str = "move it away or name another") -> FatalError:
    text = f"the history file {path} is unusable: {problem}; {remedy}"
    return FatalError(text, reason="HISTORY_UNUSABLE")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    has_tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] > 0
    if not has_tables and not owner:
        _create(connection)
    elif owner != _APPLICATION_ID:
        raise _unusable(path, "another program wrote it")
    elif version != SCHEMA_VERSION:
        raise _unusable(path, f"its version is {version}, this program knows {SCHEMA_VERSION}")
    connection.execute("PRAGMA journal_mode = WAL")
    # A power cut may cost the last seconds, never the file; the venues have them still.
    connection.execute("PRAGMA synchronous = NORMAL")


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute(_SCHEMA)
    connection.execute("COMMIT")


def _read(connection: sqlite3.Connection) -> list[HeldHistory]:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise DamagedHistoryError(str(found))
    return [_decoded(*row) for row in connection.execute("SELECT * FROM histories")]


def _encoded(history: HeldHistory) -> tuple[str, str, bytes, bytes, bytes, int]:
    edges = [(span.start_ms, span.end_ms) for span in history.spans]
    spans = np.array(edges, dtype=_INTEGER).tobytes()
    minutes = history.rows.minutes.astype(_INTEGER).tobytes()
    rates = history.rows.rates.astype(_FLOAT).tobytes()
    digest = _digest(history.venue, history.symbol, spans, minutes, rates)
    return history.venue, history.symbol, spans, minutes, rates, digest


def _decoded(
    venue: str, symbol: str, spans: bytes, minutes: bytes, rates: bytes, digest: int
) -> HeldHistory:
    if digest != _digest(venue, symbol, spans, minutes, rates):
        raise DamagedHistoryError(f"the row of {venue} {symbol} is not what was written")
    edges = np.frombuffer(spans, dtype=_INTEGER).tolist()
    rows = Settlements(
        np.frombuffer(minutes, dtype=_INTEGER).astype(np.int64, copy=False),
        np.frombuffer(rates, dtype=_FLOAT).astype(np.float64, copy=False),
    )
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return HeldHistory(venue, symbol, tuple(Span(*pair) for pair in pairs), rows)


def _digest(venue: str, symbol: str, *parts: bytes) -> int:
    """Return a checksum over everything of a row, lengths included, so that nothing can shift."""
    names = (venue.encode(), symbol.encode())
    value = 0
    for part in (*names, *parts):
        value = zlib.crc32(part, zlib.crc32(len(part).to_bytes(8, "little"), value))
    return value
