"""Journals of older releases are read and carried over to the tables of this one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from services.engine.events import EngineHalted
from services.engine.journal import JournalError
from services.engine.journal_file import read_events
from services.engine.sqlite_journal import SqliteJournal
from services.engine.views import PositionStatus
from tests.support.engine_rig import EngineRig
from tests.support.journal_images import halted, write_journal
from tests.support.virtual_clock import VirtualClock

DUMP = Path(__file__).with_name("journal_version_1.sql")
"""Written by the release before the chain: one position closed, one open, a halt and its end."""


def first_version(path: Path) -> list[tuple[object, ...]]:
    """Make a journal of the first version and return its rows."""
    with closing(sqlite3.connect(path)) as made:
        made.executescript(DUMP.read_text())
        return made.execute("SELECT kind, body FROM journal ORDER BY sequence").fetchall()


async def test_rows_of_the_first_version_are_carried_over(tmp_path: Path) -> None:
    """Every row is there, in order, chained; no halt, and the next opening finds it whole."""
    path = tmp_path / "journal.db"
    before = first_version(path)
    await write_journal(path, (halted(1),))
    events = read_events(path)
    assert len(events) == len(before) + 1
    assert [type(event).__name__ for event in events[:-1]] == [kind for kind, _ in before]
    with closing(sqlite3.connect(path)) as made:
        after = made.execute("SELECT kind, body FROM journal ORDER BY sequence").fetchall()
    assert after[:-1] == before
    await write_journal(path, ())
    assert read_events(path) == events


async def test_positions_of_the_first_version_are_as_they_were(tmp_path: Path) -> None:
    """An engine on the carried-over journal knows the closed and the open position."""
    path = tmp_path / "journal.db"
    first_version(path)
    journal = SqliteJournal(path)
    await journal.open()
    rig = EngineRig(VirtualClock(lambda: False), journal)
    await rig.engine._book.load()
    statuses = sorted(view.status.value for view in rig.engine.positions())
    assert statuses == sorted([PositionStatus.OPEN.value, PositionStatus.CLOSED.value])
    await rig.close_rig()
    await journal.close()


async def test_a_migration_that_fails_leaves_the_old_journal(tmp_path: Path) -> None:
    """Rows that cannot be carried over stop the start and stay as they are."""
    path = tmp_path / "journal.db"
    before = first_version(path)
    with closing(sqlite3.connect(path)) as made, made:
        # In the way of the new table.
        made.execute("CREATE TABLE facts (name TEXT)")
    for _ in range(2):
        with pytest.raises(JournalError):
            await SqliteJournal(path).open()
    with closing(sqlite3.connect(path)) as made:
        rows = made.execute("SELECT kind, body FROM journal ORDER BY sequence").fetchall()
        assert rows == before
        assert made.execute("PRAGMA user_version").fetchone() == (0,)


async def test_an_older_copy_of_the_first_version_is_noticed(tmp_path: Path) -> None:
    """Whoever puts the file from before the migration back gets a halt."""
    path = tmp_path / "journal.db"
    first_version(path)
    copy = path.read_bytes()
    await write_journal(path, (halted(1),))
    path.write_bytes(copy)
    journal = SqliteJournal(path)
    await journal.open()
    last = (await journal.load())[-1]
    await journal.close()
    assert isinstance(last, EngineHalted)
    assert "ends before" in last.reason
