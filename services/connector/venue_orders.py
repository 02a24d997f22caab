"""The order calls of a venue through ccxt, one request each: place, query, cancel, list, trades."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from services.common.codec import format_decimal
from services.common.errors import NotFoundError
from services.connector.order_types import OrderClass, OrderIntent, Side
from services.connector.profile import EndpointClass, Priority
from services.connector.send_judgement import SendResult, Verdict, judge_send_error
from services.connector.venue_errors import to_read_error
from services.connector.venue_http import REQUEST_TRACE, RequestTrace
from services.connector.venue_numbers import optional_venue_decimal

if TYPE_CHECKING:
    from datetime import datetime

    from services.connector.instruments import Instrument
    from services.connector.order_types import VenueFill, VenueOrder
    from services.connector.venue import Venue

_WAYS_OUT: Final = (OrderClass.HEDGE, OrderClass.UNWIND, OrderClass.EXIT)


@dataclass(frozen=True, slots=True)
class OrderKey:
    """How to name an order to the venue: by its own id when known, else by the client id there."""

    instrument: Instrument
    venue_client_id: str = ""
    exchange_order_id: str = ""
    use_margin: bool = False

    def params(self) -> dict[str, Any]:
        """Return ccxt's params that select the order."""
        params: dict[str, Any] = {"marginMode": "cross"} if self.use_margin else {}
        if self.venue_client_id and not self.exchange_order_id:
            # The venue's own id goes first: a client id may meanwhile name a younger order.
            params["clientOrderId"] = self.venue_client_id
        return params


class VenueOrders:
    """Order calls on one venue. Reads raise errors of the common tree; `place` never raises one."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    async def place(
        self, intent: OrderIntent, instrument: Instrument, venue_client_id: str
    ) -> SendResult:
        """Send the order, once, and say what that proves.

        Cancelling this call does not unsend the order: it must run in a task of the process.
        """
        trace = RequestTrace()
        REQUEST_TRACE.set(trace)
        try:
            # Not `read`: what a failure proves about an order is judged apart.
            reply = await self._venue.call(
                EndpointClass.ORDER,
                1,
                lambda: self._create(intent, instrument, venue_client_id),
                priority=order_priority(intent),
            )
            row = self._venue.profile.order_row(reply["info"])
        except Exception as error:
            return judge_send_error(error, left=trace.left, profile=self._venue.profile)
        return SendResult(Verdict.ACCEPTED, row=row)

    async def _create(
        self, intent: OrderIntent, instrument: Instrument, venue_client_id: str
    ) -> Any:
        price = intent.price
        return await self._venue.trading.create_order(
            instrument.unified,
            intent.type.value,
            intent.side.value,
            format_decimal(instrument.to_venue_quantity(intent.quantity)),
            None if price is None else format_decimal(instrument.to_venue_price(price)),
            self._venue.profile.order_params(intent, venue_client_id),
        )

    async def query(self, key: OrderKey, priority: Priority = Priority.EXIT) -> VenueOrder | None:
        """Return the venue's row of an order, None when it says there is none.

        Raises RetryableError and its branches when it cannot be asked; that proves nothing.
        """
        try:
            reply = await self._venue.read(
                EndpointClass.WEIGHT,
                self._venue.profile.weight("order_query"),
                lambda: self._venue.trading.fetch_order(
                    key.exchange_order_id, key.instrument.unified, key.params()
                ),
                priority=priority,
            )
        except NotFoundError as error:
            if error.reason == "ORDER_NOT_FOUND":
                return None
            raise
        return self._row(reply)

    async def cancel(self, key: OrderKey) -> VenueOrder | None:
        """Ask to cancel; return the venue's row, None when the order is gone already."""
        try:
            reply = await self._venue.read(
                EndpointClass.WEIGHT,
                self._venue.profile.weight("order_cancel"),
                lambda: self._venue.trading.cancel_order(
                    key.exchange_order_id, key.instrument.unified, key.params()
                ),
                priority=Priority.EXIT,
            )
        except NotFoundError as error:
            if error.reason == "ORDER_NOT_FOUND":
                return None
            raise
        return self._row(reply)

    async def cancel_all(self, instrument: Instrument, *, use_margin: bool) -> None:
        """Cancel all live orders of a symbol; having none is no error."""
        params = {"marginMode": "cross"} if use_margin else {}
        try:
            await self._venue.read(
                EndpointClass.WEIGHT,
                self._venue.profile.weight("open_orders_cancel"),
                lambda: self._venue.trading.cancel_all_orders(instrument.unified, params),
                priority=Priority.EXIT,
            )
        except NotFoundError as error:
            if error.reason != "ORDER_NOT_FOUND":
                raise

    async def open_orders(
        self, instrument: Instrument | None, *, use_margin: bool = False
    ) -> list[VenueOrder]:
        """Return the live orders of one symbol, or of all."""
        params = {"marginMode": "cross"} if use_margin else {}
        unified = None if instrument is None else instrument.unified
        weight = "all_open_orders" if instrument is None else "open_orders"
        rows = await self._venue.read(
            EndpointClass.WEIGHT,
            self._venue.profile.weight(weight),
            lambda: self._venue.trading.fetch_open_orders(unified, None, None, params),
            priority=Priority.ORDER,
        )
        # All or none: a live order that is left out would be believed to be gone.
        return [self._row(row) for row in rows]

    async def order_fills(self, key: OrderKey) -> list[VenueFill]:
        """Return all executions of one order, by the venue's order id."""
        # myTrades knows no client id, so fills wait until the venue's id is known.
        params: dict[str, Any] = {"orderId": key.exchange_order_id}
        if key.use_margin:
            params["marginMode"] = "cross"
        rows = await self._venue.read(
            EndpointClass.WEIGHT,
            self._venue.profile.weight("order_trades"),
            lambda: self._venue.trading.fetch_my_trades(key.instrument.unified, None, 1000, params),
            priority=Priority.EXIT,
        )
        found = [self._fill(row) for row in rows]
        # A venue that ignores the filter would give us the fills of others.
        return [fill for fill in found if fill.exchange_order_id == key.exchange_order_id]

    async def fills(
        self,
        instrument: Instrument,
        *,
        start: datetime | None,
        end: datetime | None,
        limit: int,
        first_trade_id: str = "",
    ) -> list[VenueFill]:
        """Return executions on a symbol, oldest first; from an id on when one is given."""
        params: dict[str, Any] = {}
        if first_trade_id:
            params["fromId"] = first_trade_id
        elif end is not None:
            params["until"] = round(end.timestamp() * 1000)
        since = None if start is None or first_trade_id else round(start.timestamp() * 1000)
        rows = await self._venue.read(
            EndpointClass.WEIGHT,
            self._venue.profile.weight("trades"),
            lambda: self._venue.trading.fetch_my_trades(instrument.unified, since, limit, params),
        )
        return [self._fill(row) for row in rows]

    async def best_opposite_price(self, instrument: Instrument, side: Side) -> Decimal | None:
        """Return the best price an order of that side would meet, None when the book is empty."""

        async def read() -> Decimal | None:
            book = await self._venue.trading.fetch_order_book(instrument.unified, 5)
            levels = book["asks"] if side is Side.BUY else book["bids"]
            return optional_venue_decimal(levels[0][0], "price") if levels else None

        # Understood inside the read, so that a broken book is a broken answer to the caller.
        price = await self._venue.read(
            EndpointClass.WEIGHT,
            self._venue.profile.weight("order_book"),
            read,
            priority=Priority.ORDER,
        )
        return None if price is None else instrument.to_base_price(price)

    def _row(self, reply: Any) -> VenueOrder:
        try:
            return self._venue.profile.order_row(reply["info"])
        except Exception as error:
            # A row that cannot be read proves nothing: not the order, not its absence.
            raise to_read_error(error, self._venue.profile) from error

    def _fill(self, reply: Any) -> VenueFill:
        try:
            return self._venue.profile.fill_row(reply["info"])
        except Exception as error:
            raise to_read_error(error, self._venue.profile) from error


def order_priority(intent: OrderIntent) -> Priority:
    """Return who goes first: what reduces exposure goes ahead of what adds to it."""
    way_out = intent.reduce_only or intent.order_class in _WAYS_OUT
    return Priority.EXIT if way_out else Priority.ORDER
