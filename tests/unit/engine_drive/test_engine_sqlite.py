"""The journal on disk: durable before the send, in order, private, and enough to start again."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.engine import events as ev
from services.engine.commands import CloseCommand
from services.engine.journal import JournalError
from services.engine.journal_file import read_events
from services.engine.orders import OrderClass
from services.engine.sqlite_journal import SqliteJournal
from services.engine.views import PositionStatus
from tests.support.engine_invariants import check_closed, watch_arrivals
from tests.support.engine_rig import EngineRig
from tests.support.fake_venue import Fault
from tests.support.virtual_clock import START, VirtualClock


class CountingJournal(SqliteJournal):
    """Knows whether its thread owes an answer, so that virtual time waits for the disk."""

    owed = 0

    async def append(self, events: object) -> None:
        """Append and count."""
        self.owed += 1
        try:
            await super().append(events)  # type: ignore[arg-type]  # passed on
        finally:
            self.owed -= 1


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[CountingJournal]:
    """Give an open journal in an empty folder."""
    made = CountingJournal(tmp_path / "state" / "journal.sqlite")
    await made.open()
    yield made
    await made.close()


def halted(number: int) -> ev.EngineHalted:
    """Return a numbered event."""
    return ev.EngineHalted(START, f"number {number}")


async def test_a_durable_row_implies_all_rows_before_it(
    journal: CountingJournal, tmp_path: Path
) -> None:
    """Rows nobody waited for are in the file, in order, once a later one is durable."""
    for number in range(50):
        journal.append_soon([halted(number)])
    await journal.append([halted(50)])
    path = tmp_path / "state" / "journal.sqlite"
    assert read_events(path) == tuple(halted(number) for number in range(51))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_concurrent_appends_keep_their_batches_together(journal: CountingJournal) -> None:
    """Each append is one block of rows, whatever else is written at the time."""
    batches = [[halted(10 * n + k) for k in range(3)] for n in range(40)]
    await asyncio.gather(*(journal.append(batch) for batch in batches))
    rows = await journal.load()
    for batch in batches:
        at = rows.index(batch[0])
        assert list(rows[at : at + 3]) == batch


async def test_a_failed_write_is_told_and_kept_rows_follow(journal: CountingJournal) -> None:
    """A refused batch is not in the journal; rows nobody waited for are written with the next."""
    taken = ev.CommandAccepted(START, "same", "hash", ())
    await journal.append([taken])
    journal.append_soon([halted(1)])
    with pytest.raises(JournalError):
        await journal.append([taken, halted(2)])
    await journal.append([halted(3)])
    assert await journal.load() == (taken, halted(1), halted(3))


async def test_a_command_that_was_taken_before_fails_alone(journal: CountingJournal) -> None:
    """Rows of other positions that are written at the same time take effect, in their order."""
    taken = ev.CommandAccepted(START, "same", "hash", ())
    await journal.append([taken])
    before, again, after = (
        asyncio.create_task(journal.append(events))
        for events in ([halted(1)], [taken, halted(2)], [halted(3)])
    )
    with pytest.raises(JournalError, match="UNIQUE"):
        await again
    await asyncio.gather(before, after)
    assert await journal.load() == (taken, halted(1), halted(3))


async def test_a_caller_that_gives_up_does_not_harm_the_writer(journal: CountingJournal) -> None:
    """A cancelled append is still written and the next one works."""
    task = asyncio.get_running_loop().create_task(journal.append([halted(1)]))
    await asyncio.sleep(0)
    task.cancel()
    await journal.append([halted(2)])
    assert halted(2) in await journal.load()


async def test_a_row_that_cannot_be_read_stops_the_start(
    journal: CountingJournal, tmp_path: Path
) -> None:
    """A damaged journal is an error, never a shorter history."""
    await journal.append([halted(1)])
    with sqlite3.connect(tmp_path / "state" / "journal.sqlite") as other:
        other.execute("UPDATE journal SET body = '{}'")
    other.close()
    with pytest.raises(JournalError):
        await journal.load()


async def test_a_second_engine_cannot_open_the_journal_of_the_first(
    journal: CountingJournal, tmp_path: Path
) -> None:
    """Two engines on one journal would send the same ids; the lock ends with its holder."""
    second = SqliteJournal(tmp_path / "state" / "journal.sqlite")
    with pytest.raises(JournalError) as refused:
        await second.open()
    assert refused.value.reason == "JOURNAL_IN_USE"
    await journal.append([halted(1)])
    await journal.close()
    await second.open()
    assert await second.load() == (halted(1),)
    await second.close()


async def test_a_journal_that_cannot_be_opened_says_so_at_the_start(tmp_path: Path) -> None:
    """A file that is no database stops the start and can be tried again."""
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"not a database, but long enough to be read as the head of one" * 4)
    broken = SqliteJournal(path)
    for _ in range(2):
        with pytest.raises(JournalError, match="cannot open"):
            await broken.open()


async def test_every_order_is_in_the_file_before_it_arrives(
    journal: CountingJournal, tmp_path: Path
) -> None:
    """At each arrival at a venue the file, read from outside, allows exactly that order."""
    rig = EngineRig(VirtualClock(lambda: journal.owed > 0), journal)
    path = tmp_path / "state" / "journal.sqlite"
    problems = watch_arrivals(rig, lambda: read_events(path))
    rig.long_venue.script.append(Fault())
    rig.short_venue.script.extend(
        [Fault(reject=True, retryable=True), Fault(reply_lost=True), Fault(lost=True)]
    )
    await rig.start()
    view = await rig.open("1")
    classes = {order.order_class for order in view.orders}
    assert {OrderClass.ENTRY, OrderClass.HEDGE} <= classes
    await rig.close(view.position_id)
    check_closed(rig, problems)
    await rig.close_rig()


async def test_an_open_position_survives_on_disk(journal: CountingJournal) -> None:
    """A new engine on the same file knows the position as it was and closes it."""
    clock = VirtualClock(lambda: journal.owed > 0)
    rig = EngineRig(clock, journal)
    await rig.start()
    opened = await rig.open("1")
    await rig.kill()
    rig.new_engine()
    await rig.start()
    assert rig.engine.get(opened.position_id) == opened
    await rig.call(rig.engine.close(CloseCommand("close", opened.position_id)))
    assert (await rig.settled(opened.position_id)).status is PositionStatus.CLOSED
    rig.check_books()
    await rig.close_rig()
