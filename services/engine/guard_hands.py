"""What guards do to positions: the engine's own exits and reductions, journaled first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from services.common.clock import Clock
from services.common.errors import InvalidFieldError
from services.engine.book import PositionBook
from services.engine.events import ExitRequested, GuardActed, ReduceRequested
from services.engine.reducing import plan_reduction
from services.engine.views import PositionStatus


class EngineHands:
    """Implements `guard_ports.GuardHands`; `wake` tells the drives of what was journaled."""

    def __init__(
        self,
        book: PositionBook,
        clock: Clock,
        trip: Callable[[str, str], None],
        wake: Callable[[Sequence[str]], None],
    ) -> None:
        self._book = book
        self._clock = clock
        self._trip = trip
        self._wake = wake

    def trip(self, symbol: str, reason: str) -> None:
        """Stop entries in a symbol; once per symbol."""
        self._trip(symbol, reason)

    async def close_positions(self, reasons: Mapping[str, str]) -> None:
        """Start these exits with one durable write; they leave in one dispatch."""
        now = self._clock.now()
        await self._book.record(*(ExitRequested(key, now, why) for key, why in reasons.items()))
        self._wake(tuple(reasons))

    async def reduce_position(self, position_id: str, ratio: Decimal, reason: str) -> None:
        """Take a share off both legs; a position too small to be shared is closed."""
        position = self._book.get(position_id)
        # It may have begun to move since it was judged: then it shrinks, or is judged again.
        if position is None or position.status is not PositionStatus.OPEN:
            return
        try:
            plan = plan_reduction(position, None, ratio)
        except InvalidFieldError:
            # The half of it, or what would remain, is below what a venue trades.
            plan = None
        if plan is None or plan.is_close:
            await self.close_positions({position_id: reason})
            return
        now = self._clock.now()
        await self._book.record(
            ReduceRequested(position_id, now, plan.quantity, plan.target, plan.target, reason)
        )
        self._wake((position_id,))

    def note(self, event: GuardActed) -> None:
        """Journal what was done."""
        self._book.record_soon(event)
