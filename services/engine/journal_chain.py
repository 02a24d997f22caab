"""Rows of the journal and the chain of digests over them. Pure.

The digest of a row covers the digest of the row before it, so that a changed, missing or swapped
row anywhere breaks the chain. The first row follows the digest of the journal's identity.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from services.engine.event_codec import VERSION, decode_event, encode_event
from services.engine.events import CommandAccepted, Event


class JournalRow(NamedTuple):
    """One event as it is stored; `at` is ISO 8601 text."""

    at: str
    position_id: str | None
    request_id: str | None
    kind: str
    version: int
    body: str


class ChainHead(NamedTuple):
    """The last row: its number from 1 on and its digest; number 0 where there is none yet."""

    sequence: int
    digest: bytes


class ChainBrokenError(ValueError):
    """A row is not as it was written, or one is missing before it."""


def first_head(identity: str) -> ChainHead:
    """Return the head of an empty journal."""
    return ChainHead(0, hashlib.sha256(identity.encode()).digest())


def follow(head: ChainHead, row: JournalRow) -> ChainHead:
    """Return the head once the row is appended; raises TypeError for bytes in place of text."""
    sequence = head.sequence + 1
    # JSON of a list is injective: no two rows have one text, whatever their fields hold.
    text = json.dumps([sequence, *row], separators=(",", ":"))
    return ChainHead(sequence, hashlib.sha256(head.digest + text.encode()).digest())


def checked_rows(
    head: ChainHead, found: Iterable[tuple[Any, ...]]
) -> Iterator[tuple[ChainHead, JournalRow]]:
    """Yield rows with their heads; each found row is (sequence, the row's fields, digest).

    `head` is that of the row before the first. Raises ChainBrokenError at the first row that does
    not follow.
    """
    for sequence, *fields, digest in found:
        row = JournalRow(*fields)
        head = follow(head, row)
        if sequence != head.sequence or digest != head.digest:
            raise ChainBrokenError(f"row {head.sequence} is not as it was written")
        yield head, row


def row_of(event: Event) -> JournalRow:
    """Return an event as it is stored."""
    kind, body = encode_event(event)
    request_id = event.request_id if isinstance(event, CommandAccepted) else None
    position_id = getattr(event, "position_id", None)
    return JournalRow(event.at.isoformat(), position_id, request_id, kind, VERSION, body)


def event_of(row: JournalRow) -> Event:
    """Return the event of a row; raises ValueError for a kind, version or body we do not know."""
    return decode_event(row.kind, row.version, row.body)
