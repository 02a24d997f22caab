"""OKX's payloads: all are read, and what they executed is what a person reads in them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.connector.order_types import (
    ForcedFill,
    OrderStatus,
    OrderType,
    TimeInForce,
    VenueAcknowledgement,
)
from services.connector.venues import find_profile
from tests.support.payloads import Expected, Row, Shapes, folder, read_all, read_rows, say

PROFILE = find_profile("okx-swap")
ONE = Decimal(1)
CONTRACT = Decimal("0.01")
SHAPES = Shapes(
    lambda row: "accFillSz" in row and "state" in row and "ordId" in row,
    lambda row: "fillPx" in row and "tradeId" in row and "side" in row and "state" not in row,
)
BOUGHT: Expected = ("0.00192834", "51858", "0.00000192834 BTC", True)
RESTING: Expected = ("0", "", "", False)
BY_HAND: list[tuple[str, str, Decimal, Expected]] = [
    ("http_get_orders_pending.json", "/data/0", CONTRACT, RESTING),
    ("http_get_orders_pending_with_attached_tp_sl.json", "/data/0", CONTRACT, RESTING),
    ("jk_rest_uni_GetOrders.json", "/response/data/0", ONE, RESTING),
    # Sized by a hundred dollars: only what was executed is in the base.
    ("jk_rest_uni_GetOrderArchive.json", "/response/data/0", ONE, BOUGHT),
    ("jk_rest_uni_GetUserTrades.json", "/response/data/0", ONE, BOUGHT),
    ("jk_rest_uni_GetUserTradesArchive.json", "/response/data/0", ONE, BOUGHT),
    ("http_transaction_detail.json", "", ONE, ("0.001", "42000.5", "-0.042 USDT", True)),
    ("http_transaction_detail_empty_fee.json", "", ONE, ("0.001", "42000.5", "", True)),
    # A hundred contracts of a hundredth.
    ("jk_ws_uni_UserTrade.json", "/events/0/data/0", CONTRACT, ("1", "70000", "", True)),
    ("ws_orders_fok.json", "", ONE, ("0.05", "50000", "0.25 USDT", True)),
    ("ws_orders_fok.json", "/data/0", ONE, ("0.05", "50000", "0.25 USDT", True)),
    ("ws_orders_trigger.json", "", CONTRACT, ("0.0001", "101950", "0.02039 USDT", True)),
    ("ws_orders_trigger.json", "/data/0", CONTRACT, ("0.0001", "101950", "0.02039 USDT", True)),
]


def order_row(**changes: object) -> Row:
    """Return an IOC for 50 contracts that was cancelled with 20 done in two fills."""
    row: Row = {
        "instType": "SWAP",
        "instId": "BTC-USDT-SWAP",
        "ordId": "2510789768709120",
        "clOrdId": "trend1",
        "side": "sell",
        "posSide": "net",
        "tdMode": "cross",
        "ordType": "ioc",
        "state": "canceled",
        "sz": "50",
        "accFillSz": "20",
        "px": "38026",
        "avgPx": "38026.5",
        "fillPx": "38026",
        "fillSz": "5",
        "tradeId": "107601752",
        "fillTime": "1700000000123",
        "fillFee": "-0.95",
        "fillFeeCcy": "USDT",
        "execType": "T",
        "fee": "-3.8",
        "feeCcy": "USDT",
        "rebate": "0",
        "tgtCcy": "",
        "category": "normal",
        "reduceOnly": "true",
        "cTime": "1700000000100",
        "uTime": "1700000000456",
    }
    return {**row, **changes}


def stream(**changes: object) -> Row:
    """Return the message that tells of that order."""
    return {"arg": {"channel": "orders", "instType": "ANY"}, "data": [order_row(**changes)]}


def test_a_cancelled_order_keeps_what_it_executed() -> None:
    """The end says nothing about the quantity; contracts become base units."""
    order = PROFILE.order_row(order_row())
    assert (order.status, order.time_in_force) == (OrderStatus.CANCELED, TimeInForce.IOC)
    assert (order.client_order_id, order.reduce_only) == ("trend1", True)
    assert say(PROFILE, SHAPES, order_row(), CONTRACT) == [("0.2", "38026.5", "", True)]


def test_a_message_carries_its_own_fill() -> None:
    """The last fill with its own fee, which is above zero when paid."""
    (order,) = PROFILE.stream_orders(stream())
    (fill,) = order.fills
    assert (fill.trade_id, fill.quantity, fill.price) == (
        "107601752",
        Decimal(5),
        Decimal("38026"),
    )
    assert (fill.fee, fill.fee_asset, fill.maker) == (Decimal("0.95"), "USDT", False)
    assert order.fills_complete is False


def test_the_only_fill_takes_the_order_fee() -> None:
    """Where the fill has no fee of its own, the order's is its fee; a rebate leaves it unknown."""
    whole = order_row(fillSz="20", fillFee="", fillFeeCcy="")
    assert say(PROFILE, SHAPES, whole, CONTRACT) == [("0.2", "38026", "3.8 USDT", True)]
    (fill,) = PROFILE.order_row({**whole, "rebate": "0.1"}).fills
    assert fill.fee is None


def test_a_rebate_is_a_fee_below_zero() -> None:
    """A maker that is paid."""
    (order,) = PROFILE.stream_orders(stream(fillFee="0.19", execType="M"))
    assert (order.fills[0].fee, order.fills[0].maker) == (Decimal("-0.19"), True)


@pytest.mark.parametrize(
    ("category", "forced"),
    [
        ("full_liquidation", ForcedFill.LIQUIDATION),
        ("partial_liquidation", ForcedFill.LIQUIDATION),
        ("adl", ForcedFill.AUTO_DELEVERAGING),
        ("normal", None),
        ("twap", None),
    ],
)
def test_orders_of_the_venue_itself(category: str, forced: ForcedFill | None) -> None:
    """Liquidations and deleveraging are told by the category."""
    assert PROFILE.order_row(order_row(category=category)).forced_fill is forced


def test_market_orders_have_no_price_and_may_be_sized_in_the_quote() -> None:
    """Only what such an order has executed is known in the base."""
    row = order_row(ordType="market", tgtCcy="quote_ccy", sz="76.05", instId="BTC-USDT")
    order = PROFILE.order_row(row)
    assert (order.type, order.price, order.quantity) == (OrderType.MARKET, None, Decimal(20))
    swap = PROFILE.order_row(order_row(ordType="optimal_limit_ioc"))
    assert (swap.type, swap.quantity) == (OrderType.MARKET, Decimal(50))


def test_messages_that_are_about_no_order() -> None:
    """Acknowledgements, other channels and errors."""
    argument = {"channel": "orders", "instType": "ANY"}
    subscribed = {"event": "subscribe", "arg": argument, "connId": "a"}
    assert PROFILE.stream_ready(subscribed)
    assert not PROFILE.stream_ready(None)
    assert not PROFILE.stream_ready({"event": "login", "code": "0", "msg": ""})
    others: list[Row] = [
        subscribed,
        {"event": "error", "code": "60012", "msg": "Illegal request"},
        {"arg": {"channel": "positions"}, "data": [order_row()]},
        {"arg": {"channel": "account"}, "data": []},
    ]
    assert [PROFILE.stream_orders(message) for message in others] == [(), (), (), ()]
    assert not any(PROFILE.stream_ended(message) for message in others)


@pytest.mark.parametrize(
    "message",
    [
        {"event": "notice", "code": "64008", "msg": "The connection will soon be closed"},
        {"event": "channel-conn-count-error", "channel": "orders", "connCount": "30"},
        {"event": "unsubscribe", "arg": {"channel": "orders", "instType": "ANY"}},
    ],
)
def test_the_venue_says_when_the_stream_ends(message: Row) -> None:
    """So that it is opened anew before it falls silent."""
    assert PROFILE.stream_ended(message)


def test_a_reply_to_a_new_order_is_an_acknowledgement() -> None:
    """It names the order and says nothing else; without a name it is none."""
    row = {"ordId": "312269865356374016", "clOrdId": "trend1", "sCode": "0", "sMsg": ""}
    told = VenueAcknowledgement("312269865356374016", "trend1")
    assert PROFILE.place_reply(row) == told
    with pytest.raises(ValueError, match="ordId"):
        PROFILE.place_reply({**row, "ordId": ""})


@pytest.mark.parametrize(
    "broken",
    [{"state": "resting"}, {"sz": "many"}, {"ordId": ""}, {"side": "hold"}, {"accFillSz": "NaN"}],
)
def test_broken_rows_are_refused(broken: Row) -> None:
    """A row that does not hold is no evidence."""
    with pytest.raises(ValueError, match=r"."):
        PROFILE.order_row(order_row(**broken))


@pytest.mark.recorded
def test_every_recorded_payload_is_read() -> None:
    """All files, each object in them."""
    counts = read_all("okx", PROFILE, SHAPES)
    assert counts.files >= 69
    assert (counts.orders >= 6, counts.fills >= 5, counts.messages >= 2) == (True, True, True)


@pytest.mark.recorded
@pytest.mark.parametrize(("name", "place", "unit", "wanted"), BY_HAND)
def test_recorded_payloads_say_what_a_person_reads(
    name: str, place: str, unit: Decimal, wanted: Expected
) -> None:
    """Executed base quantity, average price, fee, over or not."""
    row = read_rows(folder("okx") / name)[place]
    assert say(PROFILE, SHAPES, row, unit) == [wanted]
