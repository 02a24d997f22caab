"""A start reads first what exits need and the rest beside the work; together they are the whole."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from pathlib import Path

import pytest

from benchmarks.journal_rows import exit_orders, late_fill, open_position
from services.common.errors import UnreachableError
from services.engine.commands import HaltCommand
from services.engine.events import CommandAccepted, DustBooked, EngineHalted, PositionSettled
from services.engine.idempotency import CommandDesk, Stamp
from services.engine.instruments import LegSide
from services.engine.journal import JournalError
from services.engine.journal_file import read_events
from services.engine.journal_parts import JournalPage
from services.engine.ledger import Ledger
from services.engine.owned_tasks import OwnedTasks
from services.engine.sqlite_journal import SqliteJournal
from services.engine.views import EngineMode, PositionStatus
from tests.support.journal_images import halted
from tests.support.journal_past import batches, past_events
from tests.support.journal_start import Start


async def write_past(path: Path, seed: int) -> None:
    """Write a past into a journal, in appends of drawn sizes."""
    journal = SqliteJournal(path)
    await journal.open()
    await asyncio.gather(
        *(journal.append(rows) for rows in batches(past_events(seed), random.Random(seed)))
    )
    await journal.close()


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteJournal]:
    """Open a journal that is never read at once."""
    journal = SqliteJournal(path, whole_rows=0)
    await journal.open()
    yield journal
    await journal.close()


def replayed(path: Path, since: Ledger) -> Ledger:
    """Fold everything that is in a journal."""
    made = Ledger(since.since)
    made.take_all(read_events(path))
    return made


@pytest.mark.parametrize("seed", range(12))
async def test_both_parts_end_where_a_whole_replay_does(tmp_path: Path, seed: int) -> None:
    """Positions, their order and the engine's record are equal, with rows written in between."""
    path = tmp_path / "journal.db"
    await write_past(path, seed)
    async with opened(path) as journal:
        start = Start(journal)
        await start.desk.load()
        live = {p.position_id for p in start.book.all()}
        chance = random.Random(seed)
        if chance.random() < 0.5:
            await start.book.record(halted(1), CommandAccepted(halted(2).at, "new", "h", ()))
        # A start that is killed here leaves nothing behind: the next one begins anew.
        await journal.load_page(None, 10**9)
        await start.read_rest()
        assert start.was_whole
        assert start.taken_up == []
        assert start.halts.reason == ""
        whole = replayed(path, start.book._ledger)
        assert tuple(start.book.whole()) == tuple(whole.positions.values())
        assert start.book.engine == whole.engine
        assert live == {k for k, p in whole.positions.items() if not p.status.is_final}
        assert {p.position_id for p in start.book.live()} == live


async def test_what_has_ended_is_not_known_until_all_is_read(tmp_path: Path) -> None:
    """Lists are refused as not there yet, a command of an earlier run is found all the same."""
    path = tmp_path / "journal.db"
    await write_past(path, 1)
    async with opened(path) as journal:
        start = Start(journal)
        await start.desk.load()
        with pytest.raises(UnreachableError, match="being read") as told:
            start.book.whole()
        assert told.value.reason == "JOURNAL_BEING_READ"
        found = await start.book.find_command("request-3")
        assert found is not None
        assert found.position_ids == (f"p{3:015x}",)
        assert await start.book.find_command("nobody's") is None
        await start.read_rest()
        assert start.book.engine.commands["request-3"] == found


def change(path: Path, statement: str, *values: object) -> None:
    """Change a journal from outside, and its mark with it as after a crash."""
    with closing(sqlite3.connect(path)) as made, made:
        assert made.execute(statement, values).rowcount > 0


async def test_a_command_that_cannot_be_looked_up_keeps_no_exit_and_no_halt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is done as a new one, and by the journal's own word none is done twice."""

    async def unreadable(_request_id: str) -> CommandAccepted | None:
        raise JournalError("cannot be read")

    path = tmp_path / "journal.db"
    await write_past(path, 5)
    async with opened(path) as journal:
        monkeypatch.setattr(journal, "find_command", unreadable)
        start = Start(journal)
        await start.desk.load()
        desk = CommandDesk(start.book, start.clock, OwnedTasks())

        async def halt(stamp: Stamp) -> tuple[str, ...]:
            await start.book.record(halted(1), stamp())
            return ()

        with pytest.raises(JournalError, match="request_id"):
            await desk.run(HaltCommand("request-3", "of an earlier run"), halt)
        modes = [start.book.engine.mode]
        await desk.run(HaltCommand("new", "stop"), halt)
        modes.append(start.book.engine.mode)
        assert modes == [EngineMode.ACTIVE, EngineMode.HALTED]


async def test_a_changed_row_of_a_closed_position_is_found_afterwards(tmp_path: Path) -> None:
    """What is open is taken up; then entries are refused in the words that ended a start before."""
    path = tmp_path / "journal.db"
    await write_past(path, 1)
    async with opened(path) as journal:
        start = Start(journal)
        live = {e.position_id for e in (await start_part(journal)) if hasattr(e, "position_id")}
        closed = next(k for n in range(12) if (k := f"p{n:015x}") not in live)
        change(
            path,
            "UPDATE journal SET body = replace(body, '\"0.5\"', '\"0.6\"')"
            " WHERE position_id = ? AND kind = 'OrderIntended'",
            closed,
        )
        with pytest.raises(JournalError) as before:
            read_events(path)
        await start.desk.load()
        start.desk.check()
        await start.read_rest()
        with pytest.raises(JournalError) as after:
            start.desk.check()
        assert (after.value.reason, after.value.message) == (
            before.value.reason,
            before.value.message,
        )
        assert not start.was_whole
        assert {p.position_id for p in start.book.all()} == live


async def start_part(journal: SqliteJournal) -> tuple[object, ...]:
    """Return what is read first."""
    return (await journal.load_open()).events


@pytest.mark.parametrize("row", ["open", "last"])
async def test_a_changed_row_that_exits_need_stops_the_start(tmp_path: Path, row: str) -> None:
    """Rows of open positions and the newest rows are checked before anything is sent."""
    path = tmp_path / "journal.db"
    await write_past(path, 1)
    async with opened(path) as journal:
        if row == "open":
            change(
                path,
                "UPDATE journal SET at = '2026-01-05T12:00:00+00:00' WHERE sequence = (SELECT"
                " min(sequence) FROM journal JOIN live USING (position_id))",
            )
        else:
            change(
                path,
                "UPDATE journal SET at = 'never' WHERE sequence = (SELECT max(sequence) - 5"
                " FROM journal)",
            )
        with pytest.raises(JournalError, match="not as it was written"):
            await Start(journal).desk.load()


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM live WHERE position_id = (SELECT max(position_id) FROM live)", "not taken"),
        ("UPDATE live SET position_id = 'nobody' WHERE position_id = "
         "(SELECT max(position_id) FROM live)", "not taken"),
    ],
)  # fmt: skip
async def test_a_list_of_open_positions_that_is_wrong_halts(
    tmp_path: Path, statement: str, told: str
) -> None:
    """The rows are believed: what the list had left out is taken up, and entries are halted."""
    path = tmp_path / "journal.db"
    await write_past(path, 1)
    async with opened(path) as journal:
        change(path, statement)
        start = Start(journal)
        await start.desk.load()
        known = {p.position_id for p in start.book.all()}
        await start.read_rest()
        whole = replayed(path, start.book._ledger)
        live = {k for k, p in whole.positions.items() if not p.status.is_final}
        assert set(start.taken_up) == live - known != set()
        assert told in start.halts.reason
        assert start.book.engine.mode is EngineMode.HALTED
        await journal.append(())
        assert isinstance(read_events(path)[-1], EngineHalted)


async def test_what_came_after_an_end_and_was_not_followed_is_taken_up(tmp_path: Path) -> None:
    """A crash fell between the fill that an ended position was told of and the row to follow it."""
    path = tmp_path / "journal.db"
    begun = list(open_position(1))
    at = begun[-1].at
    async with opened(path) as journal:
        await journal.append([*begun, *exit_orders(1, at, Decimal("0.1"))])
        ended = str(getattr(begun[1], "position_id", ""))
        await journal.append(
            [
                DustBooked(ended, at, LegSide.LONG, Decimal("0.1"), "TOO_SMALL"),
                PositionSettled(ended, at, PositionStatus.CLOSED, "EXIT"),
                late_fill(1, at),
            ]
        )
        start = Start(journal)
        await start.desk.load()
        assert not start.book.all()
        await start.read_rest()
        assert start.taken_up == [ended]
        assert start.halts.reason == ""


async def test_a_start_killed_in_the_second_part_leaves_the_journal_as_it_was(
    tmp_path: Path,
) -> None:
    """The next start reads the same, and ends where the whole replay does."""
    path = tmp_path / "journal.db"
    await write_past(path, 2)
    before = read_events(path)
    async with opened(path) as journal:
        start = Start(journal)
        await start.desk.load()
        reading = asyncio.ensure_future(start.read_rest())  # noqa: TID251 - cancelled below
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert not start.book.is_whole
    async with opened(path) as journal:
        start = Start(journal)
        await start.desk.load()
        await start.read_rest()
        assert start.book.is_whole
        assert read_events(path) == before
        assert tuple(start.book.whole()) == tuple(
            replayed(path, start.book._ledger).positions.values()
        )


def to_second_version(path: Path) -> None:
    """Take a journal back to the tables of the release before."""
    with closing(sqlite3.connect(path)) as made, made:
        for statement in (
            "DROP TABLE live",
            "DROP INDEX journal_of_positions",
            "DROP INDEX journal_of_engine",
            "PRAGMA user_version = 2",
        ):
            made.execute(statement)


async def test_a_journal_of_the_second_version_is_carried_over(tmp_path: Path) -> None:
    """Its rows stay as they are, and its open positions are found."""
    path = tmp_path / "journal.db"
    await write_past(path, 3)
    before = read_events(path)
    path.with_name(f"{path.name}.lock").unlink()
    to_second_version(path)
    async with opened(path) as journal:
        start = Start(journal)
        await start.desk.load()
        await start.read_rest()
        assert start.taken_up == []
        assert read_events(path)[: len(before)] == before


async def test_missing_rows_before_the_end_are_found(tmp_path: Path) -> None:
    """A row that is gone breaks the chain of the page it was in."""
    path = tmp_path / "journal.db"
    await write_past(path, 3)
    async with opened(path) as journal:
        change(path, "DELETE FROM journal WHERE sequence = 7")
        with pytest.raises(JournalError, match="not as it was written"):
            await journal.load_page(None, 50)


async def test_pages_end_with_the_row_they_are_asked_for(tmp_path: Path) -> None:
    """What is written meanwhile is not read again."""
    path = tmp_path / "journal.db"
    await write_past(path, 3)
    pages: list[JournalPage] = []
    taken: Callable[[JournalPage], None] = pages.append
    async with opened(path) as journal:
        taken(await journal.load_page(None, 30))
        await journal.append((halted(1),))
        taken(await journal.load_page(pages[0].head, 30))
    assert [len(page.events) for page in pages] == [30, 0]
