"""What every drive shares: the book, the executor, the venues, the clock and the policy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from services.common.clock import Clock
from services.common.errors import OpensqtError
from services.common.logs import get_logger
from services.engine.afterwards import Later, at_once
from services.engine.book import PositionBook
from services.engine.events import BreakerTripped
from services.engine.executor import Dispatch, ParallelExecutor
from services.engine.instruments import InstrumentRules
from services.engine.journal import JournalError
from services.engine.order_news import OrderNews
from services.engine.orders import OrderPlan, OrderSide
from services.engine.policy import EnginePolicy
from services.engine.ports import EngineObserver, OrderEvents, VenueGateway
from services.engine.position import Position
from services.engine.pricing import touch
from services.engine.resolver import OrderResolver

_TROUBLE_PAUSE_SECONDS = 1.0
Confirm = Callable[[InstrumentRules], Awaitable[bool]]
"""Reads the venue of a leg; true once what the ledger has there is known to be there."""
_log = get_logger(__name__)


async def believed(_: InstrumentRules) -> bool:
    """Take the ledger's word: for work beside the drives, which gives nothing up."""
    return True


@dataclass(frozen=True, slots=True)
class DriveContext:
    """Effects and settings a drive works with."""

    book: PositionBook
    executor: ParallelExecutor
    resolver: OrderResolver
    gateways: Mapping[str, VenueGateway]
    clock: Clock
    policy: EnginePolicy
    observer: EngineObserver
    order_events: OrderEvents = field(default_factory=OrderNews)
    # For what no order waits for.
    later: Later = at_once
    confirm: Confirm = believed

    async def read_touch(self, rules: InstrumentRules, side: OrderSide) -> Decimal | None:
        """Return the best price an order of this side meets; None where it cannot be read in time.

        An exit must leave even without a price, so no failure of the reading goes further.
        """
        gateway = self.gateways[rules.ref.exchange]
        try:
            # Its own, shorter bound: a price is worth less than an exit's time.
            async with asyncio.timeout(self.policy.touch_timeout.total_seconds()):
                return touch(await gateway.book(rules.ref.symbol, self.policy.book_depth), side)
        except (OpensqtError, TimeoutError):
            return None

    def dispatch(self, plans: Sequence[OrderPlan]) -> Dispatch:
        """Send orders that are journaled, all at once."""
        for plan in plans:
            # It may have to wait for its turn: until it has left, absence proves nothing.
            self.resolver.send_queued(plan.client_order_id)
        return self.executor.dispatch(plans)

    async def recover_from(self, error: Exception, position: Position, work: str) -> None:
        """Stop entries in the symbol after an error of ours, say why, and wait before a new try."""
        where = {"position_id": position.position_id, "work": work}
        if isinstance(error, JournalError):
            # One line, no traceback: every drive comes here once a second while the disk is full.
            _log.error("orders_wait_for_journal", problem=error.message, **where)
            self.trip(position.symbol, error.reason)
        else:
            _log.error("drive_trouble", exc_info=error, **where)
            self.trip(position.symbol, "DRIVE_TROUBLE")
        await self.clock.sleep(_TROUBLE_PAUSE_SECONDS)

    def trip(self, symbol: str, reason: str) -> None:
        """Stop entries in a symbol until an operator resumes; once per symbol."""
        # The first reason is the cause; those that follow are its consequences.
        if symbol not in self.book.engine.breakers:
            self.book.record_soon(BreakerTripped(self.clock.now(), symbol, reason))
