"""The journal in PostgreSQL for several engines, one of which works at a time.

One task writes: what waits goes into one statement, bound to the epoch of the lease. The rows are
chained as in the SQLite journal, and the chain also tells after a broken connection whether a
statement whose answer was lost took effect.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from services.engine import postgres_schema as sql
from services.engine.events import Event
from services.engine.journal import JournalError
from services.engine.journal_chain import (
    ChainHead,
    JournalRow,
    checked_rows,
    event_of,
    first_head,
    follow,
    row_of,
)
from services.engine.postgres_lease import PostgresLease, lease_lost
from services.engine.postgres_session import SessionSource


# Compared by identity: two appends of equal rows are two appends.
@dataclass(frozen=True, slots=True, eq=False)
class _Write:
    """Rows of one append; the future is set when they are durable or lost."""

    rows: tuple[JournalRow, ...]
    done: asyncio.Future[None] | None = field(default=None)


class PostgresJournal:
    """A `Journal` on one book of a PostgreSQL database; open it before use, close it after."""

    def __init__(self, sessions: SessionSource, lease: PostgresLease, book: str) -> None:
        self._sessions = sessions
        self._lease = lease
        self._book = book
        self._queue: asyncio.Queue[_Write | None] = asyncio.Queue()
        self._kept: list[_Write] = []
        self._head: ChainHead | None = None
        self._writer: asyncio.Task[None] | None = None

    @property
    def epoch(self) -> int:
        """Epoch of the lease; orders carry it."""
        return self._lease.epoch

    async def open(self) -> None:
        """Make the tables where they are missing, wait for the lease and start the writer.

        Raises JournalError where the database cannot be used or has tables of a later release.
        """
        try:
            await self._migrate()
            await self._lease.acquire()
        except JournalError:
            raise
        except Exception as error:
            raise JournalError(f"cannot open the journal {self._book}: {error}") from error
        self._writer = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Write what is queued, stop the writer and release the lease."""
        if self._writer is not None:
            self._queue.put_nowait(None)
            await self._writer
            self._writer = None
            # Without the database the lease runs out by itself.
            with suppress(Exception):
                await self._lease.release()
        await self._sessions.close()

    async def append(self, events: Sequence[Event]) -> None:
        """Append durably; see `Journal.append`. Reason LEASE_LOST: another engine works now."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(_Write(_rows(events), done))
        # A caller that gives up must not cancel what the writer is going to set.
        await asyncio.shield(done)

    def append_soon(self, events: Sequence[Event]) -> None:
        """Append without waiting; see `Journal.append_soon`."""
        self._put(_Write(_rows(events)))

    async def load(self) -> tuple[Event, ...]:
        """Read the whole journal; see `Journal.load`."""
        try:
            found = await self._sessions.fetch(sql.ROWS, self._book)
            start = first_head(self._book)
            rows = ((*row[:-1], bytes.fromhex(row[-1])) for row in map(tuple, found))
            return tuple(event_of(row) for _, row in checked_rows(start, rows))
        except Exception as error:
            raise JournalError(f"cannot read the journal {self._book}: {error}") from error

    def _put(self, write: _Write) -> None:
        if self._writer is None:
            raise JournalError("the journal is not open")
        self._queue.put_nowait(write)

    async def _migrate(self) -> None:
        for statement in sql.BEGIN_MIGRATING:
            await self._sessions.fetch(statement)
        try:
            await self._bring_up()
        finally:
            await self._sessions.fetch(sql.END_MIGRATING)

    async def _bring_up(self) -> None:
        (row,) = await self._sessions.fetch(sql.READ_VERSION)
        if row[0] > len(sql.MIGRATIONS):
            raise JournalError(
                f"the journal has version {row[0]} of its tables, this release knows "
                f"{len(sql.MIGRATIONS)}"
            )
        for number, statements in enumerate(sql.MIGRATIONS[row[0] :], start=row[0] + 1):
            for statement in statements:
                await self._sessions.fetch(statement)
            await self._sessions.fetch(sql.WRITE_VERSION, number)

    async def _run(self) -> None:
        stopping = False
        while not stopping:
            batch = [await self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get_nowait())
            stopping = None in batch
            await self._write([write for write in batch if write is not None])

    async def _write(self, batch: list[_Write]) -> None:
        writes = self._kept + batch
        problem = await self._try([row for write in writes for row in write.rows])
        self._kept = [] if problem is None else [write for write in writes if write.done is None]
        for write in writes:
            if write.done is None or write.done.done():
                continue
            if problem is None:
                write.done.set_result(None)
            else:
                write.done.set_exception(problem)

    async def _try(self, rows: list[JournalRow]) -> JournalError | None:
        if not rows:
            return None
        try:
            head = self._head or await self._read_head()
            end, text = _encode(head, rows)
        except Exception as error:
            return JournalError(f"the journal cannot be written: {error}")
        self._head = None
        try:
            taken = await self._sessions.fetch(sql.APPEND, self._book, self._lease.epoch, text)
        except Exception as error:
            # Perhaps the answer alone was lost: the rows are there, or they are not.
            if not await self._reached(end):
                return JournalError(f"the journal cannot be written: {error}")
        else:
            if not taken:
                return lease_lost(self._book, self._lease.epoch)
        self._head = end
        return None

    async def _reached(self, end: ChainHead) -> bool:
        try:
            return await self._read_head() == end
        # Not known to be durable is not durable.
        except Exception:
            return False

    async def _read_head(self) -> ChainHead:
        found = await self._sessions.fetch(sql.HEAD, self._book)
        if not found:
            return first_head(self._book)
        return ChainHead(int(found[0][0]), bytes.fromhex(found[0][1]))


def _encode(head: ChainHead, rows: Sequence[JournalRow]) -> tuple[ChainHead, str]:
    """Return the head after the rows, and the rows as the statement takes them."""
    records = []
    for row in rows:
        head = follow(head, row)
        records.append({"sequence": head.sequence, **row._asdict(), "digest": head.digest.hex()})
    return head, json.dumps(records)


def _rows(events: Sequence[Event]) -> tuple[JournalRow, ...]:
    return tuple(row_of(event) for event in events)
