"""What venues tell unasked: a leg that is gone, a fill after the end. Journaled with what follows.

Readings of positions and order streams report here; nothing else changes a position that rests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

from services.common.clock import Clock
from services.common.logs import get_logger
from services.engine import events as ev
from services.engine.book import PositionBook
from services.engine.correction import correction
from services.engine.journal import JournalError
from services.engine.leg_gone import ForcedFill, by_forced_fill
from services.engine.order_ids import KEY_LENGTH
from services.engine.placing import is_plausible
from services.engine.ports import OrderEvent
from services.engine.position import Position, fold

_log = get_logger(__name__)


class NewsDesk:
    """Books unasked news and wakes the drive of its position.

    `wake` is called with the position id, also of an ended position whose exit goes on.
    """

    def __init__(self, book: PositionBook, clock: Clock, wake: Callable[[str], None]) -> None:
        self._book = book
        self._clock = clock
        self._wake = wake
        # What follows is decided from the position as it is: one piece of news after the other.
        self._turn = asyncio.Lock()

    async def leg_gone(self, event: ev.LegGone) -> bool:
        """Book what left a leg; false where that was known. Raises `JournalError`.

        From here on the leg is never opened again and the other one comes down to it. Of an ended
        position nothing can go: what is missing there was the user's own.
        """
        if self._require(event.position_id).status.is_final:
            return False
        before = self._lost(event)
        await self._book_news(event)
        # A second witness of the same loss is journaled, and is no second loss.
        is_new = self._lost(event) > before
        if is_new:
            _log.error(
                "leg_gone",
                position_id=event.position_id,
                leg=event.leg.value,
                quantity=str(event.quantity),
                cause=event.cause.value,
                evidence=event.evidence,
            )
        return is_new

    async def interest(self, event: ev.InterestCharged) -> None:
        """Book interest that a short spot leg owes; what grew beyond the other leg is bought."""
        if await self._book_news(event):
            _log.info("interest_charged", position_id=event.position_id, total=str(event.total))

    async def forced_fill(self, fill: ForcedFill) -> bool:
        """Book a forced fill of the order stream; false where it is not ours or known."""
        event = by_forced_fill(self._book.live(), fill, self._clock.now())
        return event is not None and await self.leg_gone(event)

    async def late_fill(self, event: ev.OrderObserved) -> bool:
        """Book a fill of an order that the engine took for closed; false where it was known.

        Raises ValueError for an order the position never had.
        """
        try:
            is_new = await self._book_news(event)
        except JournalError:
            # Told once, and by nobody again: the drive asks for what follows until it is journaled.
            self._book.record_soon(event)
            self._wake(event.position_id)
            is_new = True
        if is_new:
            _log.warning(
                "late_fill",
                position_id=event.position_id,
                client_order_id=event.outcome.client_order_id,
                executed=str(event.outcome.executed),
            )
        return is_new

    def find_late(self, event: OrderEvent) -> ev.OrderObserved | None:
        """Return what an order's event says of a position that no drive works any more.

        None for an order of somebody else, a word nobody can believe, and what was known.
        """
        outcome = event.outcome
        position = self._book.get(outcome.client_order_id[:KEY_LENGTH])
        if position is None:
            return None
        record = position.orders.get(outcome.client_order_id)
        if record is None or not is_plausible(record.plan, outcome):
            return None
        ref = record.plan.instrument
        is_its_own = (event.exchange, event.symbol) == (ref.exchange, ref.symbol)
        if not is_its_own or outcome.executed <= record.executed:
            return None
        now = self._clock.now()
        return ev.OrderObserved(position.position_id, now, record.plan.leg, outcome)

    async def _book_news(self, event: ev.LegGone | ev.OrderObserved | ev.InterestCharged) -> bool:
        async with self._turn:
            before = self._require(event.position_id)
            after = fold(before, event)
            if after is before:
                return False
            follows = correction(after, self._clock.now())
            # One write: news without what follows from it would leave a leg naked at a crash.
            await self._book.record(event, *(() if follows is None else (follows,)))
            # Its end may have been written meanwhile, by a drive that had not heard of this.
            now = self._require(event.position_id)
            resumed = correction(now, self._clock.now()) if now.status.is_final else None
            if resumed is not None:
                await self._book.record(resumed)
        self._wake(event.position_id)
        return True

    def _lost(self, event: ev.LegGone) -> Decimal:
        record = self._require(event.position_id).gone.get(event.leg)
        return Decimal(0) if record is None else record.total

    def _require(self, position_id: str) -> Position:
        position = self._book.get(position_id)
        if position is None:
            raise ValueError(f"news of a position nobody knows: {position_id}")
        return position
