"""Read what happened to the account's orders while nobody listened.

The orders and the trades of the gap are read for every symbol that may have had any: of orders of
ours and of others, such as forced closes, and of those that began and ended within the gap.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from services.common.codec import to_millis
from services.common.errors import UnimplementedError
from services.common.logs import get_logger
from services.connector.fill_history import read_fills_since
from services.connector.order_calls import OrderKey
from services.connector.order_types import ZERO, OrderStatus, OrderType, Side, VenueOrder
from services.connector.profile import Priority

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from services.connector.instruments import Instrument
    from services.connector.order_desk import OrderDesk
    from services.connector.order_log import ToldFills
    from services.connector.order_types import VenueFill
    from services.connector.venue import Venue
    from services.connector.venue_orders import VenueOrders
    from services.connector.venue_stamps import VenueStamps

_logger = get_logger(__name__)
_MARGIN: Final = timedelta(seconds=5)
"""Read from before the gap: what is read twice is told once."""

_FEW_SYMBOLS: Final = 20
"""A connector that serves so few reads them all."""


class OrderGap:
    """Reads gaps; what it finds are the venue's rows, one for each fill that was not told."""

    def __init__(
        self, venue: Venue, orders: VenueOrders, desk: OrderDesk, stamps: VenueStamps
    ) -> None:
        self._venue = venue
        self._orders = orders
        self._desk = desk
        self._stamps = stamps

    async def read(
        self, since: datetime, symbols: Iterable[str], told: ToldFills
    ) -> list[VenueOrder]:
        """Return rows of all that changed since an instant by the venue's stamps.

        `symbols` are those that must be read; where the venue does not name all that traded, those
        of our orders and of live ones are added, or, when they are few, all. Raises RetryableError
        and its branches when it cannot be read whole.
        """
        start = since - _MARGIN
        found = await self.read_unfinished()
        margin = {one.instrument.symbol for one in self._desk.shelf if one.use_margin}
        for instrument in await self._instruments(start, symbols):
            for use_margin in (False, True) if instrument.symbol in margin else (False,):
                found.extend(
                    await self._read_symbol(instrument, start, told, use_margin=use_margin)
                )
        return found

    async def read_unfinished(self) -> list[VenueOrder]:
        """Return the rows of our orders that can still change; raise as `read` does."""
        found = []
        for record in self._desk.shelf.unfinished():
            row = await self._orders.query(record.key, Priority.ORDER)
            if row is not None:
                found.append(row)
            else:
                self._desk.note_missing(record)
        return found

    async def _instruments(self, start: datetime, symbols: Iterable[str]) -> list[Instrument]:
        venue = self._venue
        traded = await venue.read(
            venue.profile.endpoint("traded_symbols"),
            venue.profile.weight("traded_symbols"),
            lambda: venue.profile.calls.traded_symbols(venue.trading, to_millis(start)),
        )
        names = {*traded.names, *symbols}
        if not traded.whole:
            # Where nobody lists what traded, a gap shows only where somebody has looked.
            names.update(record.instrument.symbol for record in self._desk.shelf)
            names.update(row.exchange_symbol for row in await self._orders.open_orders(None))
        if not traded.whole and len(venue.instruments) <= _FEW_SYMBOLS:
            names.update(one.symbol for one in venue.instruments)
        found = {one.symbol: one for name in sorted(names) if (one := venue.instruments.find(name))}
        return list(found.values())

    async def _read_symbol(
        self, instrument: Instrument, start: datetime, told: ToldFills, *, use_margin: bool
    ) -> list[VenueOrder]:
        recent = await self._recent(instrument, use_margin=use_margin)
        rows = {row.exchange_order_id: row for row in recent}
        fills = await read_fills_since(
            self._orders,
            instrument,
            start,
            # Ahead of all stamps: an end by our clock could cut the newest fill off.
            self._stamps.now() + timedelta(days=1),
            self._venue.profile.trades_window,
            Priority.DATA,
            use_margin=use_margin,
        )
        found = []
        for fill in fills:
            name = fill.exchange_order_id
            if (instrument.symbol, name, fill.trade_id) in told:
                continue
            key = OrderKey(instrument, "", name, use_margin)
            row = rows.get(name) or await self._orders.query(key)
            if row is None:
                # A venue may list a trade longer than its order; the fill must be told still.
                _logger.error("order_of_fill_unlisted", exchange_order_id=name)
                row = _row_of_fills([one for one in fills if one.exchange_order_id == name])
            found.append(replace(row, fills=(fill,), fills_complete=False))
        changed = [row for row in rows.values() if row.update_time and row.update_time >= start]
        return [*found, *(replace(row, fills=()) for row in changed)]

    async def _recent(self, instrument: Instrument, *, use_margin: bool) -> list[VenueOrder]:
        try:
            rows, _ = await self._orders.recent_orders(
                instrument, use_margin=use_margin, priority=Priority.DATA
            )
        except UnimplementedError:
            # No such list there: the trades tell of the gap alone.
            return []
        return rows


def _row_of_fills(fills: Sequence[VenueFill]) -> VenueOrder:
    """Return what fills prove of an order that the venue lists no more: so much, at least."""
    executed = sum((fill.quantity for fill in fills), ZERO)
    return VenueOrder(
        exchange_symbol=fills[0].exchange_symbol,
        client_order_id="",
        exchange_order_id=fills[0].exchange_order_id,
        side=fills[0].side or Side.BUY,
        type=OrderType.LIMIT,
        time_in_force=None,
        status=OrderStatus.PARTIALLY_FILLED,
        quantity=executed,
        executed=executed,
        price=None,
        cumulative_quote=None,
        reduce_only=False,
        post_only=False,
        create_time=fills[0].time,
        update_time=fills[-1].time,
    )
