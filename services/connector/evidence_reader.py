"""Ask the venue for what bears witness about an order its query did not find."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from services.common.errors import OpensqtError
from services.common.logs import get_logger
from services.connector.fill_history import read_fills_since
from services.connector.order_calls import OrderKey
from services.connector.order_evidence import Witness, judge_position
from services.connector.profile import Priority

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from services.connector.instruments import Instrument
    from services.connector.ledger import Ledger
    from services.connector.order_record import OrderRecord
    from services.connector.order_types import VenueFill, VenueOrder
    from services.connector.venue import Venue
    from services.connector.venue_orders import VenueOrders
    from services.connector.venue_stamps import VenueStamps

_logger = get_logger(__name__)
_STAMP_MARGIN: Final = timedelta(seconds=2)
"""Stamps are taken a moment apart and clocks differ: what is close to the sending counts as after.
"""


class PositionWitness(Protocol):
    """Who can tell when a position last changed."""

    async def changed(self, instrument: Instrument) -> datetime | None:
        """Return when, by the venue's stamp; None where there is no position or no stamp."""
        ...


@dataclass(frozen=True, slots=True)
class Testimony:
    """What was found: the order itself, or what trades and position say of its absence."""

    row: VenueOrder | None
    trades: Witness
    position: Witness


class EvidenceReader:
    """Reads trades since the sending and the position; a fill nobody knows leads to its order."""

    def __init__(
        self,
        venue: Venue,
        orders: VenueOrders,
        ledger: Ledger,
        stamps: VenueStamps,
        positions: PositionWitness,
    ) -> None:
        self._venue = venue
        self._orders = orders
        self._ledger = ledger
        self._stamps = stamps
        self._positions = positions

    async def read(self, record: OrderRecord) -> Testimony:
        """Return what trades and position say; what cannot be asked is UNREAD. Never raises."""
        sent = record.sent_stamp
        if sent is None:
            # Without a stamp nothing tells trades of before from trades of after.
            return Testimony(None, Witness.UNREAD, Witness.UNREAD)
        try:
            fills = await read_fills_since(
                self._orders,
                record.instrument,
                sent - _STAMP_MARGIN,
                self._stamps.now() + timedelta(days=1),
                self._venue.profile.trades_window,
                Priority.ORDER,
                use_margin=record.use_margin,
            )
            row, trades = await self._explain(record, fills)
        except OpensqtError as error:
            _logger.warning(
                "order_trades_unread",
                client_order_id=record.client_order_id,
                reason=error.reason,
            )
            return Testimony(None, Witness.UNREAD, Witness.UNREAD)
        if row is not None:
            return Testimony(row, trades, Witness.SILENT)
        return Testimony(None, trades, await self._read_position(record, sent, fills))

    async def _explain(
        self, record: OrderRecord, fills: Sequence[VenueFill]
    ) -> tuple[VenueOrder | None, Witness]:
        explained = Witness.EXPLAINED
        for order_id in dict.fromkeys(fill.exchange_order_id for fill in fills):
            if order_id in record.dismissed or await self._is_ours_else(record, order_id):
                continue
            key = OrderKey(record.instrument, "", order_id, record.use_margin)
            row = await self._orders.query(key, Priority.ORDER)
            if row is None:
                # Its trade is there and it is not: this may be the one.
                explained = Witness.UNEXPLAINED
            elif row.client_order_id == record.venue_client_id:
                return row, explained
            else:
                record.dismissed.add(order_id)
        return None, explained

    async def _is_ours_else(self, record: OrderRecord, order_id: str) -> bool:
        row = await self._ledger.find_exchange_id(record.instrument.symbol, order_id)
        return row is not None and row.client_order_id != record.client_order_id

    async def _read_position(
        self, record: OrderRecord, sent: datetime, fills: Sequence[VenueFill]
    ) -> Witness:
        try:
            changed = await self._positions.changed(record.instrument)
        except OpensqtError as error:
            _logger.warning(
                "order_position_unread",
                client_order_id=record.client_order_id,
                reason=error.reason,
            )
            return Witness.UNREAD
        times = [fill.time for fill in fills if fill.time is not None]
        return judge_position(changed, sent=sent, last_fill=max(times, default=None))
