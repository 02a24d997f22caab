"""The order stream of a connector: what a row says of an order, and what a break leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, cast

import pytest

from opensqt.market_maker.v1 import events_pb2, resources_pb2, types_pb2
from services.common.errors import FatalError
from services.engine.order_watch import event_from_proto, open_order_watch
from services.engine.orders import AssetAmount, OrderOutcome
from services.engine.ports import OrderEvent
from tests.support.connector_messages import number
from tests.support.virtual_clock import VirtualClock

D = Decimal
KEY = "p000000000000000le0000"


def update(**changes: Any) -> events_pb2.OrderUpdate:
    """Return a lead of one coin that has filled in part."""
    fields: dict[str, Any] = {
        "exchange": "binance",
        "client_order_id": KEY,
        "symbol": "BTCUSDT",
        "status": types_pb2.ORDER_STATUS_PARTIALLY_FILLED,
        "quantity": number("1"),
        "executed_qty": number("0.4"),
        "net_quantity": number("0.3996"),
        "avg_price": number("100"),
        "cumulative_quote": number("40"),
        "fees": [resources_pb2.AssetAmount(asset="BTC", amount=number("0.0004"))],
    }
    return events_pb2.OrderUpdate(**{**fields, **changes})


def test_a_fill_is_told_as_the_answer_would() -> None:
    """Cumulative, with the net of fees; the status only says whether more can fill."""
    fees = (AssetAmount("BTC", D("0.0004")),)
    outcome = OrderOutcome(KEY, False, D("0.4"), D("0.3996"), D(100), fees, D(40), quantity=D(1))
    assert event_from_proto("spot", update()) == OrderEvent("spot", "BTCUSDT", outcome)
    ended = event_from_proto("spot", update(status=types_pb2.ORDER_STATUS_CANCELED))
    assert ended is not None
    assert ended.outcome.closed
    assert ended.outcome.executed == D("0.4")


@pytest.mark.parametrize(
    "row",
    [
        events_pb2.OrderUpdate(exchange="binance", caught_up=True),
        update(client_order_id=""),
        update(status=types_pb2.ORDER_STATUS_UNSPECIFIED),
    ],
)
def test_rows_of_no_order_of_ours_say_nothing(row: events_pb2.OrderUpdate) -> None:
    """Marks, orders without an id and orders in doubt."""
    assert event_from_proto("spot", row) is None


@pytest.mark.parametrize("field", ["executed_qty", "net_quantity"])
def test_a_fill_without_its_figures_is_no_word_to_hedge_by(field: str) -> None:
    """Hedging the gross of a fill whose fee is unknown would be a guess."""
    row = update()
    row.ClearField(field)  # type: ignore[arg-type]  # one of two names
    with pytest.raises(FatalError):
        event_from_proto("spot", row)


class Streams:
    """A stub whose every stream tells two broken rows and a whole one, then ends.

    Mutable: it counts.
    """

    def __init__(self) -> None:
        self.count = 0

    def SubscribeOrders(self, request: object) -> Any:  # noqa: N802 - its wire name
        """Begin a stream."""
        self.count += 1
        return _Stream(self.count)


class _Stream:
    def __init__(self, number_of: int) -> None:
        self._number_of = number_of

    async def __aiter__(self) -> AsyncIterator[events_pb2.OrderUpdate]:
        yield update(executed_qty=number("NaN"))
        # As gRPC does with bytes that it cannot decode.
        yield cast("Any", None)
        yield update(client_order_id=f"order-{self._number_of}")
        # As gRPC does when the call alone was cancelled.
        raise asyncio.CancelledError

    def cancel(self) -> None:
        """Do nothing."""


async def test_a_stream_that_ends_is_opened_again() -> None:
    """A broken row is left out, the rows after it are told, and each break costs a short wait."""
    clock, streams, told = VirtualClock(), Streams(), list[str]()
    stub = cast("Any", streams)
    async with open_order_watch(
        "spot",
        stub,
        clock,
        lambda event: told.append(event.outcome.client_order_id),
        lambda _: None,
    ):
        await clock.run_until(lambda: streams.count == 3, limit=1)
    assert told == ["order-1", "order-2", "order-3"]
    assert clock.monotonic() == pytest.approx(0.4)


async def test_a_bug_where_a_row_is_heard_ends_no_watch() -> None:
    """The next row is told all the same, and the next stream is opened."""
    clock, streams, told = VirtualClock(), Streams(), list[str]()

    def hear(event: OrderEvent) -> None:
        told.append(event.outcome.client_order_id)
        raise ZeroDivisionError

    async with open_order_watch("spot", cast("Any", streams), clock, hear, lambda _: None):
        await clock.run_until(lambda: streams.count == 3, limit=1)
    assert told == ["order-1", "order-2", "order-3"]
