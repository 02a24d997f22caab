"""List executions page by page. Venues bound the span of one request, so pages are windows of time
or, once a window is full, runs of trade ids."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from services.common.codec import from_millis, to_millis
from services.common.errors import Code, InvalidFieldError, RejectedError
from services.connector.order_mapping import to_fill
from services.connector.order_types import Side

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.connector.instruments import Instrument
    from services.connector.order_calls import OrderKey
    from services.connector.order_desk import OrderDesk
    from services.connector.order_types import Fill, VenueFill
    from services.connector.venue import Venue
    from services.connector.venue_orders import VenueOrders

DEFAULT_PAGE: Final = 500
MAX_PAGE: Final = 1_000
_MOST_WINDOWS: Final = 10


@dataclass(frozen=True, slots=True)
class TradesRequest:
    """Executions on one symbol in [start, end); without a start the newest ones."""

    instrument: Instrument
    start: datetime | None
    end: datetime | None
    page_size: int
    page_token: str


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where a page begins: an instant, or a trade id."""

    time: datetime | None = None
    trade_id: str = ""

    def token(self) -> str:
        return f"i{self.trade_id}" if self.trade_id else f"t{to_millis(_required(self.time))}"


class TradeReader:
    """Reads executions of the account."""

    def __init__(self, venue: Venue, orders: VenueOrders, desk: OrderDesk) -> None:
        self._venue = venue
        self._orders = orders
        self._desk = desk

    async def order_trades(self, key: OrderKey, client_order_id: str) -> list[Fill]:
        """Return all executions of one order, oldest first."""
        fills = await self._orders.order_fills(key)
        return _mapped(fills, key.instrument, client_order_id)

    async def page(self, request: TradesRequest) -> tuple[list[Fill], str]:
        """Return one page and the token of the next, empty at the end.

        Raises InvalidFieldError for a token that is not ours.
        """
        limit = min(request.page_size or DEFAULT_PAGE, MAX_PAGE)
        if request.start is None and not request.page_token:
            rows = await self._orders.fills(request.instrument, start=None, end=None, limit=limit)
            return self._named(rows, request), ""
        cursor = _read_token(request.page_token) if request.page_token else _Cursor(request.start)
        # Silent windows are crossed here, boundedly; the token goes on from there.
        for _ in range(_MOST_WINDOWS):
            rows, following = await self._window(request, cursor, limit)
            if rows or following is None:
                return self._named(rows, request), "" if following is None else following.token()
            cursor = following
        return [], cursor.token()

    async def _window(
        self, request: TradesRequest, cursor: _Cursor, limit: int
    ) -> tuple[list[VenueFill], _Cursor | None]:
        end = request.end or self._venue.clock.now() + timedelta(days=1)
        until = None
        if cursor.time is not None:
            # The venue's end is inclusive and in whole milliseconds.
            until = min(cursor.time + self._venue.profile.trades_window, end)
            if cursor.time >= end:
                return [], None
        rows = await self._orders.fills(
            request.instrument,
            start=cursor.time,
            end=None if until is None else until - timedelta(milliseconds=1),
            limit=limit,
            first_trade_id=cursor.trade_id,
        )
        kept = [row for row in rows if row.time is None or row.time < end]
        # Rows at or past the end: the span is read.
        if len(kept) < len(rows):
            return kept, None
        if len(rows) >= limit and self._venue.profile.fills_by_id:
            return kept, _Cursor(trade_id=str(int(rows[-1].trade_id) + 1))
        if len(rows) >= limit:
            return _cut_by_time(kept[:limit])
        if until is None or until >= end:
            return kept, None
        return kept, _Cursor(until)

    def _named(self, rows: Iterable[VenueFill], request: TradesRequest) -> list[Fill]:
        """Map rows, adding the caller's ids of the orders we still remember."""
        found = []
        for row in rows:
            record = self._desk.shelf.find_exchange_id(
                request.instrument.symbol, row.exchange_order_id
            )
            name = "" if record is None else record.client_order_id
            found.extend(_mapped([row], request.instrument, name))
        return found


def _cut_by_time(rows: list[VenueFill]) -> tuple[list[VenueFill], _Cursor]:
    """Leave out the last instant, which may go on behind the page, and begin the next with it.

    Raises RejectedError (HISTORY_TOO_DENSE) when the page has no other.
    """
    last = _required(rows[-1].time)
    kept = [row for row in rows if row.time is not None and row.time < last]
    if not kept:
        raise RejectedError(
            "more executions at one instant than a page holds",
            reason="HISTORY_TOO_DENSE",
            code=Code.FAILED_PRECONDITION,
        )
    return kept, _Cursor(last)


def _mapped(fills: Iterable[VenueFill], instrument: Instrument, client_order_id: str) -> list[Fill]:
    return [to_fill(fill, fill.side or Side.BUY, instrument, client_order_id) for fill in fills]


def _read_token(token: str) -> _Cursor:
    kind, number = token[:1], token[1:19]
    if kind not in ("i", "t") or not (number.isascii() and number.isdigit()) or len(token) > 19:
        raise InvalidFieldError("page_token", "is not one of ours")
    if kind == "i":
        return _Cursor(trade_id=number)
    if len(number) > 14:
        raise InvalidFieldError("page_token", "is not one of ours")
    return _Cursor(from_millis(int(number)))


def _required(time: datetime | None) -> datetime:
    if time is None:
        raise ValueError("a cursor has a time or an id")
    return time
