"""Rows that the event loop commits itself, and when it leaves that to the writer's thread."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from services.connector.ledger_pace import AWAY_SECONDS, MOST_SECONDS, CommitPace
from services.connector.ledger_writer import LedgerWriter

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def writer() -> Iterator[LedgerWriter]:
    """A writer on a database in memory with one table."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY)")
    started = LedgerWriter(connection)
    started.start()
    yield started
    started.close()


def insert(connection: sqlite3.Connection, number: int) -> int:
    """Insert a row, and return the thread that did it."""
    connection.execute("INSERT INTO rows VALUES (?)", (number,))
    return threading.get_ident()


async def count_rows(writer: LedgerWriter) -> int:
    """Return how many rows there are."""
    return await writer.run(
        lambda connection: int(connection.execute("SELECT count(*) FROM rows").fetchone()[0]),
        urgent=True,
    )


async def test_brief_jobs_of_one_turn_are_committed_on_the_loop(writer: LedgerWriter) -> None:
    """Ten rows of one turn are written by the loop's own thread."""
    threads = await asyncio.gather(
        *(
            writer.run(partial(insert, number=number), urgent=False, brief=True)
            for number in range(10)
        )
    )
    assert set(threads) == {threading.get_ident()}
    assert await count_rows(writer) == 10


async def test_brief_job_fails_alone(writer: LedgerWriter) -> None:
    """A row that is there already is refused, the others of its turn are written."""
    results = await asyncio.gather(
        *(
            writer.run(partial(insert, number=number), urgent=False, brief=True)
            for number in (1, 1, 2)
        ),
        return_exceptions=True,
    )
    assert isinstance(results[1], sqlite3.IntegrityError)
    assert await count_rows(writer) == 2


async def test_brief_job_goes_to_the_thread_while_that_is_at_work(writer: LedgerWriter) -> None:
    """The loop does not wait for a commit of the thread, and the row is written after it."""
    began, gate = threading.Event(), threading.Event()

    def hold(_connection: sqlite3.Connection) -> None:
        began.set()
        gate.wait(10)

    busy = asyncio.create_task(writer.run(hold, urgent=False))
    await asyncio.to_thread(began.wait, 10)
    row = asyncio.create_task(writer.run(lambda held: insert(held, 1), urgent=False, brief=True))
    # The loop goes on: were it waiting, the gate would never open.
    await asyncio.sleep(0)
    gate.set()
    assert await row != threading.get_ident()
    await busy


async def test_patient_job_goes_with_a_brief_one(writer: LedgerWriter) -> None:
    """What nobody waits for is committed by the loop with the next row."""
    patient = asyncio.create_task(
        writer.run(lambda held: insert(held, 1), urgent=False, patient=True)
    )
    await asyncio.sleep(0)
    await writer.run(lambda held: insert(held, 2), urgent=False, brief=True)
    assert await patient == threading.get_ident()


async def test_long_read_takes_the_rows_of_its_turn_to_the_thread(writer: LedgerWriter) -> None:
    """A job that is not brief never runs on the loop, whatever is queued beside it."""
    row, read = await asyncio.gather(
        writer.run(lambda held: insert(held, 1), urgent=False, brief=True),
        writer.run(lambda _held: threading.get_ident(), urgent=False),
    )
    assert threading.get_ident() not in {row, read}
    assert await count_rows(writer) == 1


async def test_many_jobs_are_moved_from_the_log_into_the_file(writer: LedgerWriter) -> None:
    """Rows beyond the checkpoint's number are all there."""
    for number in range(600):
        await writer.run(partial(insert, number=number), urgent=False, brief=True)
    assert await count_rows(writer) == 600


def test_slow_disk_sends_commits_to_the_thread_for_a_while() -> None:
    """One long commit changes nothing, a slow disk does, and it is tried again later."""
    pace = CommitPace()
    pace.note(0.0, MOST_SECONDS * 5)
    assert pace.is_quick(0.0)
    for _ in range(20):
        pace.note(1.0, MOST_SECONDS * 2)
    assert not pace.is_quick(1.0)
    assert not pace.is_quick(1.0 + AWAY_SECONDS * 0.9)
    assert pace.is_quick(1.0 + AWAY_SECONDS)
