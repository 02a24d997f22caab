"""A journal that was changed, cut short or put back from a copy is never taken for whole."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from services.engine.events import EngineHalted
from services.engine.journal import JournalError
from services.engine.journal_file import read_events
from services.engine.journal_schema import SCHEMA_VERSION
from services.engine.sqlite_journal import SqliteJournal
from tests.support.journal_images import (
    Image,
    halted,
    mark_of,
    mark_words,
    some_events,
    write_journal,
)

FLIPS = 400


async def test_no_flipped_bit_changes_what_is_read(tmp_path: Path) -> None:
    """SQLite, the tables' check, the chain or the mark notices, or nothing was in that bit."""
    path = tmp_path / "journal.db"
    events = some_events(30)
    await write_journal(path, events)
    image = Image.of(path, events)
    assert image.judge(image.raw) == "unharmed"
    found = image.judge_flips(FLIPS, seed=1)
    assert found["missed"] == 0
    assert found["chain"] > 0


async def test_a_bit_that_holds_nothing_is_noticed_in_a_closed_journal(tmp_path: Path) -> None:
    """Its rows are all there, and the next start is halted all the same."""
    path = tmp_path / "journal.db"
    events = some_events(4)
    await write_journal(path, events)
    image = Image.of(path, events)
    drawn = random.Random(3)
    bits = (drawn.randrange(8 * len(image.raw)) for _ in range(100))
    free = next(bit for bit in bits if image.judge(image.flipped(bit)) == "unharmed")
    raw = bytearray(path.read_bytes())
    raw[free // 8] ^= 1 << free % 8
    path.write_bytes(bytes(raw))
    await write_journal(path, ())
    *kept, last = read_events(path)
    assert tuple(kept) == events
    assert isinstance(last, EngineHalted)
    assert "changed since it was closed" in last.reason


async def test_every_bit_of_a_row_is_in_the_chain(tmp_path: Path) -> None:
    """No bit of the rows' texts can turn unnoticed; every third is tried."""
    path = tmp_path / "journal.db"
    events = some_events(4)
    await write_journal(path, events)
    image = Image.of(path, events)
    for number in range(4):
        text = f"number {number}" if number % 2 == 0 else f"hash-{number}"
        start = image.raw.index(text.encode()) * 8
        verdicts = {image.judge(image.flipped(start + bit)) for bit in range(0, len(text) * 8, 3)}
        assert not verdicts & {"unharmed", "missed"}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE journal SET body = replace(body, 'number 2', 'number 7')",
        "DELETE FROM journal WHERE sequence = 2",
        "UPDATE journal SET digest = zeroblob(32) WHERE sequence = 3",
        "UPDATE facts SET value = 'another' WHERE name = 'identity'",
        "UPDATE journal SET at = '2027' || substr(at, 5) WHERE sequence = 1",
    ],
)
async def test_a_row_that_was_edited_stops_the_load(tmp_path: Path, change: str) -> None:
    """Whoever edits rows with SQLite's own means breaks the chain."""
    path = tmp_path / "journal.db"
    await write_journal(path, tuple(map(halted, range(4))))
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(change)
    with pytest.raises(JournalError):
        read_events(path)


def _delete(path: Path, _copy: bytes) -> None:
    path.unlink()


def _put_back(path: Path, copy: bytes) -> None:
    path.write_bytes(copy)


def _cut(path: Path, _copy: bytes) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("DELETE FROM journal WHERE sequence = (SELECT max(sequence) FROM journal)")


def _forget_mark(path: Path, _copy: bytes) -> None:
    path.with_name(f"{path.name}.lock").unlink()


@pytest.mark.parametrize("loss", [_delete, _put_back, _cut, _forget_mark])
async def test_a_journal_that_lost_rows_starts_halted(
    tmp_path: Path, loss: Callable[[Path, bytes], None]
) -> None:
    """The next row of a journal that is not the one of before is a halt; then it goes on."""
    path = tmp_path / "journal.db"
    await write_journal(path, tuple(map(halted, range(2))))
    copy = path.read_bytes()
    await write_journal(path, (halted(2),))
    loss(path, copy)
    journal = SqliteJournal(path)
    await journal.open()
    last = (await journal.load())[-1]
    assert isinstance(last, EngineHalted)
    assert "not the one that was here last" in last.reason
    await journal.append([halted(9)])
    await journal.close()
    rows = read_events(path)
    await write_journal(path, ())
    assert read_events(path) == rows


async def test_a_log_cut_short_is_noticed(tmp_path: Path) -> None:
    """SQLite drops the end of a damaged log in silence; the mark knows how far it went."""
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    await journal.open()
    for number in range(3):
        await journal.append([halted(number)])
    log = path.with_name("journal.db-wal").read_bytes()
    files = {name: path.with_name(name).read_bytes() for name in ("journal.db", "journal.db.lock")}
    await journal.close()
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name, raw in files.items():
        (crashed / name).write_bytes(raw)
    damaged = bytearray(log)
    damaged[len(damaged) - 100] ^= 1
    (crashed / "journal.db-wal").write_bytes(bytes(damaged))
    again = SqliteJournal(crashed / "journal.db")
    await again.open()
    *kept, last = await again.load()
    await again.close()
    assert kept == [halted(0), halted(1)]
    assert isinstance(last, EngineHalted)
    assert "ends before" in last.reason


async def test_the_mark_follows_each_durable_row(tmp_path: Path) -> None:
    """Identity, number and digest of the last row stand beside the journal."""
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    await journal.open()
    before = mark_of(path)
    await journal.append([halted(0), halted(1)])
    after = mark_of(path)
    await journal.close()
    assert (before.head.sequence, after.head.sequence) == (0, 2)
    assert before.identity == after.identity
    assert len(mark_words(path)) == 4


async def test_the_epoch_rises_with_each_opening(tmp_path: Path) -> None:
    """Also within one millisecond, and when the journal was lost in between."""
    path = tmp_path / "journal.db"
    epochs = []
    for number in range(4):
        if number == 3:
            path.unlink()
        journal = SqliteJournal(path)
        await journal.open()
        epochs.append(journal.epoch)
        await journal.close()
    assert epochs == sorted(set(epochs))


async def test_a_journal_of_a_later_release_is_refused(tmp_path: Path) -> None:
    """Its rows may mean what this release does not know."""
    path = tmp_path / "journal.db"
    await write_journal(path, (halted(0),))
    with closing(sqlite3.connect(path)) as other, other:
        other.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(JournalError, match="this release knows"):
        await SqliteJournal(path).open()
