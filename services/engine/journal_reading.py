"""Reading a journal in SQLite in parts, from connections of their own. Blocking."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeVar

from services.engine import journal_schema as schema
from services.engine.events import CommandAccepted
from services.engine.journal import JournalError
from services.engine.journal_chain import (
    ChainBrokenError,
    ChainHead,
    checked_rows,
    event_of,
    first_head,
)
from services.engine.journal_file import events_in
from services.engine.journal_parts import (
    PAGE_ROWS,
    TOLD_KINDS,
    JournalPage,
    OpenPart,
    event_beside,
)

_T = TypeVar("_T")
_TAIL_ROWS: Final = 64
_ROWS = ", ".join(f"r.{name}" for name in schema.COLUMNS.split(", "))
# A row and the digest of the one before: a row is checked without all those before it.
_BESIDE: Final = (
    f"SELECT {_ROWS}, p.digest FROM journal r"  # noqa: S608 - fixed columns
    " LEFT JOIN journal p ON p.sequence = r.sequence - 1"
)
_TOLD: Final = ", ".join(f"'{kind}'" for kind in TOLD_KINDS)
# Told how: without figures on its tables SQLite would go through every row of the journal.
_OF_LIVE: Final = (
    "SELECT o.sequence FROM live l CROSS JOIN journal o INDEXED BY journal_of_positions"  # noqa: S608 - fixed words
    f" ON o.position_id = l.position_id WHERE o.kind NOT IN ({_TOLD})"
)
_OF_ENGINE: Final = (
    "SELECT sequence FROM journal INDEXED BY journal_of_engine"
    " WHERE position_id IS NULL AND request_id IS NULL"
)
_OPEN: Final = f"{_BESIDE} WHERE r.sequence IN ({_OF_LIVE} UNION {_OF_ENGINE}) ORDER BY r.sequence"
_COMMAND: Final = f"{_BESIDE} WHERE r.request_id = ?"
_TAIL: Final = f"{_BESIDE} WHERE r.sequence > ? ORDER BY r.sequence"
_PAGE: Final = (
    f"SELECT {schema.COLUMNS} FROM journal"  # noqa: S608 - fixed columns
    " WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?"
)


def read_open(path: Path, whole_rows: int) -> OpenPart:
    """Return what exits need, or all events where there are no more than `whole_rows`.

    The newest rows are checked too, whatever they are of. Raises JournalError.
    """
    return _reading(path, lambda connection: _open_part(connection, whole_rows))


def read_page(path: Path, after: ChainHead | None, upto: int) -> JournalPage:
    """Return the next rows after a head, the first ones after None; raises JournalError."""
    return _reading(path, lambda connection: _page(connection, after, upto))


def find_command(path: Path, request_id: str) -> CommandAccepted | None:
    """Return the command that was taken under an id; raises JournalError."""

    def find(connection: sqlite3.Connection) -> CommandAccepted | None:
        found = connection.execute(_COMMAND, (request_id,)).fetchone()
        event = None if found is None else event_beside(found[:-1], _before(connection, found))
        return event if isinstance(event, CommandAccepted) else None

    return _reading(path, find)


def _reading(path: Path, read: Callable[[sqlite3.Connection], _T]) -> _T:
    try:
        with closing(sqlite3.connect(path, timeout=5, isolation_level=None)) as connection:
            # One picture for all statements, whatever is written meanwhile.
            connection.execute("BEGIN")
            return read(connection)
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise JournalError(f"cannot read the journal {path}: {error}") from error


def _open_part(connection: sqlite3.Connection, whole_rows: int) -> OpenPart:
    head = schema.read_head(connection)
    if head.sequence <= whole_rows:
        return OpenPart(events_in(connection), head.sequence, is_whole=True)
    newest = connection.execute(_TAIL, (head.sequence - _TAIL_ROWS,)).fetchall()
    for found in newest:
        event_beside(found[:-1], _before(connection, found))
    for (earlier, *_), (later, *_) in pairwise(newest):
        if later != earlier + 1:
            raise ChainBrokenError(f"row {earlier + 1} is not as it was written")
    rows = connection.execute(_OPEN)
    events = tuple(event_beside(found[:-1], _before(connection, found)) for found in rows)
    return OpenPart(events, head.sequence, is_whole=False)


def _page(connection: sqlite3.Connection, after: ChainHead | None, upto: int) -> JournalPage:
    if after is None:
        if schema.size_of(connection) > schema.CHECKED_AT_START_BYTES:
            schema.check_pages(connection)
        after = first_head(schema.read_identity(connection))
    rows = connection.execute(_PAGE, (after.sequence, upto, PAGE_ROWS))
    events = []
    for head, row in checked_rows(after, rows):
        after = head
        events.append(event_of(row))
    if not events and after.sequence < upto:
        raise ChainBrokenError(f"row {after.sequence + 1} is not as it was written")
    return JournalPage(tuple(events), after)


def _before(connection: sqlite3.Connection, found: tuple[Any, ...]) -> bytes:
    """Return the digest that a row was written after."""
    if found[0] == 1:
        return first_head(schema.read_identity(connection)).digest
    if found[-1] is None:
        raise ChainBrokenError(f"row {found[0] - 1} is not as it was written")
    return bytes(found[-1])
