"""What a run knows of its resting lead and of the prices it is quoted by."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal

from services.engine.drive_context import DriveContext
from services.engine.order_desk import OrderDesk
from services.engine.passive import QuoteFacts
from services.engine.position import Position, opening_side


class QuoteWatch:
    """Times and prices behind `QuoteFacts`; mutable: it is read anew while the lead rests.

    `sent_at` is when the last quote left, `taken` the last one whose venue said that it has it.
    """

    def __init__(self, now: float) -> None:
        self._since = now
        self.sent_at = now
        self.taken = ""
        self._best: Decimal | None = None
        self._hedge_touch: Decimal | None = None
        self._seen_at: float | None = None

    def resting(self, position: Position) -> str:
        """Return the id of a post-only lead that may still fill; empty where there is none."""
        live = (
            key
            for key, record in position.orders.items()
            if record.plan.post_only and not record.is_resolved
        )
        return next(live, "")

    def facts(self, position: Position, now: float) -> QuoteFacts:
        """Return what a quoting decision takes besides the position."""
        resting = self.resting(position)
        age = None if self._seen_at is None else timedelta(seconds=now - self._seen_at)
        return QuoteFacts(
            best=self._best,
            hedge_touch=self._hedge_touch,
            view_age=age,
            resting=resting if resting == self.taken else "",
            since_quote=timedelta(seconds=now - self.sent_at),
            quoted_for=timedelta(seconds=now - self._since),
        )

    async def look(self, context: DriveContext, desk: OrderDesk) -> None:
        """Read both touches and, where the order stream may have missed one, the lead's fills."""
        position = desk.position
        lead, hedge = position.lead_leg, position.hedge_leg
        readings = (
            context.read_touch(position.rules(lead), opening_side(lead).opposite),
            context.read_touch(position.rules(hedge), opening_side(hedge)),
        )
        self._best, self._hedge_touch = await asyncio.gather(*readings)
        self._seen_at = context.clock.monotonic()
        if resting := self.resting(position):
            await desk.look_at(resting)
