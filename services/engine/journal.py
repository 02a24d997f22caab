"""The journal as the engine needs it: append in order, durable when asked, load all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.common.errors import FatalError
from services.engine.events import Event


class Journal(Protocol):
    """An append-only record of events.

    What is durable is always a prefix of what was appended: a durable row implies every row that
    was appended before it, by either method.
    """

    async def append(self, events: Sequence[Event]) -> None:
        """Append and return when the rows, and all before them, would survive a crash.

        With no events it only waits for the rows before. Raises `JournalError` when the write
        failed; these events are then not in the journal.
        """
        ...

    def append_soon(self, events: Sequence[Event]) -> None:
        """Append without waiting; the rows become durable with the next write."""
        ...

    async def load(self) -> tuple[Event, ...]:
        """Return every event, oldest first; raises `JournalError` for a row that cannot be read."""
        ...


class JournalError(FatalError):
    """The journal could not be written or read; entries must stop."""

    default_reason = "JOURNAL_UNAVAILABLE"
