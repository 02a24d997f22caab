"""Bitget's payloads: all are read, and what they executed is what a person reads in them."""

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

PROFILE = find_profile("bitget-swap")
ONE = Decimal(1)
SHAPES = Shapes(
    # v2 alone: the rows of the unified account (v3) have other names and are not asked for.
    lambda row: "size" in row and "orderType" in row and "symbol" in row and "tradeId" not in row,
    lambda row: "tradeId" in row and "feeDetail" in row and "symbol" in row,
)
TWELVE: Expected = ("12.1", "1903", "", True)
TWELVE_OPEN: Expected = ("12.1", "1903", "", False)
BY_HAND: list[tuple[str, str, Expected]] = [
    ("docs_get_api_v2_mix_order_detail_1.json", "/data", ("2", "1900", "", True)),
    ("docs_get_api_v2_mix_order_orders_history_1.json", "/data/entrustedList/0", TWELVE),
    ("docs_get_api_v2_mix_order_orders_pending_1.json", "/data/entrustedList/0", TWELVE_OPEN),
    ("jk_rest_fut_GetOpenOrders.json", "/response/data/entrustedList/0", TWELVE_OPEN),
    ("jk_rest_fut_GetOpenOrders2.json", "/response/data/entrustedList/0", ("0", "", "", False)),
    ("docs_get_api_v2_spot_trade_orderinfo_1.json", "/data/0", ("0.0007", "13000", "", True)),
    ("jk_rest_spot_GetClosedOrders.json", "/response/data/0", ("0.0125", "1598.1", "", True)),
    ("jk_rest_spot_GetOpenOrders.json", "/response/data/0", ("0", "", "", False)),
    (
        "jk_rest_spot_GetOrder.json",
        "/response/data/0",
        ("142.9015", "0.0699782527055350".rstrip("0"), "", True),
    ),
    (
        "docs_get_api_v2_mix_order_fills_1.json",
        "/data/fillList/0",
        ("1", "1900", "0.017118519726 BGB", True),
    ),
    (
        "docs_get_api_v2_spot_trade_fills_1.json",
        "/data/0",
        ("0.0007", "13000", "0.0000007 BTC", True),
    ),
    (
        "jk_rest_fut_GetHistoricalUserTrades.json",
        "/response/data/fillList/0",
        ("0.02", "1801.33", "0.02161596 USDT", True),
    ),
    (
        "jk_rest_spot_GetUserTrades.json",
        "/response/data/0",
        ("0.0007", "13000", "0.0000007 BTC", True),
    ),
    ("jk_ws_spot_Order.json", "/events/0", ("0.0003", "26256", "0.00000018 BTC", False)),
    (
        "jk_ws_fut_UserTrade.json",
        "/events/0/data/0",
        ("0.01", "51000.5", "0.183717 USDT", True),
    ),
]


def contract_row(**changes: object) -> Row:
    """Return an order for 0.5 that was cancelled with 0.2 done."""
    row: Row = {
        "symbol": "BTCUSDT",
        "size": "0.5",
        "orderId": "11",
        "clientOid": "trend-1",
        "baseVolume": "0.2",
        "priceAvg": "38026.5",
        "quoteVolume": "7605.3",
        "price": "38026.5",
        "state": "canceled",
        "side": "sell",
        "force": "ioc",
        "orderType": "limit",
        "marginCoin": "USDT",
        "reduceOnly": "YES",
        "tradeSide": "sell_single",
        "cTime": "1700000000123",
        "uTime": "1700000000456",
    }
    return {**row, **changes}


def test_a_cancelled_order_keeps_what_it_executed() -> None:
    """The end says nothing about the quantity."""
    order = PROFILE.order_row(contract_row())
    assert (order.status, order.time_in_force) == (OrderStatus.CANCELED, TimeInForce.IOC)
    assert (order.client_order_id, order.reduce_only) == ("trend-1", True)
    assert say(PROFILE, SHAPES, contract_row(), ONE) == [("0.2", "38026.5", "", True)]
    told = contract_row(priceAvg="")
    assert say(PROFILE, SHAPES, told, ONE) == [("0.2", "38026.5", "", True)]


@pytest.mark.parametrize(
    ("trade_side", "forced"),
    [
        ("burst_sell_single", ForcedFill.LIQUIDATION),
        ("reduce_sell_single", ForcedFill.LIQUIDATION),
        ("dte_sys_adl_buy_in_single_side_mode", ForcedFill.AUTO_DELEVERAGING),
        ("sell_single", None),
        ("close", None),
    ],
)
def test_orders_of_the_venue_itself(trade_side: str, forced: ForcedFill | None) -> None:
    """Liquidations and deleveraging are told by the trade side."""
    assert PROFILE.order_row(contract_row(tradeSide=trade_side)).forced_fill is forced


def test_own_spot_rows() -> None:
    """A market buy's size is in the quote; unfilled orders have their price under priceAvg."""
    row = contract_row(orderType="market", side="buy", size="76.05", state="filled")
    del row["marginCoin"]
    order = PROFILE.order_row(row)
    assert (order.type, order.quantity, order.executed) == (
        OrderType.MARKET,
        Decimal("0.2"),
        Decimal("0.2"),
    )
    resting: Row = {
        "symbol": "btcusdt",
        "orderId": "12",
        "clientOid": "x",
        "priceAvg": "34829.12",
        "size": "1",
        "orderType": "limit",
        "side": "buy",
        "status": "live",
        "baseVolume": "0",
        "quoteVolume": "0",
    }
    order = PROFILE.order_row(resting)
    assert (order.exchange_symbol, order.price) == ("BTCUSDT", Decimal("34829.12"))
    assert say(PROFILE, SHAPES, resting, ONE) == [("0", "", "", False)]


def test_own_stream_message_carries_its_fill() -> None:
    """The total stands in accBaseVolume, the last fill's part in baseVolume."""
    message: Row = {
        "action": "snapshot",
        "arg": {"instType": "USDT-FUTURES", "channel": "orders", "instId": "default"},
        "data": [
            {
                "instId": "BTCUSDT",
                "orderId": "11",
                "clientOid": "trend-1",
                "size": "0.5",
                "orderType": "limit",
                "force": "ioc",
                "side": "sell",
                "price": "38026",
                "fillPrice": "38027",
                "tradeId": "5",
                "baseVolume": "0.1",
                "fillFee": "-2.28",
                "fillFeeCoin": "USDT",
                "fillTime": "1700000000123",
                "tradeScope": "T",
                "accBaseVolume": "0.3",
                "priceAvg": "38026.5",
                "status": "canceled",
                "cTime": "1700000000100",
                "uTime": "1700000000456",
            }
        ],
        "ts": 1700000000500,
    }
    (order,) = PROFILE.stream_orders(message)
    assert (order.executed, order.status) == (Decimal("0.3"), OrderStatus.CANCELED)
    (fill,) = order.fills
    assert (fill.quantity, fill.fee, fill.fee_asset) == (Decimal("0.1"), Decimal("2.28"), "USDT")
    assert fill.maker is False
    assert PROFILE.stream_orders({**message, "arg": {"channel": "positions"}}) == []
    ready = {"event": "subscribe", "arg": message["arg"]}
    assert PROFILE.stream_ready(ready)
    assert not PROFILE.stream_ready({"event": "login", "code": 0})


def test_a_fee_in_two_coins_is_unknown() -> None:
    """It is no one number."""
    row: Row = {
        "tradeId": "1",
        "orderId": "2",
        "symbol": "BTCUSDT",
        "side": "buy",
        "price": "38026",
        "baseVolume": "0.1",
        "feeDetail": [
            {"feeCoin": "BGB", "totalFee": "-0.1"},
            {"feeCoin": "USDT", "totalFee": "-0.2"},
        ],
    }
    assert say(PROFILE, SHAPES, row, ONE) == [("0.1", "38026", "", True)]


def test_a_reply_names_the_order_by_either_id() -> None:
    """A reduce-only order that closes others comes back without the venue's."""
    assert PROFILE.place_reply({"orderId": "1", "clientOid": "a"}) == VenueAcknowledgement("1", "a")
    assert PROFILE.place_reply({"orderId": None, "clientOid": "a"}) == VenueAcknowledgement("", "a")
    with pytest.raises(ValueError, match="no order"):
        PROFILE.place_reply({})


@pytest.mark.parametrize(
    "broken", [{"state": "resting"}, {"size": "many"}, {"orderId": ""}, {"side": "hold"}]
)
def test_broken_rows_are_refused(broken: Row) -> None:
    """A row that does not hold is no evidence."""
    with pytest.raises(ValueError, match=r"."):
        PROFILE.order_row(contract_row(**broken))


@pytest.mark.parametrize("word", ["canceled", "filled", "partially_filled"])
def test_a_lacking_executed_quantity_is_no_zero(word: str) -> None:
    """Only an order that has just begun may leave it out."""
    row = {name: value for name, value in contract_row(state=word).items() if name != "baseVolume"}
    with pytest.raises(ValueError, match="baseVolume"):
        PROFILE.order_row(row)
    assert PROFILE.order_row({**row, "state": "live"}).executed == 0


@pytest.mark.recorded
def test_every_recorded_payload_is_read() -> None:
    """All files, each object in them."""
    counts = read_all("bitget", PROFILE, SHAPES)
    assert counts.files >= 86
    assert (counts.orders >= 9, counts.fills >= 8, counts.messages >= 1) == (True, True, True)


@pytest.mark.recorded
@pytest.mark.parametrize(("name", "place", "wanted"), BY_HAND)
def test_recorded_payloads_say_what_a_person_reads(name: str, place: str, wanted: Expected) -> None:
    """Executed base quantity, average price, fee, over or not."""
    row = read_rows(folder("bitget") / name)[place]
    assert say(PROFILE, SHAPES, row, ONE) == [wanted]
