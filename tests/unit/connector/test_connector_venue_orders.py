"""Order calls on a venue made by hand: what is believed of its answers, and the way they go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from services.common.clock import SystemClock
from services.common.errors import OpensqtError, RejectedError
from services.connector.order_calls import NewOrder, OrderKey
from services.connector.order_types import (
    OrderIntent,
    OrderType,
    Side,
    VenueAcknowledgement,
    VenueOrder,
)
from services.connector.send_judgement import Verdict, judge_send_error
from services.connector.venue_errors import to_read_error
from services.connector.venue_http import REQUEST_TRACE
from services.connector.venue_orders import VenueOrders
from services.connector.venues import find_profile
from tests.support.connector_orders import instrument
from tests.support.desk_rig import venue_row

INTENT = OrderIntent(
    client_order_id="mine",
    symbol="BTCUSDT",
    side=Side.BUY,
    type=OrderType.MARKET,
    time_in_force=None,
    quantity=Decimal("0.01"),
    price=None,
)
KEY = OrderKey(instrument(), "mine")
Row = Mapping[str, Any]


@dataclass
class Calls:
    """ccxt's part; `row` is what every question brings. Mutable: it counts what was sent."""

    row: Any = None
    fills: list[Row] = field(default_factory=list)
    placed: int = 0

    async def place(self, _exchange: Any, _order: NewOrder) -> Any:
        """Count it, as one that left."""
        self.placed += 1
        trace = REQUEST_TRACE.get()
        assert trace is not None
        trace.left = True
        return self.row

    async def query(self, _exchange: Any, _key: OrderKey) -> Any:
        """Return the row."""
        return self.row

    async def order_fills(self, _exchange: Any, _key: OrderKey) -> list[Row]:
        """Return the fills."""
        return self.fills


class BrokenSocket:
    """An order-entry connection that takes each order and breaks."""

    def takes(self, _order: NewOrder) -> bool:
        """Say that it is open."""
        return True

    async def place(self, _order: NewOrder) -> Row:
        """Break after the sending."""
        trace = REQUEST_TRACE.get()
        assert trace is not None
        trace.left = True
        raise ConnectionError("broke")


def orders_on(calls: Calls, entry: Any = None, **changes: Any) -> VenueOrders:
    """Return the calls on a venue of Binance's kind, whose rows are made already."""
    plain: dict[str, Any] = {
        "calls": calls,
        "place_reply": lambda row: row,
        "order_row": lambda row: row,
        "fill_row": lambda row: row,
        **changes,
    }
    profile = replace(find_profile("binance"), **plain)

    async def call(_name: str, _weight: int, send: Callable[[], Any], *, priority: Any) -> Any:
        del priority
        return await send()

    async def read(_name: str, _weight: int, ask: Callable[[], Any], *, priority: Any) -> Any:
        del priority
        try:
            return await ask()
        except Exception as error:
            raise to_read_error(error, profile) from error

    venue = SimpleNamespace(
        profile=profile,
        trading=None,
        clock=SystemClock(),
        fence=None,
        clock_skew=None,
        call=call,
        read=read,
    )
    return VenueOrders(cast("Any", venue), entry)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (venue_row("mine"), Verdict.ACCEPTED),
        (VenueAcknowledgement("28", "mine"), Verdict.ACCEPTED),
        (VenueAcknowledgement("28", ""), Verdict.ACCEPTED),
        (VenueAcknowledgement("28", "other"), Verdict.UNKNOWN),
        (replace(venue_row("mine"), executed=Decimal(-1)), Verdict.UNKNOWN),
        (replace(venue_row("mine"), executed=Decimal(9)), Verdict.UNKNOWN),
        (replace(venue_row("mine"), quantity=Decimal(0)), Verdict.UNKNOWN),
        (None, Verdict.UNKNOWN),
    ],
)
async def test_what_a_reply_to_an_order_proves(reply: Any, verdict: Verdict) -> None:
    """Its own row or acknowledgement; another's, or amounts that cannot be, leave it open."""
    calls = Calls(reply)

    def read(row: Any) -> Any:
        if row is None:
            raise LookupError("orderId")
        return row

    result = await orders_on(calls, place_reply=read).place(INTENT, instrument(), "mine")
    assert result.verdict is verdict
    assert calls.placed == 1


@pytest.mark.parametrize(
    "row",
    [
        venue_row("other"),
        replace(venue_row("mine"), exchange_symbol="ETHUSDT"),
        replace(venue_row("mine"), executed=Decimal(-1)),
        replace(venue_row("mine"), executed=Decimal(9)),
    ],
    ids=["another id", "another symbol", "negative", "more than asked"],
)
async def test_a_query_answered_about_another_order_says_nothing(row: VenueOrder) -> None:
    """It is neither this order nor its absence, so it raises."""
    with pytest.raises(OpensqtError):
        await orders_on(Calls(row)).query(KEY)


async def test_fills_of_other_orders_are_left_out() -> None:
    """A venue that ignores the filter does not add to the order."""
    own = venue_row("mine").fills[0]
    other = replace(own, exchange_order_id="29", trade_id="2")
    calls = Calls(fills=cast("Any", [own, other]))
    found = await orders_on(calls).order_fills(replace(KEY, exchange_order_id="28"))
    assert [one.trade_id for one in found] == [own.trade_id]


async def test_an_order_goes_one_way_only() -> None:
    """What broke on the WebSocket is unknown, and never tried by HTTP."""
    calls = Calls(venue_row("mine"))
    result = await orders_on(calls, BrokenSocket()).place(INTENT, instrument(), "mine")
    assert result.verdict is Verdict.UNKNOWN
    assert calls.placed == 0


async def test_an_order_that_cannot_be_put_into_the_venues_form_is_not_sent() -> None:
    """A bug in a venue's file is told as such, and nothing has left."""

    def broken(_intent: OrderIntent, _name: str) -> dict[str, Any]:
        raise LookupError("timeInForce")

    calls = Calls(venue_row("mine"))
    result = await orders_on(calls, order_params=broken).place(INTENT, instrument(), "mine")
    assert result.verdict is Verdict.NOT_SENT
    assert isinstance(result.error, RejectedError)
    assert calls.placed == 0


@pytest.mark.parametrize(
    ("cause", "left", "verdict"),
    [
        (aiohttp.ServerDisconnectedError(), True, Verdict.UNKNOWN),
        (aiohttp.ClientOSError(), True, Verdict.UNKNOWN),
        (TimeoutError(), True, Verdict.UNKNOWN),
        (aiohttp.ClientConnectorError(cast("Any", None), OSError()), True, Verdict.NOT_SENT),
        (TimeoutError(), False, Verdict.NOT_SENT),
    ],
    ids=["disconnected", "reset", "timeout", "no connection", "never left"],
)
def test_only_a_connection_that_never_was_proves_that_nothing_left(
    cause: Exception, left: bool, verdict: Verdict
) -> None:
    """Every other end of a request that left is unknown."""
    error = RuntimeError("ccxt's own")
    error.__cause__ = cause
    assert judge_send_error(error, left=left, profile=find_profile("binance")).verdict is verdict
