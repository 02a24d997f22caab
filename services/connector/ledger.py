"""The order ledger: one row per client order id, durable before the order is sent.

SQLite in WAL mode with synchronous FULL, so a committed row survives the power cord. One thread
owns the connection; rows that arrive together share one commit. One process owns the file (a lock
file beside it), because two connectors on one ledger could each think an id new.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from services.common.errors import FatalError, PreconditionError
from services.common.file_lock import lock_beside

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")
SCHEMA_VERSION = 1
_BATCH = 256


class Phase(StrEnum):
    """How far an order has come, as far as is durable."""

    OPEN = "open"
    """Recorded; sent or about to be; its outcome is not proven or it still lives."""
    CLOSED = "closed"
    """The venue said its end; `state` holds it."""
    REJECTED = "rejected"
    """Refused for certain; `refusal` says why."""
    NOT_ARRIVED = "not_arrived"
    """Not found after the fence: proven never to have reached the venue."""
    NOT_SENT = "not_sent"
    """Refused in a way that may pass (rate limit); the same id may be sent again by its owner."""


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One order; `intent`, `state` and `refusal` are JSON text, the last two empty until known."""

    client_order_id: str
    venue_client_id: str
    content_hash: str
    symbol: str
    phase: Phase
    created_us: int
    intent: str
    exchange_order_id: str = ""
    state: str = ""
    refusal: str = ""


_COLUMNS = (
    "client_order_id, venue_client_id, content_hash, symbol, phase, created_us, intent, "
    "exchange_order_id, state, refusal"
)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    client_order_id TEXT PRIMARY KEY,
    venue_client_id TEXT NOT NULL UNIQUE,
    content_hash TEXT NOT NULL,
    symbol TEXT NOT NULL,
    phase TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    intent TEXT NOT NULL,
    exchange_order_id TEXT NOT NULL,
    state TEXT NOT NULL,
    refusal TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS orders_open ON orders (created_us) WHERE phase = 'open';
CREATE INDEX IF NOT EXISTS orders_exchange_order_id ON orders (exchange_order_id);
"""


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop

    def settle(self, result: Any, error: Exception | None) -> None:
        def apply() -> None:
            if self.future.done():
                return
            if error is not None:
                self.future.set_exception(error)
            else:
                self.future.set_result(result)

        # The loop may be gone when the process is on its way out; then nobody waits.
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(apply)


class Ledger:
    """The rows of one venue account. Open it, use it from one event loop, close it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock_handle: int | None = None
        self._is_new = False

    @property
    def is_new(self) -> bool:
        """Whether `open` created the file: what was sent before it, if anything, is not in it."""
        return self._is_new

    def open(self) -> None:
        """Open or create the file and start the writer.

        Raises FatalError when another process has it, or when it is not a ledger of this version.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock_handle = _lock(self._path)
        # Looked at under the lock: another process might be creating it just now.
        self._is_new = not self._path.exists()
        try:
            # No implicit transactions: the batch decides what is one commit.
            connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            _prepare(connection)
        except (sqlite3.Error, FatalError) as error:
            self._release_lock()
            raise FatalError(
                f"the order ledger is unusable: {error}", reason="LEDGER_UNUSABLE"
            ) from error
        self._thread = threading.Thread(
            target=_write_loop, args=(connection, self._jobs), name="ledger", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Write what is queued and stop the writer."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None
        self._release_lock()

    async def record(self, row: LedgerRow) -> LedgerRow | None:
        """Write a new row durably; return None, or the row that has the id already.

        A row of phase NOT_SENT with the same content gives way: its order never left. Raises
        PreconditionError with reason LEDGER_UNAVAILABLE when the write failed: send nothing then.
        """
        try:
            return await self._submit(lambda connection: _insert(connection, row))
        except sqlite3.Error as error:
            raise PreconditionError(
                "the order ledger cannot be written; nothing was sent",
                reason="LEDGER_UNAVAILABLE",
            ) from error

    async def update(
        self,
        client_order_id: str,
        phase: Phase,
        *,
        exchange_order_id: str = "",
        state: str = "",
        refusal: str = "",
    ) -> None:
        """Write what became of an order; raise sqlite3.Error when it cannot be written."""
        values = (phase.value, exchange_order_id, state, refusal, client_order_id)
        await self._submit(
            lambda connection: (
                connection.execute(
                    "UPDATE orders SET phase = ?, exchange_order_id = ?, state = ?, refusal = ? "
                    "WHERE client_order_id = ?",
                    values,
                ).rowcount
            )
        )

    async def find(self, client_order_id: str) -> LedgerRow | None:
        """Return the row of a client order id, None when there is none."""
        return await self._one("client_order_id = ?", client_order_id)

    async def find_exchange_id(self, symbol: str, exchange_order_id: str) -> LedgerRow | None:
        """Return the row of a venue's order id on a symbol, None when it is not ours."""
        return await self._one("symbol = ? AND exchange_order_id = ?", symbol, exchange_order_id)

    async def open_rows(self) -> list[LedgerRow]:
        """Return all rows whose end is not proven, oldest first."""
        return await self._submit(
            lambda connection: [
                _to_row(found)
                for found in connection.execute(
                    f"SELECT {_COLUMNS} FROM orders WHERE phase = 'open' ORDER BY created_us"  # noqa: S608 - fixed text
                )
            ]
        )

    async def _one(self, condition: str, *values: str) -> LedgerRow | None:
        query = f"SELECT {_COLUMNS} FROM orders WHERE {condition}"  # noqa: S608 - fixed conditions

        def work(connection: sqlite3.Connection) -> LedgerRow | None:
            found = connection.execute(query, values).fetchone()
            return None if found is None else _to_row(found)

        return await self._submit(work)

    async def _submit(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._thread is None:
            raise PreconditionError("the order ledger is closed", reason="LEDGER_UNAVAILABLE")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put(_Job(work, future, loop))
        return await future

    def _release_lock(self) -> None:
        if self._lock_handle is not None:
            os.close(self._lock_handle)
            self._lock_handle = None


def _insert(connection: sqlite3.Connection, row: LedgerRow) -> LedgerRow | None:
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM orders WHERE client_order_id = ?",  # noqa: S608 - fixed text
        (row.client_order_id,),
    ).fetchone()
    if found is not None:
        existing = _to_row(found)
        # Only an order that provably never left may be sent under its id again.
        if existing.phase is not Phase.NOT_SENT or existing.content_hash != row.content_hash:
            return existing
    connection.execute(
        f"INSERT OR REPLACE INTO orders ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - fixed text
        (
            row.client_order_id,
            row.venue_client_id,
            row.content_hash,
            row.symbol,
            row.phase.value,
            row.created_us,
            row.intent,
            row.exchange_order_id,
            row.state,
            row.refusal,
        ),
    )
    return None


def _to_row(found: tuple[Any, ...]) -> LedgerRow:
    identity, venue_id, content, symbol, phase, created, intent, order_id, state, refusal = found
    return LedgerRow(
        identity, venue_id, content, symbol, Phase(phase), created, intent, order_id, state, refusal
    )


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA busy_timeout = 5000")
    # A newer program's rows may mean something else; guessing could resend an order.
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise FatalError(f"its version is {version}, this program knows {SCHEMA_VERSION}")
    connection.executescript(_SCHEMA)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _lock(path: Path) -> int:
    try:
        return lock_beside(path)
    except BlockingIOError as error:
        raise FatalError(
            f"another process has the order ledger {path} open", reason="LEDGER_IN_USE"
        ) from error


def _write_loop(connection: sqlite3.Connection, jobs: queue.SimpleQueue[_Job | None]) -> None:
    stopping = False
    while not stopping:
        # Blocks in its own thread; the event loop never waits for the disk.
        batch = [jobs.get()]
        while len(batch) < _BATCH:
            try:
                batch.append(jobs.get_nowait())
            except queue.Empty:
                break
        stopping = None in batch
        _run_batch(connection, [job for job in batch if job is not None])
    connection.close()


def _run_batch(connection: sqlite3.Connection, batch: list[_Job]) -> None:
    """Run the jobs in one transaction; if it fails, no job has happened and all learn it."""
    if not batch:
        return
    results: list[Any] = []
    try:
        # One commit for the batch: the fsync is the whole cost of a row.
        connection.execute("BEGIN IMMEDIATE")
        results.extend(job.work(connection) for job in batch)
        connection.execute("COMMIT")
    except Exception as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        for job in batch:
            job.settle(None, error)
        return
    for job, result in zip(batch, results, strict=True):
        job.settle(result, None)
