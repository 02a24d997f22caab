"""Reading the journal at a start: first what exits need, then the rest, beside the work.

Until the rest is read and agrees with what was taken up, nothing is opened and no venue compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from services.common.clock import Clock
from services.common.logs import get_logger
from services.engine.book import PositionBook
from services.engine.correction import is_on
from services.engine.events import Event
from services.engine.halt_desk import HaltDesk
from services.engine.journal import JournalError
from services.engine.journal_chain import ChainHead
from services.engine.journal_parts import JournalParts
from services.engine.ledger import Ledger, differences
from services.engine.position import Position

_FIRST_BREATH_SECONDS: Final = 1.0
_BREATH_SECONDS: Final = 0.002
_TOLD_AT_ONCE: Final = 20
_log = get_logger(__name__)


class HistoryDesk:
    """Loads a book from a journal, in two parts where it can be read in `parts`."""

    def __init__(
        self, book: PositionBook, parts: JournalParts | None, halts: HaltDesk, clock: Clock
    ) -> None:
        self._book = book
        self._parts = parts
        self._halts = halts
        self._clock = clock
        self._first: Ledger | None = None
        self._upto = 0
        self.problem: JournalError | None = None
        """Why the rest of the journal cannot be read; None while nothing was found."""

    async def load(self) -> None:
        """Read what exits need, or everything; raises `JournalError`."""
        if self._parts is None:
            await self._book.load()
            return
        part = await self._parts.load_open()
        try:
            self._first = self._book.begin_with(part.events)
        except ValueError as error:
            raise JournalError(f"cannot read the journal: {error}") from error
        self._upto = part.upto
        if part.is_whole:
            self._book.join(self._first)
            self._first = None

    async def read_rest(
        self,
        taken_up: Callable[[str], None],
        whole: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        """Read the rest, hold the first part against it, and take it into the book.

        `taken_up` is called with positions that are on and that the first part had not, `whole`
        once all is read, `changed` with what follows for the status.
        """
        first, parts = self._first, self._parts
        if first is None or parts is None:
            whole()
            return
        try:
            ledger = await self._fold_all(parts, first)
        except JournalError as error:
            # As at a start that finds it at once, but for the exits, which go on.
            _log.error("journal_broken", problem=error.message)
            self.problem = error
            self._book.give_up_rest()
            changed()
            return
        told = differences(first, ledger)
        self._first = None
        if told:
            await self._halt("; ".join(told), changed)
        # In a thread: those that ended may be 100,000.
        on = await asyncio.to_thread(_on, ledger)
        new = self._book.join(ledger)
        known = first.positions.keys()
        for position_id in on:
            if position_id not in known:
                taken_up(position_id)
        whole()
        changed()
        await self._tell(new)

    def check(self) -> None:
        """Raise the `JournalError` that a start would have ended with."""
        if self.problem is not None:
            raise self.problem

    async def _fold_all(self, parts: JournalParts, first: Ledger) -> Ledger:
        ledger, head = Ledger(first.since), None
        # A thread that folds takes turns with the loop: the first exits go before it.
        await self._clock.sleep(_FIRST_BREATH_SECONDS)
        while head is None or head.sequence < self._upto:
            page = await parts.load_page(head, self._upto)
            head = await self._fold(ledger, page.events, page.head)
            # What moves now has the processor to itself in between.
            await self._clock.sleep(_BREATH_SECONDS)
        return ledger

    async def _fold(self, ledger: Ledger, events: Sequence[Event], head: ChainHead) -> ChainHead:
        try:
            await asyncio.to_thread(ledger.take_all, events)
        except ValueError as error:
            raise JournalError(f"cannot read the journal: {error}") from error
        return head

    async def _halt(self, told: str, changed: Callable[[], None]) -> None:
        reason = f"the journal's list of open positions is not as its rows are: {told}"
        _log.error("journal_parts_differ", problem=reason)
        await self._halts.engage(reason, changed)
        self._halts.record(reason)

    async def _tell(self, positions: Sequence[Position]) -> None:
        for number, position in enumerate(positions):
            self._book.tell(self._book.get(position.position_id) or position)
            if number % _TOLD_AT_ONCE == 0:
                await self._clock.sleep(_BREATH_SECONDS)


def _on(ledger: Ledger) -> tuple[str, ...]:
    return tuple(key for key, position in ledger.positions.items() if is_on(position))
