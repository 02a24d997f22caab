"""Hyperliquid's payloads: all are read, and what they executed is what a person reads in them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from services.connector.order_types import (
    ForcedFill,
    OrderStatus,
    Side,
    TimeInForce,
    VenueAcknowledgement,
    VenueOrder,
)
from services.connector.venues import find_profile
from tests.support.payloads import (
    Expected,
    Row,
    Shapes,
    folder,
    read_all,
    read_rows,
    say,
    say_order,
)

PROFILE = find_profile("hyperliquid")
ONE = Decimal(1)


def _is_order(row: Row) -> bool:
    inner = row.get("order")
    if isinstance(inner, dict):
        return "limitPx" in inner and "status" in row
    return "limitPx" in row and "oid" in row


SHAPES = Shapes(_is_order, lambda row: "tid" in row and "oid" in row)
ENDED: Expected = ("0", "", "", True)
LIVE: Expected = ("0", "", "", False)
BY_HAND: list[tuple[str, str, Expected]] = [
    ("historicalOrders.json", "/response/0", ENDED),
    ("historicalOrders.json", "/response/1", ENDED),
    ("historicalOrders.json", "/response/2", ENDED),
    ("historicalOrders.json", "/response/3", ENDED),
    ("historicalOrders.json", "/response/4", ENDED),
    ("frontendOpenOrders.json", "/response/0", LIVE),
    ("frontendOpenOrders.json", "/response/2", LIVE),
    ("openOrders.json", "/response/0", LIVE),
    ("jk_rest_spot_GetOpenOrdersExtended.json", "/response/0", LIVE),
    ("jk_ws_uni_Order.json", "/events/0", LIVE),
    ("docs_retrieve_a_user_s_fills_1.json", "/0", ("93.53", "18.435", "0.01 USDC", True)),
    ("docs_retrieve_a_user_s_fills_1.json", "/1", ("43.84", "18.62041381", "0.304521 USDC", True)),
    (
        "docs_retrieve_a_user_s_twap_slice_fills_1.json",
        "/0/fill",
        ("93.53", "18.435", "0.01 USDC", True),
    ),
    ("jk_rest_spot_GetUserTrades.json", "/response/0", ("93.53", "18.435", "0.01 USDC", True)),
    (
        "jk_ws_uni_UserEventTrade.json",
        "/events/0/data/fills/0",
        ("0.5", "34.895", "0.00031499 HYPE", True),
    ),
]
ASKED: Row = {
    "coin": "BTC",
    "side": "A",
    "limitPx": "38026",
    "origSz": "0.02",
    "cloid": "0x" + "ab" * 16,
    "reduceOnly": True,
    "tif": "Ioc",
}
FILL: Row = {
    "coin": "BTC",
    "px": "38026",
    "sz": "0.02",
    "side": "A",
    "time": 1700000000123,
    "dir": "Liquidated Cross Long",
    "oid": 5,
    "tid": 6,
    "fee": "0.3",
    "feeToken": "USDC",
    "crossed": True,
}


def with_status(word: str, left: str) -> Row:
    """Return an order for 5 in the form of a query's answer."""
    order = {**ASKED, "origSz": "5.0", "sz": left, "oid": 91490942, "timestamp": 1700000000123}
    return {"order": order, "status": word, "statusTimestamp": 1700000000456}


@pytest.mark.parametrize(
    ("word", "left", "status", "executed"),
    [
        ("open", "5.0", OrderStatus.NEW, "0"),
        ("open", "2.0", OrderStatus.PARTIALLY_FILLED, "3"),
        ("filled", "0.0", OrderStatus.FILLED, "5"),
        ("canceled", "2.0", OrderStatus.CANCELED, "3"),
        ("marginCanceled", "1.0", OrderStatus.CANCELED, "4"),
        ("reduceOnlyCanceled", "5.0", OrderStatus.CANCELED, "0"),
        ("scheduledCancel", "5.0", OrderStatus.CANCELED, "0"),
        ("iocCancelRejected", "5.0", OrderStatus.EXPIRED, "0"),
        ("tickRejected", "5.0", OrderStatus.REJECTED, "0"),
        ("rejected", "5.0", OrderStatus.REJECTED, "0"),
    ],
)
def test_words_of_an_order(word: str, left: str, status: OrderStatus, executed: str) -> None:
    """What is left of it tells what was executed, whatever the word."""
    order = PROFILE.order_row(with_status(word, left))
    assert (order.status, order.executed) == (status, Decimal(executed))
    assert (order.side, order.time_in_force) == (Side.SELL, TimeInForce.IOC)
    assert order.reduce_only


def test_an_unknown_word_is_no_evidence() -> None:
    """The venue may add states."""
    with pytest.raises(ValueError, match="unknown order status"):
        PROFILE.order_row(with_status("paused", "5.0"))


def reply(status: Any, asked: Row | None = None) -> Row:
    """Return the reply to an order as the order calls hand it on."""
    body: Row = {"status": "ok", "response": {"type": "order", "data": {"statuses": [status]}}}
    return body if asked is None else {**body, "asked": asked}


def test_a_whole_fill_is_read_out_of_the_reply() -> None:
    """With what was asked beside it."""
    filled = {"filled": {"totalSz": "0.02", "avgPx": "38025.5", "oid": 77747314}}
    order = PROFILE.place_reply(reply(filled, ASKED))
    assert isinstance(order, VenueOrder)
    assert (order.exchange_symbol, order.client_order_id) == ("BTC", "0x" + "ab" * 16)
    assert say_order(order, ONE) == ("0.02", "38025.5", "", True)


@pytest.mark.parametrize(
    ("status", "order_id"),
    [
        ({"resting": {"oid": 77738308}}, "77738308"),
        ({"filled": {"totalSz": "0.01", "avgPx": "38025.5", "oid": 77747314}}, "77747314"),
        ("waitingForTrigger", ""),
    ],
)
def test_any_other_reply_is_an_acknowledgement(status: Any, order_id: str) -> None:
    """Of a part the rest may rest or be gone: the order itself must be asked."""
    assert PROFILE.place_reply(reply(status, ASKED)) == VenueAcknowledgement(order_id, "")


@pytest.mark.parametrize("statuses", [[], [{}], ["a", "b"]])
def test_a_reply_about_no_order_is_broken(statuses: list[Any]) -> None:
    """It proves nothing."""
    body = {"response": {"data": {"statuses": statuses}}}
    with pytest.raises((ValueError, LookupError)):
        PROFILE.place_reply(body)


@pytest.mark.parametrize(
    ("direction", "forced"),
    [
        ("Liquidated Cross Long", ForcedFill.LIQUIDATION),
        ("Auto-Deleveraging", ForcedFill.AUTO_DELEVERAGING),
        ("Open Long", None),
    ],
)
def test_forced_fills_show_on_the_fill_channel(direction: str, forced: ForcedFill | None) -> None:
    """Old ones come in the snapshot and are no news."""
    data = {"fills": [{**FILL, "dir": direction}]}
    found = PROFILE.stream_orders({"channel": "userFills", "data": data})
    assert [order.forced_fill for order in found] == ([] if forced is None else [forced])
    snapshot = {"channel": "userFills", "data": {**data, "isSnapshot": True}}
    assert PROFILE.stream_orders(snapshot) == []


def test_own_fill_counts_the_builders_part_once() -> None:
    """`fee` holds it already."""
    row = {**FILL, "builderFee": "0.1"}
    assert say(PROFILE, SHAPES, row, ONE) == [("0.02", "38026", "0.3 USDC", True)]


def test_the_subscription_to_orders_is_the_live_stream() -> None:
    """No other answer is."""
    for word, ready in (("orderUpdates", True), ("userFills", False)):
        data = {"method": "subscribe", "subscription": {"type": word, "user": "0x1"}}
        message = {"channel": "subscriptionResponse", "data": data}
        assert PROFILE.stream_ready(message) is ready


@pytest.mark.recorded
def test_every_recorded_payload_is_read() -> None:
    """All files, each object in them."""
    counts = read_all("hyperliquid", PROFILE, SHAPES)
    assert counts.files >= 64
    assert (counts.orders >= 200, counts.fills >= 6, counts.messages >= 1) == (True, True, True)


@pytest.mark.recorded
@pytest.mark.parametrize(("name", "place", "wanted"), BY_HAND)
def test_recorded_payloads_say_what_a_person_reads(name: str, place: str, wanted: Expected) -> None:
    """Executed base quantity, average price, fee, over or not."""
    row = read_rows(folder("hyperliquid") / name)[place]
    assert say(PROFILE, SHAPES, row, ONE) == [wanted]


@pytest.mark.recorded
def test_recorded_replies_to_orders() -> None:
    """Resting, refused and filled."""
    rows = [
        read_rows(folder("hyperliquid") / f"docs_place_an_order_{number}.json")[""]
        for number in (1, 2, 3)
    ]
    assert PROFILE.place_reply(rows[0]) == VenueAcknowledgement("77738308", "")
    refusal = PROFILE.read_refusal(rows[1])
    assert refusal is not None
    assert refusal.code == "MinTradeNtl"
    order = PROFILE.place_reply({**rows[2], "asked": ASKED})
    assert isinstance(order, VenueOrder)
    assert say_order(order, ONE) == ("0.02", "1891.4", "", True)
