"""The order ledger: one row per client order id, durable before the order is sent.

SQLite in WAL mode with synchronous FULL, so a committed row survives the power cord. One writer
owns the connection; rows that arrive together share one commit. One process owns the file (a lock
file beside it), because two connectors on one ledger could each think an id new. A file that is
damaged is refused, never taken for an empty one.
"""

from __future__ import annotations

import os
import sqlite3
import time
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from services.common.errors import AlreadyExistsError, FatalError, PreconditionError
from services.common.file_lock import lock_beside
from services.common.logs import get_logger
from services.common.room_reserve import lacks_room
from services.connector.ledger_birth import HISTORY_SPAN, Birth, read_birth
from services.connector.ledger_rows import (
    SCHEMA_VERSION,
    DamagedRowError,
    LedgerRow,
    Phase,
    create_tables,
    find_row,
    insert_row,
    open_rows,
    symbol_rows,
    update_row,
)
from services.connector.ledger_writer import LedgerWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from services.common.room_reserve import Reserve

__all__ = ["Ledger", "LedgerRow", "Phase"]

T = TypeVar("T")
_logger = get_logger(__name__)
_CHECKED_WHOLE_BYTES: Final = 64 * 1024 * 1024
"""Up to this size every page is checked at the start; beyond, pages are checked as they are read.
"""

_HOW_TO_GO_ON: Final = (
    "move it away with its -wal and -shm files (keep them), leave the .lock file, and start again: "
    "what the venue lists of the last days is then read before an id is used"
)
_NOT_ITS_FAULT: Final = (
    "leave it where it is; make room on its disk, or give file and folder to this user, and start "
    "again"
)


class LedgerObserver(Protocol):
    """Who is told of durable writes."""

    def ledger_written(self, seconds: float) -> None:
        """Observe one write, its place in the queue included."""
        ...

    def ledger_failed(self) -> None:
        """Count a write that failed."""
        ...


class Ledger:
    """The rows of one venue account. Open it, use it from one event loop, close it."""

    def __init__(
        self,
        path: Path,
        venue: str = "",
        reserve: Reserve | None = None,
        observer: LedgerObserver | None = None,
    ) -> None:
        self._observer = observer
        self._path = path
        self._venue = venue
        self._reserve = reserve
        self._writer: LedgerWriter | None = None
        self._lock_handle: int | None = None
        self._birth: Birth | None = None
        self._seen: set[str] = set()
        self._read_symbols: set[str] = set()

    @property
    def is_new(self) -> bool:
        """Whether `open` created it: what was sent before it, if anything, is not in it."""
        return self._birth is not None and self._birth.is_new

    @property
    def is_first(self) -> bool:
        """Whether `open` created it where there has never been one."""
        return self.is_new and self._birth is not None and not self._birth.was_lost

    def open(self) -> None:
        """Open or create the file and start the writer, on a full disk in the room of the reserve.

        Raises FatalError when another process has it (LEDGER_IN_USE), when it is damaged, of a
        later version or of another venue (LEDGER_UNUSABLE), or when disk or permissions keep it
        from being opened (LEDGER_UNAVAILABLE).
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock_handle = _lock(self._path)
        try:
            connection, self._birth = self._connect(self._lock_handle)
        except (sqlite3.Error, FatalError) as error:
            self._release_lock()
            raise _unusable(self._path, error) from error
        if self._birth.was_lost:
            _logger.error("ledger_lost_or_replaced", path=str(self._path))
        if self._reserve is not None and not self._reserve.hold():
            _logger.warning("ledger_reserve_missing", path=str(self._path))
        self._writer = LedgerWriter(connection)
        self._writer.start()

    def close(self) -> None:
        """Write what is queued and stop the writer; the reserve stays for the next start."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._release_lock()

    def knows_all(self, symbol: str, now_us: int) -> bool:
        """Whether what was sent on a symbol within the venue's memory is in the ledger.

        It is when the ledger is older than that, or when the venue's list has been read.
        """
        birth = self._birth
        span_us = round(HISTORY_SPAN.total_seconds() * 1_000_000)
        old = birth is not None and now_us - birth.born_us >= span_us
        return old or symbol in self._read_symbols

    def has_seen(self, venue_client_id: str) -> bool:
        """Whether the venue listed an order under this id that the ledger has no row of."""
        return venue_client_id in self._seen

    async def remember_seen(self, symbol: str, ids: Iterable[str], *, whole: bool) -> None:
        """Keep the client ids the venue lists on a symbol; `whole`: the list had no gap."""
        kept = [(one,) for one in ids if one]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR IGNORE INTO seen_ids VALUES (?)", kept)
            if whole:
                connection.execute("INSERT OR IGNORE INTO read_symbols VALUES (?)", (symbol,))

        await self._submit(work, urgent=True)
        self._seen.update(one for (one,) in kept)
        if whole:
            self._read_symbols.add(symbol)

    async def record(
        self, row: LedgerRow, *, urgent: bool = False, brief: bool = True
    ) -> LedgerRow | None:
        """Write a new row durably; return None, or the row that has the id already.

        A row of phase NOT_SENT with the same content gives way: its order never left. Raises
        PreconditionError with reason LEDGER_UNAVAILABLE when the write failed, LEDGER_FULL when
        the room that is left is kept for `urgent` rows, AlreadyExistsError when another order has
        the row's id at the venue: send nothing then.
        An `urgent` row, of an order that reduces exposure, goes ahead of all others that wait; a
        `brief` one may be committed on the event loop, quickest for an order that is alone.
        """
        if not urgent and self._reserve is not None and not self._reserve.hold():
            raise PreconditionError(
                "the disk is full: no order that opens exposure is recorded", reason="LEDGER_FULL"
            )
        try:
            return await self._write(
                lambda connection: insert_row(connection, row), urgent=urgent, brief=brief
            )
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorname", "") == "SQLITE_CONSTRAINT_UNIQUE":
                raise AlreadyExistsError(
                    "another order has the form of this client order id at the venue",
                    metadata={"clientOrderId": row.client_order_id},
                ) from error
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
        order_number: int = 0,
        patient: bool = False,
    ) -> None:
        """Write what became of an order; raise sqlite3.Error when it cannot be written.

        A `patient` write may wait a moment to share the commit of the next row.
        """
        texts = (exchange_order_id, state, refusal)
        await self._write(
            lambda connection: update_row(connection, client_order_id, phase, texts, order_number),
            urgent=False,
            patient=patient,
        )

    async def find(self, client_order_id: str) -> LedgerRow | None:
        """Return the row of a client order id, None when there is none.

        Raises PreconditionError (LEDGER_UNAVAILABLE) when it cannot be read or is damaged.
        """
        return await self._one("client_order_id = ?", client_order_id)

    async def find_exchange_id(self, symbol: str, exchange_order_id: str) -> LedgerRow | None:
        """Return the row of a venue's order id on a symbol, None when it is not ours."""
        return await self._one("symbol = ? AND exchange_order_id = ?", symbol, exchange_order_id)

    async def find_order_number(self, symbol: str, order_number: int) -> LedgerRow | None:
        """Return the row of the int64 form of a venue's order id, None when it is not ours."""
        return await self._one("symbol = ? AND order_number = ?", symbol, order_number)

    async def open_rows(self) -> list[LedgerRow]:
        """Return all rows whose end is not proven, oldest first."""
        return await self._submit(open_rows, urgent=True)

    async def symbol_rows(self, symbol: str) -> list[LedgerRow]:
        """Return all rows of a symbol; raise PreconditionError when they cannot be read."""
        try:
            return await self._submit(
                lambda connection: symbol_rows(connection, symbol), urgent=True
            )
        except sqlite3.Error as error:
            raise PreconditionError(
                f"the order ledger cannot be read: {error}", reason="LEDGER_UNAVAILABLE"
            ) from error

    async def _one(self, condition: str, *values: str | int) -> LedgerRow | None:
        try:
            # Reads go first: a cancel looks its order up before it can leave.
            return await self._submit(
                lambda connection: find_row(connection, condition, *values), urgent=True
            )
        except sqlite3.Error as error:
            raise PreconditionError(
                f"the order ledger cannot be read: {error}", reason="LEDGER_UNAVAILABLE"
            ) from error

    async def _write(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        urgent: bool,
        patient: bool = False,
        brief: bool = False,
    ) -> T:
        """Do it, and tell the observer."""
        if self._observer is None:
            return await self._write_twice(work, urgent=urgent, patient=patient, brief=brief)
        began = time.perf_counter()
        try:
            done = await self._write_twice(work, urgent=urgent, patient=patient, brief=brief)
        except sqlite3.Error:
            self._observer.ledger_failed()
            raise
        self._observer.ledger_written(time.perf_counter() - began)
        return done

    async def _write_twice(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        urgent: bool,
        patient: bool = False,
        brief: bool = False,
    ) -> T:
        """Do it, and once more in the room of the reserve where the disk is full."""
        try:
            return await self._submit(work, urgent=urgent, patient=patient, brief=brief)
        except sqlite3.Error as error:
            if self._reserve is None or not self._reserve.is_held or not lacks_room(error):
                raise
            _logger.error("ledger_reserve_given_up", problem=str(error))
            self._reserve.give_up()
        return await self._submit(work, urgent=urgent, patient=patient, brief=brief)

    async def _submit(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        urgent: bool,
        patient: bool = False,
        brief: bool = False,
    ) -> T:
        if self._writer is None:
            raise PreconditionError("the order ledger is closed", reason="LEDGER_UNAVAILABLE")
        return await self._writer.run(work, urgent=urgent, patient=patient, brief=brief)

    def _connect(self, mark: int) -> tuple[sqlite3.Connection, Birth]:
        try:
            return self._connect_once(mark)
        except sqlite3.Error as error:
            if self._reserve is None or not lacks_room(error):
                raise
            # A start that died of it would leave what is open to nobody.
            _logger.error("ledger_reserve_given_up", problem=str(error))
            self._reserve.give_up()
        return self._connect_once(mark)

    def _connect_once(self, mark: int) -> tuple[sqlite3.Connection, Birth]:
        # No implicit transactions: the batch decides what is one commit.
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            return connection, self._prepare(connection, mark)
        except BaseException:
            connection.close()
            raise

    def _prepare(self, connection: sqlite3.Connection, mark: int) -> Birth:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA busy_timeout = 5000")
        # The writer's thread moves the log into the file: a commit that does it takes longest.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        # A newer program's rows may mean something else; guessing could resend an order.
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, 1, SCHEMA_VERSION):
            raise FatalError(f"its version is {version}, this program knows {SCHEMA_VERSION}")
        if self._path.stat().st_size <= _CHECKED_WHOLE_BYTES:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise DamagedRowError(f"it is damaged ({found})")
        create_tables(connection, version)
        # Their digests are checked here: an order in doubt that cannot be read must not be missed.
        open_rows(connection)
        oldest = connection.execute("SELECT min(created_us) FROM orders").fetchone()[0]
        birth = read_birth(connection, mark, self._venue, time.time_ns() // 1_000, oldest)
        self._seen = {row[0] for row in connection.execute("SELECT * FROM seen_ids")}
        self._read_symbols = {row[0] for row in connection.execute("SELECT * FROM read_symbols")}
        return birth

    def _release_lock(self) -> None:
        if self._lock_handle is not None:
            os.close(self._lock_handle)
            self._lock_handle = None


def _lock(path: Path) -> int:
    try:
        return lock_beside(path)
    except BlockingIOError as error:
        raise FatalError(
            f"another process has the order ledger {path} open", reason="LEDGER_IN_USE"
        ) from error


def _unusable(path: Path, error: sqlite3.Error | FatalError) -> FatalError:
    # Not damaged, as far as is known: moved away for want of room, a sound one would be missed.
    if isinstance(error, sqlite3.OperationalError):
        text = f"the order ledger {path} cannot be opened: {error}; {_NOT_ITS_FAULT}"
        return FatalError(text, reason="LEDGER_UNAVAILABLE")
    text = f"the order ledger {path} is unusable: {error}"
    if isinstance(error, sqlite3.Error):
        text = f"{text}; {_HOW_TO_GO_ON}"
    return FatalError(text, reason="LEDGER_UNUSABLE")
