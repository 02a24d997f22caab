"""Work that no order waits for is done later, in order, and never instead of the order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.journal_rows import open_position
from services.engine.afterwards import Afterwards, at_once
from services.engine.sqlite_journal import SqliteJournal


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - the loop does the work, no event tells of it
            await asyncio.sleep(0.001)


async def test_work_is_done_later_and_in_order() -> None:
    """What is given is not done by whoever gives it, and keeps its order."""
    done: list[int] = []
    afterwards = Afterwards(0)
    for number in range(3):
        afterwards.do(partial(done.append, number))
    assert not done
    await _until(lambda: len(done) == 3)
    assert done == [0, 1, 2]


async def test_work_that_work_gives_is_done_after_what_waits() -> None:
    """A piece that gives another one starts no second row beside the first."""
    done: list[str] = []
    afterwards = Afterwards(0)

    def give() -> None:
        done.append("first")
        afterwards.do(partial(done.append, "last"))

    afterwards.do(give)
    afterwards.do(partial(done.append, "second"))
    await _until(lambda: len(done) == 3)
    assert done == ["first", "second", "last"]


async def test_what_fails_keeps_nothing_that_waits() -> None:
    """The loop is told of a piece that raises, and the next pieces are done all the same."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, said: told.append(said["exception"]))
    done: list[str] = []
    failure = ValueError("planted")

    def fail() -> None:
        raise failure

    afterwards = Afterwards(0)
    afterwards.do(fail)
    afterwards.do(partial(done.append, "second"))
    await _until(lambda: bool(done))
    afterwards.do(partial(done.append, "third"))
    await _until(lambda: len(done) == 2)
    assert told == [failure]


async def test_without_delay_it_is_done_at_once() -> None:
    """The default does the work where it is given."""
    done: list[int] = []
    at_once(partial(done.append, 1))
    assert done == [1]


async def test_rows_that_nobody_waits_for_keep_their_place(tmp_path: Path) -> None:
    """Later durable rows take the earlier ones along, and closing leaves none behind."""
    rows = tuple(open_position(1))[1:5]
    journal = SqliteJournal(tmp_path / "journal.db")
    await journal.open()
    journal.append_soon(rows[:1])
    journal.append_soon(rows[1:2])
    await journal.append(rows[2:3])
    assert await journal.load() == rows[:3]
    journal.append_soon(rows[3:])
    await journal.close()
    await journal.open()
    assert await journal.load() == rows
    await journal.close()
