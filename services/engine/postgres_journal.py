"""The journal in PostgreSQL for several engines, one of which works at a time.

One task writes: what waits goes into one statement, bound to the epoch of the lease. The rows are
chained as in the SQLite journal, and the chain also tells after a broken connection whether a
statement whose answer was lost took effect.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from services.common.logs import get_logger
from services.engine import postgres_schema as sql
from services.engine.events import CommandAccepted, Event
from services.engine.journal import JournalError
from services.engine.journal_chain import (
    ChainBrokenError,
    ChainHead,
    JournalRow,
    checked_rows,
    event_of,
    first_head,
    follow,
    row_of,
)
from services.engine.journal_parts import (
    PAGE_ROWS,
    WHOLE_ROWS,
    JournalPage,
    OpenPart,
    event_beside,
    live_changes,
)
from services.engine.leadership import JOURNAL_AHEAD, LEASE_LOST, Leadership
from services.engine.postgres_lease import PostgresLease, lease_lost
from services.engine.postgres_session import SessionSource

_TAIL_ROWS: Final = 64
_MIGRATING_SECONDS: Final = 600.0
"""An index over all rows of months takes longer than any other statement may."""
_logger = get_logger(__name__)


# Compared by identity: two appends of equal rows are two appends.
@dataclass(frozen=True, slots=True, eq=False)
class _Write:
    """Rows of one append; the future is set when they are durable or lost."""

    rows: tuple[JournalRow, ...]
    done: asyncio.Future[None] | None = field(default=None)


@dataclass(frozen=True, slots=True)
class _Doubt:
    """An attempt that may have taken effect after all, by the head that tells of it then.

    Of what was kept since, so many writes were in it; `is_told`: so were some whose callers heard
    that they are not in the journal.
    """

    kept: int = 0
    is_told: bool = False


class PostgresJournal:
    """A `Journal` on one book of a PostgreSQL database; open it before use, close it after."""

    def __init__(
        self,
        sessions: SessionSource,
        lease: PostgresLease,
        book: str,
        leadership: Leadership | None = None,
    ) -> None:
        self._sessions = sessions
        self._lease = lease
        self._book = book
        self._leadership = leadership or Leadership()
        self._queue: asyncio.Queue[_Write | None] = asyncio.Queue()
        self._kept: list[_Write] = []
        self._head: ChainHead | None = None
        self._doubts: dict[ChainHead, _Doubt] = {}
        self._writer: asyncio.Task[None] | None = None

    @property
    def epoch(self) -> int:
        """Epoch of the lease; orders carry it."""
        return self._lease.epoch

    @property
    def is_continued(self) -> bool:
        """Whether no other engine worked the book since this one last did."""
        return self._lease.is_continued

    async def open(self, waiting: Callable[[str], None] = lambda _holder: None) -> None:
        """Make the tables where they are missing, wait for the lease and start the writer.

        From then on `keep` must run. `waiting` is told who has the lease, where somebody has.
        Raises JournalError where the database cannot be used or has tables of a later release.
        """
        try:
            await self._migrate()
            await self._lease.acquire(waiting)
        except JournalError:
            raise
        except Exception as error:
            raise JournalError(f"cannot open the journal {self._book}: {_words(error)}") from error
        self._writer = asyncio.get_running_loop().create_task(self._run())

    async def keep(self) -> None:
        """Keep the lease until cancelled, or until another engine has it."""
        try:
            await self._lease.keep()
        except JournalError as error:
            self._leadership.lose(error.reason, error.message)

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
        # Its caller may be gone by then: the error was told to the leadership, or is told again.
        done.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        self._put(_Write(_rows(events), done))
        # A caller that gives up must not cancel what the writer is going to set.
        await asyncio.shield(done)

    def append_soon(self, events: Sequence[Event]) -> None:
        """Append without waiting; see `Journal.append_soon`."""
        self._put(_Write(_rows(events)))

    async def load(self) -> tuple[Event, ...]:
        """Read the whole journal; see `Journal.load`."""
        events: list[Event] = []
        head = first_head(self._book)
        try:
            # In pages, each bounded as every call is; decoded in a thread: the lease is kept.
            while found := await self._sessions.read(sql.ROWS, self._book, head.sequence):
                page, head = await asyncio.to_thread(_decode, head, found)
                events += page
        except Exception as error:
            raise self._unread(error) from error
        return tuple(events)

    async def load_open(self) -> OpenPart:
        """Read what exits need; see `JournalParts.load_open`."""
        try:
            upto = (await self._read_head()).sequence
            if upto <= WHOLE_ROWS:
                return OpenPart(await self.load(), upto, is_whole=True)
            await self._read_beside(sql.NEWEST, upto - _TAIL_ROWS)
            events: list[Event] = []
            last = 0
            while found := await self._sessions.read(sql.OPEN, self._book, last):
                events += await asyncio.to_thread(_decode_beside, self._book, found)
                last = found[-1][0]
        except JournalError:
            raise
        except Exception as error:
            raise self._unread(error) from error
        return OpenPart(tuple(events), upto, is_whole=False)

    async def load_page(self, after: ChainHead | None, upto: int) -> JournalPage:
        """Read on; see `JournalParts.load_page`. A database that is away is waited for."""
        head = after or first_head(self._book)
        found = await self._page(head.sequence, upto)
        try:
            if not found and head.sequence < upto:
                raise ChainBrokenError(f"row {head.sequence + 1} is not as it was written")
            events, head = await asyncio.to_thread(_decode, head, found)
        except Exception as error:
            raise self._unread(error) from error
        return JournalPage(tuple(events), head)

    async def _page(self, after: int, upto: int) -> Sequence[Any]:
        while True:
            try:
                return await self._sessions.read(sql.PAGE, self._book, after, upto, PAGE_ROWS)
            except Exception as error:
                # Nobody reads the rest again: given up here, no entry would be taken in this life.
                _logger.warning("journal_awaited", book=self._book, problem=_words(error))
                await self._lease.until_back()

    async def find_command(self, request_id: str) -> CommandAccepted | None:
        """Look a command up; see `JournalParts.find_command`."""
        try:
            found = await self._read_beside(sql.COMMAND, request_id)
        except Exception as error:
            raise self._unread(error) from error
        return next((event for event in found if isinstance(event, CommandAccepted)), None)

    async def _read_beside(self, query: str, wanted: object) -> list[Event]:
        found = await self._sessions.read(query, self._book, wanted)
        return await asyncio.to_thread(_decode_beside, self._book, found)

    def _unread(self, error: Exception) -> JournalError:
        return JournalError(f"cannot read the journal {self._book}: {_words(error)}")

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
        for version in range(row[0] + 1, len(sql.MIGRATIONS) + 1):
            await self._sessions.fetch(sql.migration(version), seconds=_MIGRATING_SECONDS)

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
        problem = await self._try(writes)
        self._kept = [] if problem is None else [write for write in writes if write.done is None]
        for write in writes:
            if write.done is None or write.done.done():
                continue
            if problem is None:
                write.done.set_result(None)
            else:
                write.done.set_exception(problem)

    async def _try(self, writes: list[_Write]) -> JournalError | None:
        if not any(write.rows for write in writes):
            return None
        head, self._head = self._head, None
        try:
            head = head or await self._read_head()
            doubt = self._doubts.get(head, _Doubt())
            if doubt.is_told:
                return self._lose(JOURNAL_AHEAD, f"{self._book} took rows that were told as lost")
            # What is kept comes first, in the order in which it was tried.
            rows = [row for write in writes[doubt.kept :] for row in write.rows]
            end, text = _encode(head, rows)
        except Exception as error:
            return _unwritten(error)
        problem = await self._append(head, end, text) if rows else None
        if problem is None:
            self._head = end
            self._doubts.clear()
        elif problem.reason == LEASE_LOST:
            self._lose(problem.reason, problem.message)
        else:
            kept = sum(write.done is None for write in writes)
            is_told = any(write.done is not None and write.rows for write in writes)
            self._doubts[end] = _Doubt(kept, is_told)
        return problem

    def _lose(self, reason: str, problem: str) -> JournalError:
        self._leadership.lose(reason, problem)
        return JournalError(problem, reason=reason)

    async def _append(
        self, head: ChainHead, end: ChainHead, text: tuple[str, str]
    ) -> JournalError | None:
        is_repeat = False
        while True:
            try:
                taken = await self._sessions.fetch(sql.APPEND, self._book, self._lease.epoch, *text)
            except Exception as error:
                # Perhaps the answer alone was lost: the rows are there, or they are not.
                found = await self._found_head()
                if found == end:
                    return None
                # Not there, by the word of a new connection: once more, over that one.
                if found != head or is_repeat:
                    return _unwritten(error)
                is_repeat = True
            else:
                return None if taken else lease_lost(self._book, self._lease.epoch)

    async def _found_head(self) -> ChainHead | None:
        try:
            return await self._read_head()
        # Not known to be durable is not durable.
        except Exception:
            return None

    async def _read_head(self) -> ChainHead:
        found = await self._sessions.read(sql.HEAD, self._book)
        if not found:
            return first_head(self._book)
        return ChainHead(int(found[0][0]), bytes.fromhex(found[0][1]))


def _encode(head: ChainHead, rows: Sequence[JournalRow]) -> tuple[ChainHead, tuple[str, str]]:
    """Return the head after the rows, and as the statement takes them the rows and who is open."""
    records = []
    for row in rows:
        head = follow(head, row)
        records.append({"sequence": head.sequence, **row._asdict(), "digest": head.digest.hex()})
    changes = [{"position_id": key, "is_live": live} for key, live in live_changes(rows).items()]
    return head, (json.dumps(records), json.dumps(changes))


def _unwritten(error: Exception) -> JournalError:
    return JournalError(f"the journal cannot be written: {_words(error)}")


def _words(error: Exception) -> str:
    """Return what an error says; a timeout has no words of its own."""
    return str(error) or type(error).__name__


def _decode(head: ChainHead, found: Sequence[Any]) -> tuple[list[Event], ChainHead]:
    """Return the events of rows that follow a head, and the head after them."""
    events = []
    rows = ((*row[:-1], bytes.fromhex(row[-1])) for row in map(tuple, found))
    for after, row in checked_rows(head, rows):
        head = after
        events.append(event_of(row))
    return events, head


def _decode_beside(book: str, found: Sequence[Any]) -> list[Event]:
    """Return the events of rows that come with the digest of the row before each."""
    events = []
    for *row, digest, before in map(tuple, found):
        if before is None and row[0] != 1:
            raise ChainBrokenError(f"row {row[0] - 1} is not as it was written")
        known = first_head(book).digest if before is None else bytes.fromhex(before)
        events.append(event_beside((*row, bytes.fromhex(digest)), known))
    return events


def _rows(events: Sequence[Event]) -> tuple[JournalRow, ...]:
    return tuple(row_of(event) for event in events)
