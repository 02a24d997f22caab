"""Order calls within the rate budget, rows understood, failures judged or translated."""

from __future__ import annotations

from contextvars import ContextVar
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from services.common.codec import format_decimal, to_millis
from services.common.errors import NotFoundError, PreconditionError, RetryableError
from services.connector.order_calls import FillsRange, NewOrder, OrderKey
from services.connector.order_types import OrderClass, OrderIntent, Side, VenueOrder
from services.connector.profile import EndpointClass, Priority
from services.connector.send_judgement import SendResult, Verdict, judge_send_error
from services.connector.venue_errors import to_read_error
from services.connector.venue_http import REQUEST_TRACE, RequestTrace
from services.connector.venue_numbers import optional_venue_decimal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from services.connector.instruments import Instrument
    from services.connector.order_request import SenderCheck
    from services.connector.order_types import VenueFill
    from services.connector.venue import Venue
    from services.connector.websocket_entry import WebSocketEntry

_WAYS_OUT: Final = (OrderClass.HEDGE, OrderClass.UNWIND, OrderClass.EXIT)

SENDER: ContextVar[SenderCheck | None] = ContextVar("sender", default=None)
"""Who asked for the order that this task sends."""


class VenueOrders:
    """Order calls on one venue. Reads raise errors of the common tree; `place` never raises one."""

    def __init__(self, venue: Venue, entry: WebSocketEntry | None = None) -> None:
        self._venue = venue
        self._entry = entry

    async def place(
        self, intent: OrderIntent, instrument: Instrument, venue_client_id: str
    ) -> SendResult:
        """Send the order, once, and say what that proves.

        Cancelling this call does not unsend the order: it must run in a task of the process.
        """
        profile = self._venue.profile
        trace = RequestTrace()
        REQUEST_TRACE.set(trace)

        async def send() -> Mapping[str, Any]:
            # A ban may have held it back for seconds: who was overtaken meanwhile sends no more.
            if (sender := SENDER.get()) is not None:
                try:
                    sender.check()
                except PreconditionError as error:
                    # Heard by whoever asks now, who was not overtaken: it may be sent again.
                    raise RetryableError(error.message, reason="VENUE_REFUSED_FOR_NOW") from error
            # Stamped as it leaves: time spent waiting for the rate limit is not the venue's.
            trace.headers = self._expiry_headers()
            # Asked as it leaves: the wait for the rate limit may have outlived the connection.
            if self._entry is not None and self._entry.takes(order):
                return await self._entry.place(order)
            return await profile.calls.place(self._venue.trading, order)

        try:
            order = self._new_order(intent, instrument, venue_client_id)
            # Not `read`: what a failure proves about an order is judged apart.
            reply = await self._venue.call(
                EndpointClass.ORDER, 1, send, priority=order_priority(intent)
            )
            row = profile.place_reply(reply)
            if isinstance(row, VenueOrder):
                check_amounts(row)
        except Exception as error:
            return judge_send_error(error, left=trace.left, profile=profile)
        if isinstance(row, VenueOrder):
            return SendResult(Verdict.ACCEPTED, row=row)
        # An acknowledgement of another order proves nothing about this one.
        if row.client_order_id not in ("", venue_client_id):
            return SendResult(Verdict.UNKNOWN, note="the acknowledgement names another order")
        return SendResult(Verdict.ACCEPTED, exchange_order_id=row.exchange_order_id)

    def _new_order(
        self, intent: OrderIntent, instrument: Instrument, venue_client_id: str
    ) -> NewOrder:
        price = intent.price
        return NewOrder(
            unified=instrument.unified,
            type=intent.type.value,
            side=intent.side.value,
            amount=format_decimal(instrument.to_venue_quantity(intent.quantity)),
            price=None if price is None else format_decimal(instrument.to_venue_price(price)),
            params=self._venue.profile.order_params(intent, venue_client_id),
        )

    def _expiry_headers(self) -> Mapping[str, str]:
        venue = self._venue
        if venue.profile.expiry_headers is None or venue.fence is None:
            return {}
        venue_now = venue.clock.now() + (venue.clock_skew or timedelta(0))
        return venue.profile.expiry_headers(to_millis(venue_now + venue.fence.recv_window))

    async def query(self, key: OrderKey, priority: Priority = Priority.ORDER) -> VenueOrder | None:
        """Return the venue's row of an order, None when it says there is none.

        Raises RetryableError and its branches when it cannot be asked; that proves nothing.
        """
        try:
            reply = await self._venue.read(
                self._venue.profile.endpoint("order_query"),
                self._venue.profile.weight("order_query"),
                lambda: self._venue.profile.calls.query(self._venue.trading, key),
                priority=priority,
            )
        except NotFoundError as error:
            if error.reason == "ORDER_NOT_FOUND":
                return None
            raise
        return None if reply is None else self._row_of(reply, key)

    async def cancel(self, key: OrderKey) -> VenueOrder | None:
        """Ask to cancel; return the venue's row, None when it tells none: gone, or acknowledged."""
        try:
            reply = await self._venue.read(
                self._venue.profile.endpoint("order_cancel"),
                self._venue.profile.weight("order_cancel"),
                lambda: self._venue.profile.calls.cancel(self._venue.trading, key),
                priority=Priority.EXIT,
            )
        except NotFoundError as error:
            if error.reason == "ORDER_NOT_FOUND":
                return None
            raise
        return None if reply is None else self._row_of(reply, key)

    async def cancel_all(self, instrument: Instrument, *, use_margin: bool) -> None:
        """Cancel all live orders of a symbol; having none is no error."""
        try:
            await self._venue.read(
                self._venue.profile.endpoint("open_orders_cancel"),
                self._venue.profile.weight("open_orders_cancel"),
                lambda: self._venue.profile.calls.cancel_all(
                    self._venue.trading, instrument, use_margin=use_margin
                ),
                priority=Priority.EXIT,
            )
        except NotFoundError as error:
            if error.reason != "ORDER_NOT_FOUND":
                raise

    async def open_orders(
        self, instrument: Instrument | None, *, use_margin: bool = False
    ) -> list[VenueOrder]:
        """Return the live orders of one symbol, or of all."""
        weight = "all_open_orders" if instrument is None else "open_orders"
        rows = await self._venue.read(
            self._venue.profile.endpoint(weight),
            self._venue.profile.weight(weight),
            lambda: self._venue.profile.calls.open_orders(
                self._venue.trading, instrument, use_margin=use_margin
            ),
            priority=Priority.ORDER,
        )
        # All or none: a live order that is left out would be believed to be gone.
        return [self._row(row) for row in rows]

    async def order_fills(
        self, key: OrderKey, priority: Priority = Priority.ORDER
    ) -> list[VenueFill]:
        """Return all executions of one order, by the venue's order id."""
        rows = await self._venue.read(
            self._venue.profile.endpoint("order_trades"),
            self._venue.profile.weight("order_trades"),
            lambda: self._venue.profile.calls.order_fills(self._venue.trading, key),
            priority=priority,
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
        use_margin: bool = False,
        priority: Priority = Priority.DATA,
    ) -> list[VenueFill]:
        """Return executions on a symbol, oldest first; from an id on when one is given."""
        wanted = FillsRange(
            since=None if start is None else to_millis(start),
            until=None if end is None else to_millis(end),
            limit=limit,
            first_trade_id=first_trade_id,
            use_margin=use_margin,
        )
        rows = await self._venue.read(
            self._venue.profile.endpoint("trades"),
            self._venue.profile.weight("trades"),
            lambda: self._venue.profile.calls.fills(self._venue.trading, instrument, wanted),
            priority=priority,
        )
        return [self._fill(row) for row in rows]

    async def recent_orders(
        self, instrument: Instrument, *, use_margin: bool, priority: Priority = Priority.ORDER
    ) -> tuple[list[VenueOrder], bool]:
        """Return the venue's latest orders on a symbol, and whether that is all it remembers.

        Raises UnimplementedError where the venue lists none.
        """
        found = await self._venue.read(
            self._venue.profile.endpoint("recent_orders"),
            self._venue.profile.weight("recent_orders"),
            lambda: self._venue.profile.calls.recent_orders(
                self._venue.trading, instrument, use_margin=use_margin
            ),
            priority=priority,
        )
        return [self._row(row) for row in found.rows], found.whole

    async def best_opposite_price(self, instrument: Instrument, side: Side) -> Decimal | None:
        """Return the best price an order of that side would meet, None when the book is empty."""

        async def read() -> Decimal | None:
            book = await self._venue.trading.fetch_order_book(instrument.unified, 5)
            levels = book["asks"] if side is Side.BUY else book["bids"]
            return optional_venue_decimal(levels[0][0], "price") if levels else None

        # Understood inside the read, so that a broken book is a broken answer to the caller.
        price = await self._venue.read(
            self._venue.profile.endpoint("order_book"),
            self._venue.profile.weight("order_book"),
            read,
            priority=Priority.ORDER,
        )
        return None if price is None else instrument.to_base_price(price)

    def _row_of(self, reply: Mapping[str, Any], key: OrderKey) -> VenueOrder:
        row = self._row(reply)
        named, given = row.client_order_id, key.venue_client_id
        if not key.by_client_id:
            named, given = row.exchange_order_id, key.exchange_order_id
        try:
            # A row about another order is neither this one nor its absence.
            if named not in ("", given) or row.exchange_symbol != key.instrument.exchange_symbol:
                raise ValueError("the venue answered about another order")
            if key.venue_client_id:
                check_amounts(row)
        except ValueError as error:
            raise to_read_error(error, self._venue.profile) from error
        return row

    def _row(self, reply: Mapping[str, Any]) -> VenueOrder:
        try:
            return self._venue.profile.order_row(reply)
        except Exception as error:
            # A row that cannot be read proves nothing: not the order, not its absence.
            raise to_read_error(error, self._venue.profile) from error

    def _fill(self, reply: Mapping[str, Any]) -> VenueFill:
        try:
            return self._venue.profile.fill_row(reply)
        except Exception as error:
            raise to_read_error(error, self._venue.profile) from error


def check_amounts(row: VenueOrder) -> None:
    """Raise ValueError when a row of an order of ours tells amounts that cannot be.

    Orders of others may be sized in the quote, and may execute more units than they ask for.
    """
    if row.executed < 0 or row.quantity <= 0 or row.executed > row.quantity:
        raise ValueError("the venue's row has an impossible executed quantity")


def order_priority(intent: OrderIntent) -> Priority:
    """Return who goes first: what reduces exposure goes ahead of what adds to it."""
    way_out = intent.reduce_only or intent.order_class in _WAYS_OUT
    return Priority.EXIT if way_out else Priority.ORDER
