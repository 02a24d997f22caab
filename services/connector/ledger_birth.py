"""When a ledger began, and whether it is the one that was here last.

A ledger that began yesterday knows nothing of what was sent before, so it keeps its birth; and a
mark beside it keeps its identity and how often it was opened, so that a file that was lost or put
back from a copy is noticed.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from services.common.errors import FatalError
from services.common.file_mark import read_mark, write_mark

if TYPE_CHECKING:
    import sqlite3

HISTORY_SPAN: Final = timedelta(days=7)
"""How far back the venue's own list counts: the longest all venues list closed orders for."""


@dataclass(frozen=True, slots=True)
class Birth:
    """`born_us` is from when on the ledger is known to be whole, in microseconds since 1970."""

    identity: str
    generation: int
    born_us: int
    is_new: bool
    was_lost: bool


def read_birth(
    connection: sqlite3.Connection, mark: int, venue: str, now_us: int, oldest_us: int | None
) -> Birth:
    """Read and renew identity and birth of a ledger; `mark` is the handle of the file beside it.

    `oldest_us` is when the first row was written, for ledgers from before they had a birth. Raises
    FatalError when the ledger belongs to another venue.
    """
    facts = dict(connection.execute("SELECT name, value FROM facts").fetchall())
    owner = facts.get("venue", "")
    if venue and owner and owner != venue:
        raise FatalError(f"it belongs to {owner}, this connector is {venue}")
    known = _read_mark(mark)
    is_new = "identity" not in facts and oldest_us is None
    identity = facts.get("identity") or uuid.uuid4().hex
    generation = int(facts.get("generation", "0"))
    born_us = int(facts.get("born_us", now_us if oldest_us is None else oldest_us))
    was_lost = known is not None and (known[0] != identity or known[1] > generation)
    if was_lost:
        # Another file, or an older copy of this one: what it lacks, only the venue knows.
        born_us = now_us
        connection.execute("DELETE FROM read_symbols")
    birth = Birth(identity, generation + 1, born_us, is_new, was_lost)
    _write(connection, birth, venue or owner)
    # After the ledger's own: a crash between the two must not look like an older copy.
    write_mark(mark, birth.identity, str(birth.generation))
    return birth


def _write(connection: sqlite3.Connection, birth: Birth, venue: str) -> None:
    facts = {
        "identity": birth.identity,
        "generation": str(birth.generation),
        "born_us": str(birth.born_us),
        "venue": venue,
    }
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", list(facts.items()))
    connection.execute("COMMIT")


def _read_mark(handle: int) -> tuple[str, int] | None:
    words = read_mark(handle)
    if len(words) != 2 or not (words[1].isascii() and words[1].isdigit()):
        return None
    return words[0], int(words[1])
