"""The mark beside a journal: identity, number and digest of the last row that was durable.

The chain in the journal shows that rows were changed, not that the newest are missing: an older
copy, or a write-ahead log cut short, is a sound chain. The mark is written after each commit, so
the journal is never behind it unless rows were lost.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from services.common.file_mark import read_mark, write_mark
from services.engine.journal_chain import ChainHead, first_head

_SEQUENCE_DIGITS = 20


class JournalMark(NamedTuple):
    """What the mark says; `is_whole` is false where it is absent or unreadable."""

    identity: str
    head: ChainHead
    is_whole: bool


_NONE = JournalMark("", ChainHead(0, b""), is_whole=False)


def load_mark(handle: int) -> JournalMark:
    """Return the mark in the lock file that is open here."""
    words = read_mark(handle)
    if len(words) != 3 or not (words[1].isascii() and words[1].isdigit()):
        return _NONE
    try:
        digest = bytes.fromhex(words[2])
    except ValueError:
        return _NONE
    return JournalMark(words[0], ChainHead(int(words[1]), digest), is_whole=True)


def save_mark(handle: int, identity: str, head: ChainHead, *, durable: bool = False) -> None:
    """Write the mark; of fixed length, so that one write replaces it."""
    number = f"{head.sequence:0{_SEQUENCE_DIGITS}}"
    write_mark(handle, identity, number, head.digest.hex(), durable=durable)


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
