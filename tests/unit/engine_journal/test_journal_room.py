"""A full disk stops entries and nothing else: the reserve makes room for the rows of exits."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.common.room_reserve import ReserveFile
from services.engine import events as ev
from services.engine import journal_schema
from services.engine.journal import JournalError
from services.engine.journal_room import opens_exposure
from services.engine.orders import OrderClass
from services.engine.sqlite_journal import SqliteJournal
from tests.support.journal_images import halted, order_intent


class FullDisk:
    """A reserve on a disk without room: SQLite may not add pages until it is given up."""

    def __init__(self) -> None:
        self.journal: SqliteJournal | None = None
        self.is_held = False
        self.has_room = True

    def hold(self) -> bool:
        """Take the room where there is some."""
        self.is_held = self.is_held or self.has_room
        return self.is_held

    def fill(self) -> None:
        """Leave no page to anybody."""
        self.has_room = False
        # Below what there is SQLite takes the present size.
        self._limit(1)

    def give_up(self) -> None:
        """Let the journal grow again."""
        self.is_held = False
        self._limit(1_000_000)

    def _limit(self, pages: int) -> None:
        assert self.journal is not None
        connection = self.journal._file._connection
        assert connection is not None
        connection.execute(f"PRAGMA max_page_count = {pages}")


def order(order_class: OrderClass, number: int = 1) -> ev.OrderIntended:
    """Return the intent of an order; its row fills pages."""
    return order_intent(order_class, number, padding=50_000)


@pytest.fixture
def disk() -> FullDisk:
    """Give a disk that has room."""
    return FullDisk()


@pytest.fixture
async def journal(tmp_path: Path, disk: FullDisk) -> AsyncIterator[SqliteJournal]:
    """Give an open journal on the disk."""
    made = SqliteJournal(tmp_path / "journal.db", reserve=disk)
    disk.journal = made
    await made.open()
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("order_class", "opens"),
    [
        (OrderClass.ENTRY, True),
        (OrderClass.HEDGE, False),
        (OrderClass.UNWIND, False),
        (OrderClass.EXIT, False),
    ],
)
def test_only_entries_open_exposure(order_class: OrderClass, opens: bool) -> None:
    """A hedge completes what is open; it must never wait for a disk."""
    assert opens_exposure(order(order_class)) is opens
    assert not opens_exposure(halted(1))


async def test_on_a_full_disk_exits_are_journaled_and_entries_refused(
    journal: SqliteJournal, disk: FullDisk
) -> None:
    """The first write that finds no room gives the reserve up and is written again."""
    disk.fill()
    await journal.append([order(OrderClass.EXIT)])
    assert not disk.is_held
    with pytest.raises(JournalError) as refused:
        await journal.append([order(OrderClass.ENTRY, 2)])
    assert refused.value.reason == "JOURNAL_FULL"
    await journal.append([order(OrderClass.HEDGE, 3)])
    assert len(await journal.load()) == 2


async def test_entries_are_taken_again_when_there_is_room(
    journal: SqliteJournal, disk: FullDisk
) -> None:
    """The reserve is made anew before the next entry."""
    disk.fill()
    with pytest.raises(JournalError):
        await journal.append([order(OrderClass.ENTRY)])
    disk.has_room = True
    await journal.append([order(OrderClass.ENTRY)])
    assert disk.is_held
    assert len(await journal.load()) == 1


async def test_rows_nobody_waits_for_follow_on_the_reserve(
    journal: SqliteJournal, disk: FullDisk
) -> None:
    """What was told of an order is kept over the full disk, before what came later."""
    disk.fill()
    journal.append_soon([halted(1)])
    await journal.append([order(OrderClass.EXIT)])
    first, second = await journal.load()
    assert (first, type(second)) == (halted(1), ev.OrderIntended)


async def test_a_start_on_a_full_disk_takes_the_reserve_of_the_last_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions that are open must not be left to nobody; without a reserve the start says so."""
    path, kept = tmp_path / "journal.db", tmp_path / "kept"
    write_fact = journal_schema.write_fact
    is_full = [kept]

    def write(connection: sqlite3.Connection, name: str, value: str) -> None:
        if any(taken.exists() for taken in is_full):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        write_fact(connection, name, value)

    first = SqliteJournal(path, reserve=ReserveFile(kept, 4096))
    await first.open()
    await first.append([order(OrderClass.HEDGE)])
    await first.close()
    monkeypatch.setattr(journal_schema, "write_fact", write)
    second = SqliteJournal(path, reserve=ReserveFile(kept, 4096))
    await second.open()
    await second.append([order(OrderClass.EXIT, 2)])
    # Nothing was lost, and the try that failed has not made it look so.
    assert [type(event) for event in await second.load()] == [ev.OrderIntended] * 2
    await second.close()
    is_full.append(path)
    with pytest.raises(JournalError, match="disk is full"):
        await SqliteJournal(path, reserve=ReserveFile(kept, 4096)).open()


def test_the_reserve_has_blocks_and_gives_them_back(tmp_path: Path) -> None:
    """Its file is allocated, not a hole, and gone when it is given up."""
    path = tmp_path / "journal.db.reserve"
    reserve = ReserveFile(path, 256 * 1024)
    assert reserve.hold()
    assert path.stat().st_blocks * 512 >= 256 * 1024
    reserve.give_up()
    assert not reserve.is_held
    assert not path.exists()


def test_a_reserve_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    """A folder that is missing stands for any disk that refuses."""
    reserve = ReserveFile(tmp_path / "missing" / "reserve")
    assert not reserve.hold()
    assert not reserve.is_held
