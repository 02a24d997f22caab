"""The disks of the simulated processes: what is durable is what a crash leaves.

A write becomes durable after a seeded time, in one callback of the loop, and its writer learns of
it in a later one: a process can die before the one, between the two, and after both.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

from services.common.errors import PreconditionError
from services.connector.ledger import Ledger
from services.connector.ledger_birth import read_birth
from services.connector.ledger_rows import create_tables, open_rows
from services.connector.ledger_writer import LedgerWriter, _Job
from services.engine.event_codec import VERSION, decode_event, encode_event
from services.engine.events import CommandAccepted, Event
from services.engine.journal import JournalError

T = TypeVar("T")
_LEAST_SECONDS: Final = 0.0002
_MOST_SECONDS: Final = 0.002


# Not frozen: it is written to.
@dataclass(slots=True)
class JournalImage:
    """The durable rows of an engine's journal; `is_full` refuses every write.

    `epoch` counts the openings: who opened it before the last may write no more. Each write takes
    `slow_seconds` longer.
    """

    rows: list[tuple[str, str]] = field(default_factory=list)
    request_ids: set[str] = field(default_factory=set)
    is_full: bool = False
    slow_seconds: float = 0.0
    epoch: int = 0

    def events(self) -> tuple[Event, ...]:
        """Return the durable events, oldest first."""
        return tuple(decode_event(kind, VERSION, body) for kind, body in self.rows)


@dataclass(frozen=True, slots=True, eq=False)
class _Write:
    rows: tuple[tuple[str, str], ...]
    request_ids: tuple[str, ...]
    done: asyncio.Future[None] | None


class SimJournal:
    """A journal on an image, with the group commit of the real one; implements `Journal`."""

    def __init__(
        self, image: JournalImage, chance: random.Random, written: Callable[[str], None]
    ) -> None:
        self._image = image
        self._epoch = image.epoch
        self._chance = chance
        self._written = written
        self._waiting: list[_Write] = []
        self._is_busy = False

    async def append(self, events: Sequence[Event]) -> None:
        """Append durably; see `Journal.append`."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(events, done)
        await asyncio.shield(done)

    def append_soon(self, events: Sequence[Event]) -> None:
        """Append without waiting; see `Journal.append_soon`."""
        self._put(events, None)

    async def load(self) -> tuple[Event, ...]:
        """Read the whole journal; see `Journal.load`."""
        return self._image.events()

    def _put(self, events: Sequence[Event], done: asyncio.Future[None] | None) -> None:
        ids = tuple(e.request_id for e in events if isinstance(e, CommandAccepted))
        # Encoded at once, as the real one does: what cannot be journaled raises here.
        self._waiting.append(_Write(tuple(encode_event(event) for event in events), ids, done))
        if not self._is_busy:
            self._begin()

    def _begin(self) -> None:
        self._is_busy = True
        batch, self._waiting = self._waiting, []
        asyncio.get_running_loop().call_later(
            _commit_seconds(self._chance) + self._image.slow_seconds, self._land, batch
        )

    def _land(self, batch: list[_Write]) -> None:
        ids = [one for write in batch for one in write.request_ids]
        image = self._image
        failure = None
        if self._epoch < image.epoch:
            # As of a journal that several engines share: its rows are bound to the lease.
            failure = JournalError("another engine has taken the journal over")
        elif image.is_full or any(one in image.request_ids for one in ids):
            failure = JournalError("the journal cannot be written: database or disk is full")
            # As the real one: what nobody waits for is kept and written again.
            self._waiting = [w for w in batch if w.done is None] + self._waiting
        else:
            image.rows.extend(row for write in batch for row in write.rows)
            image.request_ids.update(ids)
            for write in batch:
                for kind, _ in write.rows:
                    self._written(kind)
        asyncio.get_running_loop().call_soon(self._tell, batch, failure)

    def _tell(self, batch: list[_Write], failure: JournalError | None) -> None:
        for write in batch:
            if write.done is not None and not write.done.done():
                if failure is None:
                    write.done.set_result(None)
                else:
                    write.done.set_exception(failure)
        self._is_busy = False
        # Kept rows alone wait for the next append, or a full disk would be tried without end.
        if any(write.done is not None for write in self._waiting) or (
            self._waiting and failure is None
        ):
            self._begin()


@cache
def _empty_ledger() -> bytes:
    """Return a ledger with its tables, made once: to make them is a twentieth of a life."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        create_tables(connection, 0)
        return connection.serialize()


class LedgerImage:
    """A connector's ledger file in memory: SQLite's own, written in whole transactions only."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.connection.deserialize(_empty_ledger())
        self.mark = os.memfd_create("ledger-mark")
        self.is_full = False

    def close(self) -> None:
        """Give the memory back."""
        self.connection.close()
        os.close(self.mark)


class SimLedger(Ledger):
    """The connector's ledger on an image."""

    def __init__(
        self,
        image: LedgerImage,
        chance: random.Random,
        written: Callable[[], None],
        path: Path,
        venue: str,
    ) -> None:
        super().__init__(path, venue)
        self._image = image
        self._chance = chance
        self._told = written

    def open(self) -> None:
        """Open the image as `Ledger.open` opens a file."""
        connection = self._image.connection
        open_rows(connection)
        oldest = connection.execute("SELECT min(created_us) FROM orders").fetchone()[0]
        now = time.time_ns() // 1_000
        self._birth = read_birth(connection, self._image.mark, self._venue, now, oldest)
        self._seen = {row[0] for row in connection.execute("SELECT * FROM seen_ids")}
        self._read_symbols = {row[0] for row in connection.execute("SELECT * FROM read_symbols")}
        self._writer = _LedgerWriter(self._image, self._chance, self._told)


class _LedgerWriter(LedgerWriter):
    """The writer's batches without its thread: each is one callback of the loop."""

    def __init__(
        self, image: LedgerImage, chance: random.Random, written: Callable[[], None]
    ) -> None:
        super().__init__(image.connection)
        self._image = image
        self._chance = chance
        self._written = written
        self._is_busy = False

    def close(self) -> None:
        """Run what is queued; the image stays."""
        self._closed = True
        while self._urgent or self._others:
            for job, result, failure in self._run_batch(self._take()):
                job.settle(result, failure)

    async def run(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        urgent: bool,
        patient: bool = False,
        brief: bool = False,
    ) -> T:
        """Run a job inside a transaction; see `LedgerWriter.run`."""
        del patient, brief
        if self._closed:
            raise PreconditionError("the order ledger is closed", reason="LEDGER_UNAVAILABLE")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        (self._urgent if urgent else self._others).append(_Job(work, future, loop))
        if not self._is_busy:
            self._is_busy = True
            loop.call_later(_commit_seconds(self._chance), self._land)
        return await future

    def _land(self) -> None:
        batch = self._take()
        if self._image.is_full:
            settled: list[Any] = [
                (job, None, sqlite3.OperationalError("database or disk is full")) for job in batch
            ]
        else:
            settled = self._run_batch(batch)
            self._written()
        asyncio.get_running_loop().call_soon(self._tell, settled)

    def _tell(self, settled: list[Any]) -> None:
        for job, result, failure in settled:
            job.settle(result, failure)
        self._is_busy = bool(self._urgent or self._others)
        if self._is_busy:
            asyncio.get_running_loop().call_later(_commit_seconds(self._chance), self._land)


def _commit_seconds(chance: random.Random) -> float:
    return chance.uniform(_LEAST_SECONDS, _MOST_SECONDS)
