"""Histories that outlive the process: held in memory, written to a file soon after they change."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from services.common.logs import get_logger
from services.common.task_end import end_task
from services.scanner.history_file import HistoryFile
from services.scanner.history_store import HeldHistory, MemoryHistoryStore
from services.scanner.slices import Slicer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from prometheus_client import Counter

    from services.common.clock import Clock
    from services.scanner.funding import Settlements
    from services.scanner.history_store import Rows
    from services.scanner.spans import Span

_log = get_logger(__name__)
_WRITE_SECONDS = 5.0
"""From a change to its writing, at most: a killed process loses no more of its reading."""


class DiskHistoryStore:
    """A `HistoryStore` on a file; an async context manager, which owns file and writing.

    What is read comes from memory. What cannot be written stays there and is tried again.
    """

    def __init__(self, path: Path, clock: Clock, write_failures: Counter) -> None:
        self._file = HistoryFile(path)
        self._clock = clock
        self._write_failures = write_failures
        self._memory = MemoryHistoryStore()
        self._changed: dict[str, set[str]] = {}
        self._has_changed = asyncio.Event()
        self._is_whole = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Open the file and take in what it holds; raises FatalError as `HistoryFile.open`."""
        self._memory = MemoryHistoryStore(await asyncio.to_thread(self._file.open))
        self._writer = asyncio.create_task(self._write_changes())
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Write what has changed and close the file."""
        if self._writer is not None:
            await end_task(self._writer)
        try:
            await self.write()
        finally:
            await asyncio.to_thread(self._file.close)

    def held(self, venue: str) -> tuple[Span, ...]:
        """Return the spans that are known for all symbols of the venue."""
        return self._memory.held(venue)

    def held_by_symbol(self, venue: str) -> Mapping[str, tuple[Span, ...]]:
        """Return the spans that are known besides for single symbols."""
        return self._memory.held_by_symbol(venue)

    def settlements(self, venue: str, symbol: str) -> Settlements:
        """Return what is held of one symbol, sorted by time; empty when nothing is."""
        return self._memory.settlements(venue, symbol)

    async def extend(self, venue: str, symbol: str, span: Span, rows: Rows) -> None:
        """Add rows and note `span` as known, for `symbol` or, when that is empty, for all
        symbols.
        """
        await self._memory.extend(venue, symbol, span, rows)
        self._note(venue, (symbol, *rows))

    async def prune(self, venue: str, kept: Span) -> None:
        """Forget everything of a venue outside a span.

        On the disk a symbol loses its oldest rows when it is written the next time: rewriting all
        of them every hour would be most of what is ever written. What a wrong clock took as known
        is written off at once, or a process that starts anew would believe it again.
        """
        self._note(venue, await self._memory.forget_outside(venue, kept))

    def write_soon(self) -> None:
        """Write what has changed without waiting for more to come."""
        if self._has_changed.is_set():
            self._is_whole.set()

    async def write(self) -> None:
        """Write what has changed since the last time; what fails is kept for the next."""
        # Joined in slices first, so that taking the rows below is one short step.
        slicer = Slicer(self._clock)
        for venue, symbol in _keys(self._changed):
            self._memory.settlements(venue, symbol)
            await slicer.pause()
        taken, self._changed = self._changed, {}
        self._has_changed.clear()
        histories: list[HeldHistory] = [self._memory.history(*key) for key in _keys(taken)]
        if not histories:
            return
        try:
            await asyncio.to_thread(self._file.write, histories)
        except sqlite3.Error as error:
            self._write_failures.inc()
            _log.error("history_write_failed", problem=str(error), symbols=len(histories))
            self._note_again(taken)
        except asyncio.CancelledError:
            # The thread goes on, perhaps; writing the same again is harmless.
            self._note_again(taken)
            raise

    def _note(self, venue: str, symbols: Iterable[str]) -> None:
        changed = self._changed.setdefault(venue, set())
        changed.update(symbols)
        if changed:
            self._has_changed.set()

    def _note_again(self, taken: Mapping[str, set[str]]) -> None:
        for venue, symbols in taken.items():
            self._note(venue, symbols)

    async def _write_changes(self) -> None:
        while True:
            await self._has_changed.wait()
            # A scan changes the same symbols page after page; together they are one write.
            with suppress(TimeoutError):
                async with asyncio.timeout(_WRITE_SECONDS):
                    await self._is_whole.wait()
            self._is_whole.clear()
            await self.write()


def _keys(changed: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    return [(venue, symbol) for venue, symbols in changed.items() for symbol in symbols]
