"""PositionService: legs, orders and realized profit from the ledger; the rest is not served yet.

Single executions and prices now are not in the journal: what needs them says UNIMPLEMENTED.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from opensqt.market_maker.v1 import position_pb2
from services.common.codec import decimal_to_proto, limit_fraction, require_text
from services.common.errors import InvalidFieldError, NotFoundError
from services.common.time_codec import to_millis
from services.engine.leg_codec import leg_to_proto, order_to_proto, profit_to_proto
from services.engine.leg_rows import LegRow, held_refs, leg_row, orders_of, profits_of
from services.engine.unserved import UnservedPositionService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection
    from datetime import datetime
    from typing import Any

    import grpc.aio

    from services.engine.book import PositionBook
    from services.engine.instruments import InstrumentRef
    from services.engine.position import OrderRecord, Position
    from services.engine.watching import PositionFeed

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000


class PositionServicer(UnservedPositionService):  # type: ignore[misc]  # made at run time
    """Answers what the ledger knows; `feed` tells when it changed."""

    def __init__(self, book: PositionBook, feed: PositionFeed) -> None:
        self._book = book
        self._feed = feed

    async def GetPositions(
        self,
        request: position_pb2.PositionServiceGetPositionsRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> position_pb2.PositionServiceGetPositionsResponse:
        """List the legs that are held."""
        return position_pb2.PositionServiceGetPositionsResponse(
            positions=[
                leg_to_proto(leg_row(ref, self._book.whole()))
                for ref in held_refs(self._book.whole())
                if _wanted(ref, request.symbols, request.exchanges)
            ]
        )

    async def GetPosition(
        self,
        request: position_pb2.PositionServiceGetPositionRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> position_pb2.PositionServiceGetPositionResponse:
        """Read one leg with its live orders; what was held before is flat."""
        symbol, exchange = require_text(request, "symbol"), require_text(request, "exchange")
        known = [
            rules.ref
            for p in self._book.whole()
            for rules in (p.intent.long_rules, p.intent.short_rules)
        ]
        ref = next((r for r in known if (r.symbol, r.exchange) == (symbol, exchange)), None)
        if ref is None:
            raise NotFoundError(
                f"the engine never held {symbol} at {exchange}", reason="LEG_NOT_FOUND"
            )
        return position_pb2.PositionServiceGetPositionResponse(
            position=leg_to_proto(leg_row(ref, self._book.whole())),
            open_orders=[order_to_proto(r) for r in self._open() if r.plan.instrument == ref],
        )

    async def SubscribePositions(
        self,
        request: position_pb2.PositionServiceSubscribePositionsRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[position_pb2.PositionUpdate]:
        """Stream the legs that are held, then every change."""
        self._book.check_whole()
        shown: dict[InstrumentRef, LegRow] = {}
        async for event in self._feed.watch(b"", frozenset()):
            # The stream of whole positions wakes us; the legs are read from the ledger itself.
            match event.WhichOneof("event"):
                case "caught_up":
                    refs = held_refs(self._book.whole())
                    kind = "snapshot"
                case "upsert":
                    position = self._book.get(event.upsert.position_id)
                    # Before the marker the snapshot is not complete; it comes as a whole.
                    if position is None or event.resume_token == b"":
                        continue
                    rules = (position.intent.long_rules, position.intent.short_rules)
                    refs, kind = tuple(each.ref for each in rules), ""
                case _:
                    continue
            for ref in refs:
                row = leg_row(ref, self._book.whole())
                if not _wanted(ref, request.symbols, ()) or shown.get(ref) == row:
                    continue
                kind_now = kind or _kind(shown.get(ref), row)
                shown[ref] = row
                yield position_pb2.PositionUpdate(position=leg_to_proto(row), update_type=kind_now)

    async def GetOpenOrders(
        self,
        request: position_pb2.PositionServiceGetOpenOrdersRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> position_pb2.PositionServiceGetOpenOrdersResponse:
        """List the orders whose end is not proven."""
        return position_pb2.PositionServiceGetOpenOrdersResponse(
            orders=[
                order_to_proto(r)
                for r in self._open()
                if _wanted(r.plan.instrument, request.symbols, request.exchanges)
            ]
        )

    async def GetOrderHistory(
        self,
        request: position_pb2.PositionServiceGetOrderHistoryRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> position_pb2.PositionServiceGetOrderHistoryResponse:
        """List orders, newest first, a page at a time."""
        limit = _limit(request.limit)
        rows = [
            r
            for r in orders_of(self._book.whole())
            if _wanted(r.plan.instrument, request.symbols, ())
            and _within(r.create_time, request.start_time, request.end_time)
        ]
        page = rows[:limit]
        # A page ends with its millisecond: the cursor names a time, and would skip the rest of it.
        for record in rows[limit:]:
            if to_millis(record.create_time) != to_millis(page[-1].create_time):
                break
            page.append(record)
        more = len(page) < len(rows)
        return position_pb2.PositionServiceGetOrderHistoryResponse(
            orders=[order_to_proto(r) for r in page],
            next_cursor=str(to_millis(page[-1].create_time)) if more else "",
        )

    async def GetOrder(
        self,
        request: position_pb2.PositionServiceGetOrderRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> position_pb2.PositionServiceGetOrderResponse:
        """Read one order by our id; its single executions are not in the ledger."""
        key = require_text(request, "order_id")
        record = next((p.orders[key] for p in self._book.whole() if key in p.orders), None)
        if record is None:
            raise NotFoundError(f"the engine sent no order {key}", reason="ORDER_NOT_FOUND")
        return position_pb2.PositionServiceGetOrderResponse(order=order_to_proto(record))

    async def GetRealizedPnL(
        self,
        request: position_pb2.PositionServiceGetRealizedPnLRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> position_pb2.PositionServiceGetRealizedPnLResponse:
        """Read the profit of positions that ended within the time."""
        profits = profits_of(
            [p for p in self._book.whole() if _ended_within(p, request)],
        )
        total = sum((p.realized_pnl for p in profits), Decimal(0))
        return position_pb2.PositionServiceGetRealizedPnLResponse(
            total_pnl=decimal_to_proto(limit_fraction(total)),
            by_symbol=[profit_to_proto(each) for each in profits],
        )

    def _open(self) -> list[OrderRecord]:
        return [r for r in orders_of(self._book.live()) if not r.is_resolved]


def _wanted(ref: InstrumentRef, symbols: Collection[str], exchanges: Collection[str]) -> bool:
    return (not symbols or ref.symbol in symbols) and (not exchanges or ref.exchange in exchanges)


def _within(instant: datetime, start: int, end: int) -> bool:
    millis = to_millis(instant)
    return millis >= start and (not end or millis < end)


def _ended_within(
    position: Position, request: position_pb2.PositionServiceGetRealizedPnLRequest
) -> bool:
    end = position.close_time
    wanted = not request.symbols or position.symbol in request.symbols
    return wanted and end is not None and _within(end, request.start_time, request.end_time)


def _limit(asked: int) -> int:
    if asked < 0:
        raise InvalidFieldError("limit", "must not be negative")
    return min(asked, MAX_LIMIT) or DEFAULT_LIMIT


def _kind(before: LegRow | None, now: LegRow) -> str:
    held = before is not None and before.quantity != 0
    if not now.quantity:
        return "closed" if held else "changed"
    return "changed" if held else "opened"
