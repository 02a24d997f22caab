"""The tables of a journal in SQLite, and how a file of an older release is brought up to them.

`PRAGMA user_version` holds the version of the tables. Each migration takes a file one version up,
all of them in one transaction, so that a crash leaves the old file or the new one.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Final

from services.engine.journal import JournalError
from services.engine.journal_chain import ChainHead, JournalRow, first_head, follow
from services.engine.journal_parts import live_changes

# Version 1 is the journal without a chain; its files carry 0, as new files do.
_FIRST: Final = """
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
_CHAINED: Final = """
CREATE TABLE journal (
    sequence INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    position_id TEXT,
    request_id TEXT UNIQUE,
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL,
    digest BLOB NOT NULL
) STRICT
"""
_FACTS: Final = """
CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    digest BLOB NOT NULL
) STRICT, WITHOUT ROWID
"""
# Positions that have not ended: a start reads their rows before any other.
_LIVE: Final = "CREATE TABLE live (position_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID"
_OF_POSITIONS: Final = (
    "CREATE INDEX journal_of_positions ON journal (position_id) WHERE position_id IS NOT NULL"
)
# Commands have a request id: what is left is the engine's own state, a few rows a day.
_OF_ENGINE: Final = (
    "CREATE INDEX journal_of_engine ON journal (sequence)"
    " WHERE position_id IS NULL AND request_id IS NULL"
)
COLUMNS: Final = "sequence, at, position_id, request_id, kind, version, body, digest"
INSERT: Final = f"INSERT INTO journal ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - fixed columns
SELECT: Final = f"SELECT {COLUMNS} FROM journal ORDER BY sequence"  # noqa: S608 - fixed columns
ADD_LIVE: Final = "INSERT OR IGNORE INTO live VALUES (?)"
DROP_LIVE: Final = "DELETE FROM live WHERE position_id = ?"
_SELECT_LAST: Final = "SELECT sequence, digest FROM journal ORDER BY sequence DESC LIMIT 1"
CHECKED_AT_START_BYTES: Final = 4 * 1024 * 1024
"""Up to this size every page and index is checked at the start, afterwards where it is larger."""
_CHECKED_WHOLE_BYTES: Final = 64 * 1024 * 1024
"""Up to this size they are checked at all; the rows' chain always is."""


def prepare(connection: sqlite3.Connection, identity: str) -> bool:
    """Make the tables, or migrate them; return whether rows from before the chain were taken over.

    `identity` is given to a journal that has none. Raises JournalError for a file that is damaged
    or of a later release, sqlite3.Error for one that SQLite refuses.
    """
    if size_of(connection) <= CHECKED_AT_START_BYTES:
        check_pages(connection)
    version = _version(connection)
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"the journal has version {version} of its tables, this release knows {SCHEMA_VERSION}"
        )
    taken_over = version == 0 and _has_rows(connection)
    if version < SCHEMA_VERSION:
        connection.execute("BEGIN IMMEDIATE")
        try:
            _migrate(connection, version, identity)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    _check_tables(connection)
    return taken_over


def read_fact(connection: sqlite3.Connection, name: str) -> str | None:
    """Return what the journal says of itself; raise JournalError where it is damaged."""
    found = connection.execute("SELECT value, digest FROM facts WHERE name = ?", (name,)).fetchone()
    if found is None:
        return None
    if found[1] != _fact_digest(name, found[0]):
        raise JournalError(f"the journal's {name} is not as it was written")
    return str(found[0])


def write_fact(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Keep what the journal says of itself."""
    connection.execute(
        "INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", (name, value, _fact_digest(name, value))
    )


def read_identity(connection: sqlite3.Connection) -> str:
    """Return the identity of a journal; raises JournalError where it has none."""
    identity = read_fact(connection, "identity")
    if identity is None:
        raise JournalError("the journal has lost its identity")
    return identity


def read_head(connection: sqlite3.Connection) -> ChainHead:
    """Return the last row as it stands, unchecked."""
    found = connection.execute(_SELECT_LAST).fetchone()
    return first_head(read_identity(connection)) if found is None else ChainHead(*found)


def _migrate(connection: sqlite3.Connection, version: int, identity: str) -> None:
    for number, step in enumerate(_MIGRATIONS, start=1):
        if version < number:
            step(connection, identity)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _make_first(connection: sqlite3.Connection, identity: str) -> None:
    del identity
    connection.execute(_FIRST)


def _add_chain(connection: sqlite3.Connection, identity: str) -> None:
    """Number the rows anew and chain them as they stand: what they were nobody can tell."""
    connection.execute("ALTER TABLE journal RENAME TO journal_before")
    connection.execute(_CHAINED)
    connection.execute(_FACTS)
    write_fact(connection, "identity", identity)
    head = first_head(identity)
    rows = connection.execute(
        "SELECT at, position_id, request_id, kind, version, body FROM journal_before"
        " ORDER BY sequence"
    ).fetchall()
    for fields in rows:
        row = JournalRow(*fields)
        head = follow(head, row)
        connection.execute(INSERT, (head.sequence, *row, head.digest))
    connection.execute("DROP TABLE journal_before")


def _add_live(connection: sqlite3.Connection, identity: str) -> None:
    """Note which positions have not ended, and how to find their rows."""
    del identity
    for statement in (_LIVE, _OF_POSITIONS, _OF_ENGINE):
        connection.execute(statement)
    rows = connection.execute(
        "SELECT at, position_id, request_id, kind, version, body FROM journal"
        " WHERE kind IN ('EntryIntended', 'ExitResumed', 'PositionSettled') ORDER BY sequence"
    )
    note_live(connection, live_changes(JournalRow(*fields) for fields in rows))


def note_live(connection: sqlite3.Connection, changes: Mapping[str, bool]) -> None:
    """Note which positions began or go on, and which ended."""
    for position_id, is_live in changes.items():
        connection.execute(ADD_LIVE if is_live else DROP_LIVE, (position_id,))


_MIGRATIONS: Final[tuple[Callable[[sqlite3.Connection, str], None], ...]] = (
    _make_first,
    _add_chain,
    _add_live,
)
SCHEMA_VERSION: Final = len(_MIGRATIONS)


def size_of(connection: sqlite3.Connection) -> int:
    """Return the bytes of a journal's pages."""
    pages, size = (_one(connection, f"PRAGMA {name}") for name in ("page_count", "page_size"))
    return int(pages * size)


def check_pages(connection: sqlite3.Connection) -> None:
    """Check every page and index unless the file is too large for that; raise JournalError."""
    if size_of(connection) > _CHECKED_WHOLE_BYTES:
        return
    found = _one(connection, "PRAGMA integrity_check(1)")
    if found != "ok":
        raise JournalError(f"the journal is damaged: {found}")


def _check_tables(connection: sqlite3.Connection) -> None:
    """Refuse tables that are not ours to the letter: a lost UNIQUE would take commands twice."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as scratch:
        _migrate(scratch, 0, "")
        if _tables(connection) != _tables(scratch):
            raise JournalError("the journal is damaged: its tables are not as they were made")


def _tables(connection: sqlite3.Connection) -> Mapping[str, str]:
    return dict(
        connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite~_%' ESCAPE '~'"
        ).fetchall()
    )


def _version(connection: sqlite3.Connection) -> int:
    return int(_one(connection, "PRAGMA user_version"))


def _has_rows(connection: sqlite3.Connection) -> bool:
    if not _tables(connection):
        return False
    return bool(_one(connection, "SELECT count(*) FROM journal"))


def _one(connection: sqlite3.Connection, query: str) -> Any:
    return connection.execute(query).fetchone()[0]


def _fact_digest(name: str, value: str) -> bytes:
    return hashlib.sha256(f"{name}={value}".encode()).digest()
