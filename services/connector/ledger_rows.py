"""Rows of the order ledger: their columns, their check sums, and the statements on them.

SQLite does not notice a flipped byte inside a row, so each row carries two digests: one of what was
sent, written once, one of what became of it, written anew with each outcome.
"""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA_VERSION: Final = 2


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
    """One order; `intent`, `state` and `refusal` are JSON text, the last two empty until known.

    `created_us` is our clock's microseconds since 1970 just before the sending, `venue` the code of
    the account it was sent to, `order_number` the int64 form of `exchange_order_id`.
    """

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
    order_class: str = ""
    venue: str = ""
    order_number: int = 0


class DamagedRowError(sqlite3.DatabaseError):
    """A row that is not as it was written."""


_COLUMNS: Final = (
    "client_order_id, venue_client_id, content_hash, symbol, phase, created_us, intent, "
    "exchange_order_id, state, refusal, order_class, venue, order_number, "
    "intent_digest, outcome_digest"
)
_SCHEMA: Final = """
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
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS seen_ids (venue_client_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS read_symbols (symbol TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS orders_open ON orders (created_us) WHERE phase = 'open';
CREATE INDEX IF NOT EXISTS orders_exchange_order_id ON orders (exchange_order_id);
"""
_ADDED: Final = (
    ("order_class", "TEXT NOT NULL DEFAULT ''"),
    ("venue", "TEXT NOT NULL DEFAULT ''"),
    ("order_number", "INTEGER NOT NULL DEFAULT 0"),
    ("intent_digest", "TEXT NOT NULL DEFAULT ''"),
    ("outcome_digest", "TEXT NOT NULL DEFAULT ''"),
)
_VALUES: Final = f"INTO orders ({_COLUMNS}) VALUES ({', '.join(['?'] * 15)})"
_INSERT: Final = f"INSERT {_VALUES}"
_REPLACE: Final = f"INSERT OR REPLACE {_VALUES}"
_UPDATE: Final = (
    "UPDATE orders SET phase = ?, exchange_order_id = ?, state = ?, refusal = ?, "
    "order_number = ?, outcome_digest = ? WHERE client_order_id = ?"
)


def create_tables(connection: sqlite3.Connection, version: int) -> None:
    """Make the tables, or bring those of an older version up to this one."""
    connection.executescript(_SCHEMA)
    held = {row[1] for row in connection.execute("PRAGMA table_info(orders)")}
    for name, kind in _ADDED:
        if name not in held:
            connection.execute(f"ALTER TABLE orders ADD COLUMN {name} {kind}")
    connection.execute("CREATE INDEX IF NOT EXISTS orders_number ON orders (order_number)")
    if version == 1:
        # Rows of the first version had no digests; they are taken as they stand.
        rows = [_to_row(found) for found in _select(connection, "1")]
        for row in rows:
            connection.execute(_REPLACE, _values(row))
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def insert_row(connection: sqlite3.Connection, row: LedgerRow) -> LedgerRow | None:
    """Write a new row and return None, or return the row that has its id already.

    A row of phase NOT_SENT with the same content gives way: its order never left. Raises
    sqlite3.IntegrityError when another order has the row's id at the venue.
    """
    existing = find_row(connection, "client_order_id = ?", row.client_order_id)
    if existing is not None and (
        existing.phase is not Phase.NOT_SENT or existing.content_hash != row.content_hash
    ):
        return existing
    # Never over another order's row, whose form of the id at the venue may be the same.
    connection.execute(_INSERT if existing is None else _REPLACE, _values(row))
    return None


def update_row(
    connection: sqlite3.Connection,
    client_order_id: str,
    phase: Phase,
    texts: tuple[str, str, str],
    order_number: int,
) -> None:
    """Write an outcome; `texts` are the venue's order id, the state and the refusal."""
    exchange_order_id, state, refusal = texts
    digest = _digest((client_order_id, phase.value, *texts))
    values = (
        phase.value,
        exchange_order_id,
        state,
        refusal,
        order_number,
        digest,
        client_order_id,
    )
    connection.execute(_UPDATE, values)


def find_row(
    connection: sqlite3.Connection, condition: str, *values: str | int
) -> LedgerRow | None:
    """Return the one row that fulfils a condition; raise DamagedRowError when it is broken."""
    found = _select(connection, condition, *values).fetchone()
    return None if found is None else _checked(found)


def open_rows(connection: sqlite3.Connection) -> list[LedgerRow]:
    """Return all rows whose end is not proven, oldest first; raise DamagedRowError for one."""
    return [_checked(found) for found in _select(connection, "phase = 'open' ORDER BY created_us")]


def symbol_rows(connection: sqlite3.Connection, symbol: str) -> list[LedgerRow]:
    """Return all rows of a symbol; raise DamagedRowError when one is broken."""
    return [_checked(found) for found in _select(connection, "symbol = ?", symbol)]


def _select(connection: sqlite3.Connection, condition: str, *values: str | int) -> sqlite3.Cursor:
    query = f"SELECT {_COLUMNS} FROM orders WHERE {condition}"  # noqa: S608 - fixed conditions
    return connection.execute(query, values)


def _to_row(found: tuple[Any, ...]) -> LedgerRow:
    identity, venue_id, content, symbol, phase, created, intent, order_id, *rest = found
    state, refusal, order_class, venue, number = rest[:5]
    return LedgerRow(
        identity,
        venue_id,
        content,
        symbol,
        Phase(phase),
        created,
        intent,
        order_id,
        state,
        refusal,
        order_class,
        venue,
        number,
    )


def _checked(found: tuple[Any, ...]) -> LedgerRow:
    try:
        row = _to_row(found)
    except ValueError as error:
        raise DamagedRowError("a row names no known phase") from error
    if (_intent_digest(row), _outcome_digest(row)) != found[13:15]:
        raise DamagedRowError(f"the row of {row.client_order_id!r} is not as it was written")
    return row


def _values(row: LedgerRow) -> tuple[str | int, ...]:
    return (
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
        row.order_class,
        row.venue,
        row.order_number,
        _intent_digest(row),
        _outcome_digest(row),
    )


def _intent_digest(row: LedgerRow) -> str:
    sent = (row.client_order_id, row.venue_client_id, row.content_hash, row.symbol, row.intent)
    return _digest((*sent, str(row.created_us), row.order_class, row.venue))


def _outcome_digest(row: LedgerRow) -> str:
    outcome = (row.phase.value, row.exchange_order_id, row.state, row.refusal)
    return _digest((row.client_order_id, *outcome))


def _digest(texts: Iterable[str]) -> str:
    # A check sum against decay, not a seal: whoever can write the file can write this too.
    return hashlib.blake2b("\x1f".join(texts).encode(), digest_size=8).hexdigest()
