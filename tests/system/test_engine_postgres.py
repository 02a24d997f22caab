"""The journal in PostgreSQL: one engine at a time, whoever wakes or hangs in between."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.common.clock import SystemClock
from services.engine import postgres_journal
from services.engine import postgres_schema as sql
from services.engine.journal import JournalError
from services.engine.leadership import JOURNAL_AHEAD, Leadership
from services.engine.ledger import Ledger
from services.engine.postgres_journal import PostgresJournal
from services.engine.postgres_lease import PostgresLease
from services.engine.postgres_session import SessionSource
from tests.support.journal_images import halted
from tests.support.journal_past import batches, past_events
from tests.support.journal_start import Start
from tests.support.lease_process import OVERTAKEN
from tests.support.postgres_server import WireSession, has_postgres, postgres_server

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not has_postgres(), reason="PostgreSQL's server is not installed"),
]
TERM = timedelta(seconds=1.5)


@dataclass(frozen=True, slots=True)
class Place:
    """A server, and a book of a test's own in it."""

    folder: Path
    book: str


class Engine:
    """The journal of one engine and all that is under it."""

    def __init__(
        self, place: Place, holder: str, *, lossy: bool = False, call_seconds: float = 5.0
    ) -> None:
        async def connect() -> Any:
            session = await WireSession.connect(place.folder)
            return LossySession(session) if lossy else session

        self.sessions = SessionSource(connect, call_seconds)
        self.leadership = Leadership()
        self.lease = PostgresLease(self.sessions, SystemClock(), place.book, holder, TERM)
        self.journal = PostgresJournal(self.sessions, self.lease, place.book, self.leadership)


class LossySession:
    """Loses the answer to every append: the rows are durable and nobody says so."""

    def __init__(self, inner: WireSession) -> None:
        self._inner = inner

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]:
        """Run the statement; raise where it was an append."""
        rows = await self._inner.fetch(query, *args)
        if "INSERT INTO journal" in query:
            raise ConnectionResetError("lost")
        return rows

    async def close(self) -> None:
        """Hang up."""
        await self._inner.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    """Run one server for all tests."""
    with postgres_server() as server:
        yield server.folder


@pytest.fixture
def place(server: Path, request: pytest.FixtureRequest) -> Place:
    """Give a book that nobody else has."""
    return Place(server, request.node.name)


@asynccontextmanager
async def opened(place: Place, holder: str, **changes: Any) -> AsyncIterator[Engine]:
    """Give an engine whose journal is open."""
    engine = Engine(place, holder, **changes)
    await engine.journal.open()
    try:
        yield engine
    finally:
        await engine.journal.close()


@asynccontextmanager
async def writer(place: Place, holder: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a process that writes while it has the lease; it is killed at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.lease_process"),
        *(str(place.folder), place.book, holder),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_paused_engine_that_wakes_writes_nothing(place: Place) -> None:
    """Its lease runs out, another takes over with a higher epoch and all rows; it is refused."""
    async with opened(place, "one") as first:
        await first.journal.append([halted(1)])
        first.journal.append_soon([halted(2)])
        await first.journal.append([])
        # The first does not renew: it stands still, as a stopped process does.
        async with opened(place, "two") as second:
            assert second.journal.epoch > first.journal.epoch
            assert not first.lease.is_held
            assert await second.journal.load() == (halted(1), halted(2))
            await second.journal.append([halted(3)])
            for _ in range(2):
                with pytest.raises(JournalError) as refused:
                    await first.journal.append([halted(4)])
                assert refused.value.reason == "LEASE_LOST"
            with pytest.raises(JournalError) as lost:
                await first.lease.renew()
            assert lost.value.reason == "LEASE_LOST"
            assert await second.journal.load() == (halted(1), halted(2), halted(3))


async def test_rows_of_two_engines_never_mix(place: Place) -> None:
    """With takeovers in the midst of writes the epochs of the rows only rise."""
    written = 0
    previous: Engine | None = None
    for number in range(4):
        # A holder that starts again has its lease at once; the one before still writes.
        engine = Engine(place, "one")
        flood = [previous.journal.append([halted(n)]) for n in range(20)] if previous else []
        results, _ = await asyncio.gather(
            asyncio.gather(*flood, return_exceptions=True), engine.journal.open()
        )
        written += sum(result is None for result in results)
        await engine.journal.append([halted(100 + number)])
        written += 1
        if previous is not None:
            await previous.journal.close()
        previous = engine
    assert previous is not None
    assert len(await previous.journal.load()) == written
    rows = await previous.sessions.fetch(
        "SELECT epoch FROM journal WHERE book = $1 ORDER BY sequence", place.book
    )
    assert rows == sorted(rows)
    await previous.journal.close()


async def test_a_connection_that_ends_loses_nothing_and_doubles_nothing(place: Place) -> None:
    """The chain shows whether rows are there; those that are not are written over a new one."""
    async with opened(place, "one", lossy=True) as engine:
        await engine.journal.append([halted(1)])
        await engine.journal.append([halted(2)])
        assert await engine.journal.load() == (halted(1), halted(2))
    async with opened(place, "two") as engine:
        other = await WireSession.connect(place.folder)
        await other.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        engine.journal.append_soon([halted(3)])
        await engine.journal.append([halted(4)])
        await engine.journal.append([halted(5)])
        await other.close()
        assert await engine.journal.load() == tuple(map(halted, (1, 2, 3, 4, 5)))


async def test_a_write_that_was_given_up_and_took_effect_ends_the_engine(place: Place) -> None:
    """The server goes on with what nobody waits for; what it wrote then, a start reads."""
    async with opened(place, "one", call_seconds=0.5) as engine:
        other = await WireSession.connect(place.folder)
        await other.fetch("BEGIN")
        await other.fetch("SELECT 1 FROM leases WHERE book = $1 FOR UPDATE", place.book)
        with pytest.raises(JournalError):
            await engine.journal.append([halted(1)])
        await other.fetch("COMMIT")
        async with asyncio.timeout(20):
            while not await other.fetch(sql.HEAD, place.book):  # noqa: ASYNC110 - a server
                await asyncio.sleep(0.05)
        await other.close()
        with pytest.raises(JournalError) as told:
            await engine.journal.append([halted(1)])
        assert (told.value.reason, engine.leadership.reason) == (JOURNAL_AHEAD, JOURNAL_AHEAD)
    async with opened(place, "one") as engine:
        assert await engine.journal.load() == (halted(1),)


async def test_a_row_that_was_edited_stops_the_load(place: Place) -> None:
    """The chain is that of the SQLite journal."""
    async with opened(place, "one") as engine:
        await engine.journal.append([halted(1), halted(2)])
        await engine.sessions.fetch(
            "UPDATE journal SET body = replace(body, '1', '7') WHERE book = $1", place.book
        )
        with pytest.raises(JournalError):
            await engine.journal.load()


async def test_a_start_in_two_parts_ends_where_a_whole_replay_does(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is open is read first and held against all rows; a changed row stops entries."""
    monkeypatch.setattr(postgres_journal, "WHOLE_ROWS", 0)
    async with opened(place, "one") as engine:
        for rows in batches(past_events(5), random.Random(5)):
            await engine.journal.append(rows)
        start = Start(engine.journal)
        await start.desk.load()
        live = {p.position_id for p in start.book.all()}
        assert await start.book.find_command("request-3") is not None
        await start.read_rest()
        whole = Ledger(start.book._ledger.since)
        whole.take_all(await engine.journal.load())
        assert (start.taken_up, start.halts.reason) == ([], "")
        assert start.book.whole() == tuple(whole.positions.values())
        assert start.book.engine == whole.engine
        assert live == {k for k, p in whole.positions.items() if not p.status.is_final}
        await engine.sessions.fetch(
            "UPDATE journal SET at = 'never' WHERE book = $1 AND kind = 'CommandAccepted'"
            " AND sequence < 100",
            place.book,
        )
        again = Start(engine.journal)
        await again.desk.load()
        await again.read_rest()
        with pytest.raises(JournalError, match="not as it was written"):
            again.desk.check()


async def test_tables_that_could_not_be_made_are_made_by_the_next_start(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a step that failed in its middle had made is gone with it."""
    other = await WireSession.connect(place.folder)
    await other.fetch("DROP TABLE IF EXISTS schema_version, leases, journal, live")
    await other.close()
    with monkeypatch.context() as patched:
        first, second = sql.MIGRATIONS
        patched.setattr(sql, "MIGRATIONS", (first, (*second, "DROP TABLE nothing")))
        broken = Engine(place, "one").journal
        with pytest.raises(JournalError, match="nothing"):
            await broken.open()
        await broken.close()
    async with opened(place, "one") as engine:
        await engine.journal.append([halted(1)])
        assert await engine.journal.load() == (halted(1),)


async def test_what_is_open_is_found_without_the_rows_of_what_has_ended(place: Place) -> None:
    """Row by row over the indexes: to go through a long journal takes longer than a call may."""
    async with opened(place, "one") as engine:
        fetch = engine.sessions.fetch
        await fetch(
            "INSERT INTO journal SELECT $1, n, 1, 'at', 'p' || n / 40, NULL, 'OrderObserved', 1,"
            " repeat('a', 400), repeat('0', 64) FROM generate_series(1, 60000) n",
            place.book,
        )
        await fetch(
            "INSERT INTO live SELECT $1, 'p' || n * 15 FROM generate_series(1, 100) n", place.book
        )
        await fetch("ANALYZE")
        found = await fetch(sql.OPEN, place.book, 59_000)
        assert [row[0] for row in found] == [*range(59_400, 59_440), 60_000]
        plan = [line for (line,) in await fetch(f"EXPLAIN {sql.OPEN}", place.book, 0)]
        assert any("journal_of_positions" in line for line in plan)
        through_all = ("Hash Join", "Merge Join", "Seq Scan on journal")
        assert not [line for line in plan if any(word in line for word in through_all)]


async def test_an_engine_that_stops_hands_its_lease_over_at_once(place: Place) -> None:
    """Two start at the same time: one works, the other waits for exactly that."""
    first, second = Engine(place, "one"), Engine(place, "two")
    tasks = [asyncio.create_task(one.journal.open()) for one in (first, second)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    winner, loser = (first, second) if tasks[0].done() else (second, first)
    keeping = asyncio.create_task(winner.lease.keep())
    # Longer than the term: only renewing keeps the other out.
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2 * TERM.total_seconds()):
            await asyncio.shield(asyncio.gather(*tasks))
    assert winner.lease.is_held
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await winner.journal.close()
    await asyncio.gather(*tasks)
    assert loser.journal.epoch > winner.journal.epoch
    await loser.journal.close()


async def test_a_stopped_process_that_continues_is_refused(place: Place) -> None:
    """SIGSTOP for longer than the term, another process takes over, SIGCONT: it writes no row."""
    reader = await WireSession.connect(place.folder)

    async def epochs(count: int) -> list[int]:
        async with asyncio.timeout(60):
            while True:
                rows = await reader.fetch(
                    "SELECT epoch FROM journal WHERE book = $1 ORDER BY sequence", place.book
                )
                if len({epoch for (epoch,) in rows}) >= count:
                    return [epoch for (epoch,) in rows]
                await asyncio.sleep(0.02)

    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(writer(place, "one"))
        await epochs(1)
        first.send_signal(signal.SIGSTOP)
        second = await stack.enter_async_context(writer(place, "two"))
        await epochs(2)
        first.send_signal(signal.SIGCONT)
        async with asyncio.timeout(60):
            assert await first.wait() == OVERTAKEN
        assert second.returncode is None
    rows = await epochs(2)
    assert rows == sorted(rows)
    assert len(set(rows)) == 2
    engine = Engine(place, "two")
    assert len(await engine.journal.load()) == len(rows)
    await engine.sessions.close()
    await reader.close()
