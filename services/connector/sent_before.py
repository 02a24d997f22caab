"""What was sent before the ledger began: the venue is asked before a caller's id is used.

A ledger that was lost or is new knows no older orders, and venues take an id again once its first
order is closed. So the venue's list of a symbol is read once and remembered, and costs nothing from
then on; where the list is too long or there is none, each id is asked for.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from services.common.errors import OpensqtError, RetryableError, UnimplementedError
from services.common.logs import get_logger
from services.connector.ledger_birth import HISTORY_SPAN
from services.connector.order_types import OrderStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.connector.instruments import Instrument
    from services.connector.ledger import Ledger
    from services.connector.order_record import OrderRecord
    from services.connector.order_types import VenueOrder
    from services.connector.profile import Priority
    from services.connector.venue import Venue
    from services.connector.venue_orders import VenueOrders

_logger = get_logger(__name__)


class SentBefore:
    """Knows which client ids the venue has seen from us that the ledger has not."""

    def __init__(self, venue: Venue, orders: VenueOrders, ledger: Ledger) -> None:
        self._venue = venue
        self._orders = orders
        self._ledger = ledger
        self._locks: dict[str, asyncio.Lock] = {}
        self._too_long: set[str] = set()

    async def find(self, record: OrderRecord, priority: Priority) -> VenueOrder | None:
        """Return the order that the venue has under the record's id, None when it has none.

        Raises RetryableError and its branches when the venue cannot be asked: send nothing then.
        """
        whole = await self.is_whole(
            record.instrument, use_margin=record.use_margin, priority=priority
        )
        if whole and not self._ledger.has_seen(record.venue_client_id):
            return None
        return await self._orders.query(record.key, priority)

    async def is_whole(
        self, instrument: Instrument, *, use_margin: bool, priority: Priority
    ) -> bool:
        """Whether ledger and list hold all that was sent on a symbol; reads the list where needed.

        Raises RetryableError and its branches when the venue cannot be asked.
        """
        name = _list_name(instrument, use_margin=use_margin)
        if not self._knows_all(name) and name not in self._too_long:
            await self._read(instrument, use_margin=use_margin, priority=priority)
        return self._knows_all(name)

    async def read_ahead(self, priority: Priority) -> None:
        """Read the lists of the symbols that have live orders, before anybody waits for it."""
        if self._knows_all(""):
            return
        try:
            live = await self._orders.open_orders(None)
        except OpensqtError as error:
            _logger.warning("live_orders_unread", reason=error.reason)
            return
        for symbol in dict.fromkeys(row.exchange_symbol for row in live):
            instrument = self._venue.instruments.find_exchange_symbol(symbol)
            if instrument is None or self._knows_all(instrument.symbol):
                continue
            try:
                await self._read(instrument, use_margin=False, priority=priority)
            except RetryableError as error:
                _logger.warning("order_history_unread", symbol=symbol, reason=error.reason)

    def _knows_all(self, name: str) -> bool:
        return self._ledger.knows_all(name, round(self._venue.clock.now().timestamp() * 1_000_000))

    async def _read(self, instrument: Instrument, *, use_margin: bool, priority: Priority) -> None:
        name = _list_name(instrument, use_margin=use_margin)
        async with self._locks.setdefault(name, asyncio.Lock()):
            # Whoever waited finds it read.
            if self._knows_all(name) or name in self._too_long:
                return
            try:
                rows, whole = await self._orders.recent_orders(
                    instrument, use_margin=use_margin, priority=priority
                )
            except UnimplementedError:
                rows, whole = [], False
            covers = whole or _reaches_back(rows)
            ids = [row.client_order_id for row in rows]
            await self._ledger.remember_seen(name, ids, whole=covers)
            if not covers:
                self._too_long.add(name)
                _logger.warning("order_history_too_long", symbol=instrument.symbol, rows=len(rows))


def _list_name(instrument: Instrument, *, use_margin: bool) -> str:
    # The margin account has a list of its own.
    return f"{instrument.symbol} margin" if use_margin else instrument.symbol


def _reaches_back(rows: Sequence[VenueOrder]) -> bool:
    # Of those that ended, filled and unfilled apart: live orders may be old, and some venues have a
    # list for each, cut off at another age.
    ended = [row for row in rows if row.status.is_closed and row.create_time is not None]
    filled = [row for row in ended if row.status is OrderStatus.FILLED]
    unfilled = [row for row in ended if row.status is not OrderStatus.FILLED]
    return bool(ended) and all(
        # Between stamps of the venue: its market may keep another time than our clock.
        _span(ended, part) >= HISTORY_SPAN + timedelta(days=1)
        for part in (filled, unfilled)
        if part
    )


def _span(rows: Sequence[VenueOrder], part: Sequence[VenueOrder]) -> timedelta:
    def age(one: VenueOrder) -> datetime:
        return one.create_time or datetime.max.replace(tzinfo=UTC)

    return max(map(age, rows)) - min(map(age, part))
