"""A journal in two parts: what exits need now, and all the rest of it afterwards.

A journal of months has a hundred closed positions for each that is open: a start that read them all
would serve no exit for a minute. Pure but for the protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from services.engine.event_codec import decode_event
from services.engine.events import CommandAccepted, Event, PositionSettled
from services.engine.journal_chain import (
    ChainBrokenError,
    ChainHead,
    JournalRow,
    event_of,
    follow,
)

WHOLE_ROWS: Final = 500
"""Up to this many rows a journal is read at once: it takes a tenth of a second."""
PAGE_ROWS: Final = 200
"""Rows of a page of the rest: what runs meanwhile waits for a thread no longer than for these."""
TOLD_KINDS: Final = ("DecisionTaken", "GuardActed")
"""Kinds that no position and no state of the engine follows from."""


@dataclass(frozen=True, slots=True)
class OpenPart:
    """Events of the positions that have not ended and of the engine's own state, oldest first.

    `upto` is the journal's last row then. `is_whole`: these are all events there are.
    """

    events: tuple[Event, ...]
    upto: int
    is_whole: bool


@dataclass(frozen=True, slots=True)
class JournalPage:
    """Events of rows that follow each other, and the head after them; the last page is empty."""

    events: tuple[Event, ...]
    head: ChainHead


class JournalParts(Protocol):
    """A journal that can be read in parts; each raises `JournalError` for what it cannot read."""

    async def load_open(self) -> OpenPart:
        """Read what exits need; each row is held against the digest of the row before it."""
        ...

    async def load_page(self, after: ChainHead | None, upto: int) -> JournalPage:
        """Read the rows after a head, None for the first, up to row `upto`; their chain is checked.

        Before the first page the journal's pages are checked where the start left that out.
        """
        ...

    async def find_command(self, request_id: str) -> CommandAccepted | None:
        """Return the command that was taken under an id."""
        ...


def live_change(row: JournalRow) -> bool | None:
    """Return whether a position begins or goes on with this row; None for neither and no end."""
    if row.kind in ("EntryIntended", "ExitResumed"):
        return True
    if row.kind == "PositionSettled":
        event = decode_event(row.kind, row.version, row.body)
        return False if isinstance(event, PositionSettled) and event.status.is_final else None
    return None


def live_changes(rows: Iterable[JournalRow]) -> dict[str, bool]:
    """Return what holds after these rows of each position that began, went on or ended in them."""
    changes = {}
    for row in rows:
        change = live_change(row)
        if change is not None and row.position_id is not None:
            changes[row.position_id] = change
    return changes


def event_beside(found: Sequence[Any], before: bytes) -> Event:
    """Return the event of (sequence, the row's fields, digest), with the digest of the row before.

    Raises ChainBrokenError where it does not follow that row.
    """
    sequence, *fields, digest = found
    row = JournalRow(*fields)
    if follow(ChainHead(sequence - 1, before), row).digest != digest:
        raise ChainBrokenError(f"row {sequence} is not as it was written")
    return event_of(row)
