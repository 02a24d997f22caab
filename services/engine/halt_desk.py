"""The kill switch: a halt holds from the moment it is asked for, before any disk has answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from services.common.clock import Clock
from services.common.errors import FatalError
from services.common.logs import get_logger
from services.engine.book import PositionBook
from services.engine.events import EngineHalted
from services.engine.risk_halt import HaltFlag, halt_at_start
from services.engine.views import EngineMode

_log = get_logger(__name__)


class HaltFlagStore(Protocol):
    """Where the halt is kept apart from the journal; its calls block and are made in a thread."""

    def read(self) -> HaltFlag:
        """Return what stands there; what cannot be read comes back as `problem`."""
        ...

    def write(self, flag: HaltFlag) -> None:
        """Replace it durably; raises OSError."""
        ...


class HaltDesk:
    """Latches in memory first, then writes the flag; the journal's row comes from the caller.

    Without a store the journal alone remembers.
    """

    def __init__(self, book: PositionBook, clock: Clock, store: HaltFlagStore | None) -> None:
        self._book = book
        self._clock = clock
        self._store = store
        self._used = False
        self._writing = asyncio.Lock()
        self.reason = ""
        """Why nothing may be opened, by this switch; empty while it is off."""

    async def start(self) -> None:
        """Compare flag and journal once the journal is loaded, and halt where either says so."""
        if self._store is None:
            return
        found = await asyncio.to_thread(self._store.read)
        is_empty = self._book.is_empty
        record = self._book.engine
        was_halted = record.mode is EngineMode.HALTED
        journal_word = (record.reason or "halted before") if was_halted else ""
        self.reason = halt_at_start(found, journal_word, journal_is_empty=is_empty)
        self._used = found.used or not is_empty
        if self.reason and not was_halted:
            _log.error("started_halted", reason=self.reason)
            self.record(self.reason)
        await self._write_flag()

    def record(self, reason: str) -> None:
        """Journal a halt that nobody commanded."""
        self._book.record_soon(EngineHalted(self._clock.now(), reason))

    async def engage(self, reason: str, told: Callable[[], None]) -> None:
        """Stop opening now; a flag that cannot be written is told in the log, the latch stands.

        `told` is called as soon as the latch holds, before any disk is asked.
        """
        self.reason = reason or "halted"
        told()
        await self._write_flag()

    async def release(self) -> None:
        """Allow opening again.

        Raises FatalError (HALT_FLAG_UNWRITABLE) where the flag would halt the next start: then this
        run stays halted too.
        """
        halted, self.reason = self.reason, ""
        if problem := await self._write_flag():
            self.reason = halted
            raise FatalError(
                f"the halt flag cannot be written: {problem}", reason="HALT_FLAG_UNWRITABLE"
            )

    async def note_use(self) -> None:
        """Remember that the journal has rows: an empty one is a lost one from here on."""
        if self._store is not None and not self._used:
            self._used = True
            await self._write_flag()

    async def _write_flag(self) -> str:
        """Write what holds now, and return what went wrong with it."""
        if self._store is None:
            return ""
        # One at a time, each with what holds when its turn comes: an older word never comes last.
        async with self._writing:
            flag = HaltFlag(True, self._used, bool(self.reason), self.reason)
            try:
                await asyncio.to_thread(self._store.write, flag)
            except OSError as error:
                _log.error("halt_flag_unwritable", problem=str(error))
                return str(error)
        return ""
