"""The order stream of one connector: each change of an order told while its call is still open.

The stream only makes the engine faster. What it misses is told by the answer to the order or by the
venue when it is asked, so a row that cannot be used is left out and a broken stream is opened anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import grpc.aio

from opensqt.market_maker.v1 import events_pb2, exchange_pb2, types_pb2
from services.common.call_errors import from_call_error, is_cancelled
from services.common.errors import FatalError, OpensqtError
from services.common.logs import get_logger
from services.engine import wire_enums as wire
from services.engine.connector_codec import (
    fees_from_proto,
    optional_figure,
    required_figure,
    venue_time,
)
from services.engine.forced_fill_codec import forced_fill_from_proto
from services.engine.leg_gone import ForcedFill
from services.engine.orders import OrderOutcome
from services.engine.ports import OrderEvent

if TYPE_CHECKING:
    from opensqt.market_maker.v1 import exchange_pb2_grpc
    from services.common.clock import Clock

FIRST_PAUSE_SECONDS: Final = 0.2
MOST_PAUSE_SECONDS: Final = 1.0

_ZERO = Decimal(0)
_log = get_logger(__name__)


def event_from_proto(venue: str, row: events_pb2.OrderUpdate) -> OrderEvent | None:
    """Decode one change of an order; None for a row that says nothing of an order of ours.

    Raises FatalError for a row that lacks what a decision needs: a fill whose fees are not known
    yet is such a one, since hedging its gross would be a guess.
    """
    # Forced fills have no id, the mark at a snapshot's end has no order.
    if not row.client_order_id or row.status == types_pb2.ORDER_STATUS_UNSPECIFIED:
        return None
    executed = required_figure(row, "executed_qty", minimum=_ZERO)
    outcome = OrderOutcome(
        client_order_id=row.client_order_id,
        closed=row.status in wire.CLOSED_ORDER_STATUSES,
        executed=executed,
        net=required_figure(row, "net_quantity", minimum=_ZERO) if executed else _ZERO,
        average_price=optional_figure(row, "avg_price", positive=True) if executed else None,
        fees=fees_from_proto(row.fees),
        cumulative_quote=optional_figure(row, "cumulative_quote", minimum=_ZERO)
        if executed
        else None,
        update_time=venue_time(row),
        quantity=optional_figure(row, "quantity", positive=True),
    )
    return OrderEvent(venue, row.symbol, outcome)


class OrderWatch:
    """Reads one venue's order stream until cancelled, opened again after each break."""

    def __init__(
        self,
        venue: str,
        stub: exchange_pb2_grpc.ExchangeServiceAsyncStub,
        clock: Clock,
        tell: Callable[[OrderEvent], None],
        tell_forced: Callable[[ForcedFill], None] = lambda _: None,
    ) -> None:
        self._venue = venue
        self._stub = stub
        self._clock = clock
        self._tell = tell
        self._tell_forced = tell_forced

    async def run(self) -> None:
        """Keep the stream open, with growing waits between attempts that bring nothing."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            heard, error = await self._session()
            if is_cancelled():
                raise asyncio.CancelledError
            _log.debug("order_watch_down", venue=self._venue, reason=error.reason)
            pause = FIRST_PAUSE_SECONDS if heard else min(pause * 2, MOST_PAUSE_SECONDS)
            await self._clock.sleep(pause)

    async def _session(self) -> tuple[bool, OpensqtError]:
        heard = False
        call = self._stub.SubscribeOrders(exchange_pb2.SubscribeOrdersRequest())
        try:
            async for row in call:
                heard = True
                self._take(row)
        except grpc.aio.AioRpcError as error:
            return heard, from_call_error(error)
        except asyncio.CancelledError:
            # gRPC says so too when the call alone was cancelled; only our own end is one.
            if is_cancelled():
                raise
        finally:
            call.cancel()
        return heard, OpensqtError("the connector ended the stream", reason="STREAM_DROPPED")

    def _take(self, row: events_pb2.OrderUpdate) -> None:
        try:
            self._tell_of(row)
        except Exception:
            # One odd row, or a bug where it is heard, must not end the watch of a venue for good.
            _log.exception("order_event_broken", venue=self._venue)

    def _tell_of(self, row: events_pb2.OrderUpdate) -> None:
        try:
            fill = forced_fill_from_proto(self._venue, row)
            event = event_from_proto(self._venue, row) if fill is None else None
        except FatalError as error:
            _log.debug("order_event_left_out", venue=self._venue, problem=error.message)
            return
        if fill is not None:
            self._tell_forced(fill)
        if event is not None:
            self._tell(event)


@asynccontextmanager
async def open_order_watch(
    venue: str,
    stub: exchange_pb2_grpc.ExchangeServiceAsyncStub,
    clock: Clock,
    tell: Callable[[OrderEvent], None],
    tell_forced: Callable[[ForcedFill], None],
) -> AsyncIterator[None]:
    """Keep a venue's order stream open beside the block."""
    task = asyncio.create_task(OrderWatch(venue, stub, clock, tell, tell_forced).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
