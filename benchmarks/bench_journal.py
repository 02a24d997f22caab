"""What a durable row costs the engine, and how long it takes to know its positions again.

A part of `make bench-engine`, or alone: `python -m benchmarks.bench_journal`. The floor beside it
is a bare write and fsync of as many bytes on the same disk. PostgreSQL is measured where Debian's
package is installed, over its socket.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.journal_rows import open_position
from benchmarks.report import Report
from benchmarks.timing import Sample, run_round
from services.common.clock import SystemClock
from services.engine.events import EngineHalted
from services.engine.journal_chain import row_of
from services.engine.position import begin, fold
from services.engine.postgres_driver import DriverSession, connect
from services.engine.postgres_journal import PostgresJournal
from services.engine.postgres_lease import PostgresLease
from services.engine.postgres_session import SessionSource
from services.engine.sqlite_journal import SqliteJournal
from tests.support.postgres_server import has_postgres, postgres_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.engine.events import Event
    from services.engine.position import Position

_ROUNDS: Final = 11
_WRITES: Final = 200
_POSITIONS: Final = 100
_CALL_SECONDS: Final = 5.0
_LEASE_TERM: Final = timedelta(seconds=10)


async def measure_writes(report: Report, folder: Path) -> None:
    """Add durable appends of an intent and its order, one at a time and 50 at once."""
    journal = SqliteJournal(folder / "writes.db")
    await journal.open()
    # An order and its answer; commands would be refused as repeats.
    rows = list(open_position(1))[2:4]
    bare = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    size = sum(len(row_of(row).body) for row in rows)

    async def append() -> None:
        await journal.append(rows)

    async def write_bare() -> None:
        await asyncio.to_thread(_write_bare, bare, size)

    report.title("durable appends of two rows")
    for at_once in (1, 50):
        samples = {"append": Sample(), "bare": Sample()}
        for _ in range(_ROUNDS):
            await run_round(samples["append"], append, _WRITES, at_once)
            if at_once == 1:
                await run_round(samples["bare"], write_bare, _WRITES, 1)
        report.sample(f"append_{at_once}", f"journal, {at_once} at once", samples["append"])
        if at_once == 1:
            report.sample("bare_1", "write and fsync by a thread", samples["bare"])
    os.close(bare)
    await journal.close()


async def measure_postgres(report: Report) -> None:
    """Add the same appends to a PostgreSQL server of this run's own, where it is installed."""
    if not has_postgres():
        report.lines += ["", "durable appends in PostgreSQL: not installed, not measured"]
        return
    with postgres_server() as server:
        async with shared_journal(
            f"postgresql://postgres@/postgres?host={server.folder}&port={server.port}"
        ) as journal:
            await _add_appends(report, journal)


async def _add_appends(report: Report, journal: PostgresJournal) -> None:
    rows = list(open_position(1))[2:4]

    async def append() -> None:
        await journal.append(rows)

    report.title("durable appends of two rows in PostgreSQL")
    for at_once in (1, 50):
        sample = Sample()
        for _ in range(_ROUNDS):
            await run_round(sample, append, _WRITES, at_once)
        report.sample(f"postgres_{at_once}", f"journal, {at_once} at once", sample)


@asynccontextmanager
async def shared_journal(url: str) -> AsyncIterator[PostgresJournal]:
    """Yield a shared journal that is open and whose lease is kept."""

    async def open_session() -> DriverSession:
        return await connect(url, None, name="bench")

    for_lease, for_rows = (SessionSource(open_session, _CALL_SECONDS) for _ in range(2))
    lease = PostgresLease(for_lease, SystemClock(), "bench", "bench", _LEASE_TERM)
    journal = PostgresJournal(for_rows, lease, "bench")
    await journal.open()
    keeping = asyncio.create_task(journal.keep())
    try:
        yield journal
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await journal.close()
        await for_rows.close()
        await for_lease.close()


async def measure_recovery(report: Report, folder: Path) -> None:
    """Add the time from a closed file to folded positions, and what of it is the opening."""
    path = folder / "recovery.db"
    journal = SqliteJournal(path)
    await journal.open()
    await journal.append([row for number in range(_POSITIONS) for row in open_position(number)])
    await journal.close()
    opened, whole, count = [], [], 0
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        journal = SqliteJournal(path)
        await journal.open()
        opened.append(time.perf_counter() - begun)
        events = await journal.load()
        positions = fold_all(events)
        whole.append(time.perf_counter() - begun)
        count = len(events)
        await journal.close()
        if len(positions) != _POSITIONS or any(isinstance(row, EngineHalted) for row in events):
            raise RuntimeError("the positions that were written are not those that were read")
    report.title(f"recovery of {_POSITIONS} open positions, {count} rows")
    report.figure("open_ms", "checked, migrated, marked: p50 of rounds, ms", _middle(opened))
    report.figure("recovery_ms", "and loaded, verified, folded, ms", _middle(whole))
    report.figure("recovery_most_ms", "the slowest round, ms", max(whole) * 1000)


def fold_all(events: tuple[Event, ...]) -> dict[str, Position]:
    """Return the positions that the events give."""
    positions: dict[str, Position] = {}
    for event in events:
        key = getattr(event, "position_id", None)
        if key is None:
            continue
        held = positions.get(key)
        positions[key] = begin(event) if held is None else fold(held, event)  # type: ignore[arg-type]  # the first is the intent
    return positions


def _middle(times: list[float]) -> float:
    return sorted(times)[len(times) // 2] * 1000


def _write_bare(handle: int, size: int) -> None:
    os.write(handle, b"x" * size)
    os.fsync(handle)


def main() -> int:
    """Measure, print the table and end with 0."""
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure_writes(report, Path(folder)))
        asyncio.run(measure_postgres(report))
        asyncio.run(measure_recovery(report, Path(folder)))
    sys.stdout.write(report.text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
