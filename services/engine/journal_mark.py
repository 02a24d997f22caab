"""The mark beside a journal: identity, number and digest of the last row that was durable.

The chain in the journal shows that rows were changed, not that the newest are missing: an older
copy, or a write-ahead log cut short, is a sound chain. The mark is written after each commit, so
the journal is never behind it unless rows were lost. With the close it also gets the digest of the
whole file, since neither SQLite nor the chain looks at bytes that hold nothing.
"""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from typing import Final, NamedTuple

from services.common.file_mark import read_mark, write_mark
from services.engine.journal_chain import ChainHead, first_head

_SEQUENCE_DIGITS: Final = 20
_NOT_CLOSED: Final = "-" * 64
_SEALED_BYTES: Final = 64 * 1024 * 1024
"""Up to this size the whole file is read at each start and end."""


class JournalMark(NamedTuple):
    """What the mark says; `is_whole` is false where it is absent or unreadable.

    `file_digest` is that of the closed file; none while it is open, and after a crash.
    """

    identity: str
    head: ChainHead
    is_whole: bool
    file_digest: str = _NOT_CLOSED


_NONE = JournalMark("", ChainHead(0, b""), is_whole=False)


def load_mark(handle: int) -> JournalMark:
    """Return the mark in the lock file that is open here."""
    words = read_mark(handle)
    if len(words) != 4 or not (words[1].isascii() and words[1].isdigit()):
        return _NONE
    try:
        digest = bytes.fromhex(words[2])
    except ValueError:
        return _NONE
    return JournalMark(
        words[0], ChainHead(int(words[1]), digest), is_whole=True, file_digest=words[3]
    )


def save_mark(
    handle: int,
    identity: str,
    head: ChainHead,
    *,
    file_digest: str = _NOT_CLOSED,
    durable: bool = False,
) -> None:
    """Write the mark; of fixed length, so that one write replaces it."""
    number = f"{head.sequence:0{_SEQUENCE_DIGITS}}"
    write_mark(handle, identity, number, head.digest.hex(), file_digest, durable=durable)


def seal(handle: int, path: Path) -> None:
    """Put the digest of the closed file into its mark; raise OSError when it cannot be read."""
    mark = load_mark(handle)
    digest = _digest_of(path)
    if mark.is_whole and digest:
        save_mark(handle, mark.identity, mark.head, file_digest=digest, durable=True)


def is_altered(mark: JournalMark, path: Path) -> bool:
    """Whether a file, not opened yet, has other bytes than when it was closed."""
    if mark.file_digest == _NOT_CLOSED or not path.exists():
        return False
    return _digest_of(path) not in ("", mark.file_digest)


def _digest_of(path: Path) -> str:
    """Return the digest of a file that SQLite has closed; empty for one too large or not closed."""
    log = path.with_name(f"{path.name}-wal")
    if path.stat().st_size > _SEALED_BYTES or (log.exists() and log.stat().st_size > 0):
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def loss_of(
    connection: sqlite3.Connection, mark: JournalMark, identity: str, *, taken_over: bool
) -> str:
    """Return what was lost, in words; empty when the journal holds all that the mark knows.

    `taken_over`: its rows are from a release that wrote no mark.
    """
    sequence = mark.head.sequence
    if not mark.is_whole:
        count = connection.execute("SELECT count(*) FROM journal").fetchone()[0]
        return "" if taken_over or count == 0 else "nothing beside it tells how far it went"
    if mark.identity != identity:
        return "another journal was here before" if sequence else ""
    if sequence == 0:
        return "" if mark.head == first_head(identity) else "the mark beside it is damaged"
    found = connection.execute(
        "SELECT digest FROM journal WHERE sequence = ?", (sequence,)
    ).fetchone()
    if found is None:
        return f"it went to row {sequence} and ends before"
    return "" if found[0] == mark.head.digest else f"row {sequence} was another"
