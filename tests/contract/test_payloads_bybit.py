"""Bybit's payloads: all are read, and what they executed is what a person reads in them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.connector.order_codec import encode_order
from services.connector.order_mapping import to_state
from services.connector.order_types import (
    ForcedFill,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
    VenueAcknowledgement,
)
from services.connector.venues import find_profile
from tests.support.connector_orders import instrument
from tests.support.payloads import Expected, Row, Shapes, folder, read_all, read_rows, say

LINEAR, SPOT = find_profile("bybit-linear"), find_profile("bybit-spot")
ONE = Decimal(1)
"""Coins in one unit: Bybit's linear perpetuals and spot count coins."""

SHAPES = Shapes(
    lambda row: "orderStatus" in row and "cumExecQty" in row,
    # The fast stream's rows have no fee and no size of their order.
    lambda row: "execId" in row and "execFee" in row,
)
RESTING: Expected = ("0", "", "", False)
ENDED_EMPTY: Expected = ("0", "", "", True)
ETH_FILL: Expected = ("0.1", "1190.15", "0.071409 USDC", True)
BY_HAND: list[tuple[str, str, Expected]] = [
    ("docs_order_open-order_1.json", "/result/list/0", RESTING),
    ("http_get_orders_realtime.json", "/result/list/0", RESTING),
    ("http_get_orders_realtime_tp_sl.json", "/result/list/0", RESTING),
    ("jk_rest_uni_GetOrders.json", "/response/result/list/0", RESTING),
    # A post-only order that would have taken: acknowledged, then cancelled, nothing done.
    ("docs_order_order-list_1.json", "/result/list/0", ENDED_EMPTY),
    ("http_get_orders_history.json", "/result/list/0", ENDED_EMPTY),
    ("ws_account_order.json", "", ENDED_EMPTY),
    ("ws_account_order_stop_limit.json", "", RESTING),
    ("ws_account_order_take_profit.json", "", RESTING),
    # Filled; which fills it had, and their fees, the executions tell.
    ("ws_account_order_filled.json", "", ("0.1", "30000.5", "", True)),
    ("docs_order_execution_1.json", "/result/list/0", ETH_FILL),
    ("jk_rest_uni_GetUserTrades.json", "/response/result/list/0", ETH_FILL),
    # A message of the stream proves a quantity, not an end. The tax comes on top of the fee.
    (
        "docs_websocket_private_execution_2.json",
        "",
        ("0.5", "95900.1", "26.378931279 USDT", False),
    ),
    ("ws_account_execution.json", "", ("0.5", "95900.1", "26.3725275 USDT", False)),
    ("jk_ws_uni_UserTrades.json", "/events/0", ("25", "0.3374", "0.005061 USDT", False)),
]


def order_of(**changes: object) -> Row:
    """Return the row of an IOC sale that did 0.03 of 0.05 and was cancelled."""
    row: Row = {
        "orderId": "1f1c2a0e-7b2d-4f43-8f5e-0a1b2c3d4e5f",
        "orderLinkId": "trend-1",
        "symbol": "BTCUSDT",
        "price": "61000.5",
        "qty": "0.050",
        "side": "Sell",
        "positionIdx": 0,
        "orderStatus": "Cancelled",
        "cancelType": "CancelByUser",
        "rejectReason": "EC_NoError",
        "avgPrice": "61010.2",
        "cumExecQty": "0.030",
        "cumExecValue": "1830.306",
        "timeInForce": "IOC",
        "orderType": "Limit",
        "createType": "CreateByUser",
        "reduceOnly": True,
        "createdTime": "1719800000123",
        "updatedTime": "1719800000130",
    }
    return {**row, **changes}


def execution_of(**changes: object) -> Row:
    """Return a row of the executions, of the order above."""
    row: Row = {
        "category": "linear",
        "symbol": "BTCUSDT",
        "orderId": "1f1c2a0e-7b2d-4f43-8f5e-0a1b2c3d4e5f",
        "orderLinkId": "trend-1",
        "side": "Sell",
        "orderPrice": "61000.5",
        "orderQty": "0.050",
        "orderType": "Limit",
        "leavesQty": "0.020",
        "execId": "5ec0d1e2-0000-4000-8000-00000000000a",
        "execPrice": "61010.2",
        "execQty": "0.030",
        "execFee": "1.0066683",
        "feeCurrency": "",
        "execType": "Trade",
        "execTime": "1719800000129",
        "isMaker": False,
    }
    return {**row, **changes}


def message(topic: str, *rows: Row) -> Row:
    """Return a message of the private stream."""
    return {"id": "1", "topic": topic, "creationTime": 1719800000131, "data": list(rows)}


def test_a_cancelled_order_keeps_what_it_executed() -> None:
    """The end's word says nothing about the quantity."""
    order = LINEAR.order_row(order_of())
    assert order.status is OrderStatus.CANCELED
    assert (order.side, order.type, order.time_in_force) == (
        Side.SELL,
        OrderType.LIMIT,
        TimeInForce.IOC,
    )
    assert order.reduce_only
    assert say(LINEAR, SHAPES, order_of(), ONE) == [("0.03", "61010.2", "", True)]


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("New", OrderStatus.NEW),
        ("PartiallyFilled", OrderStatus.PARTIALLY_FILLED),
        ("Filled", OrderStatus.FILLED),
        ("PartiallyFilledCanceled", OrderStatus.CANCELED),
        ("Rejected", OrderStatus.REJECTED),
        ("Deactivated", OrderStatus.CANCELED),
    ],
)
def test_words_of_an_order(word: str, status: OrderStatus) -> None:
    """Each word's state; the quantity stays the executed one."""
    order = LINEAR.order_row(order_of(orderStatus=word))
    assert (order.status, order.executed) == (status, Decimal("0.030"))


def test_a_market_order_has_no_price_and_one_by_value_no_asked_quantity() -> None:
    """The price of a market order is the venue's bound; by value, only executed is in coins."""
    market = LINEAR.order_row(order_of(orderType="Market", timeInForce="IOC"))
    assert (market.price, market.time_in_force) == (None, None)
    by_value = SPOT.order_row(order_of(orderType="Market", qty="1830", marketUnit="quoteCoin"))
    assert by_value.quantity == Decimal("0.030")


def test_a_message_tells_orders_of_its_own_category_only() -> None:
    """The stream of an account has both categories' orders under one symbol name."""
    rows = [order_of(category="spot"), order_of(category="linear"), order_of(category="option")]
    assert len(LINEAR.stream_orders(message("order", *rows))) == 1
    assert len(SPOT.stream_orders(message("order", *rows))) == 1
    assert len(LINEAR.stream_orders(message("order", rows[1], rows[1]))) == 2
    for other in ("wallet", "position", "execution.fast"):
        assert not LINEAR.stream_orders(message(other, *rows))


def test_an_execution_proves_its_own_quantity_and_no_end() -> None:
    """What is left by the row's word may be cancelled, so it counts for nothing."""
    (order,) = LINEAR.stream_orders(message("execution", execution_of(leavesQty="0")))
    assert (order.status, order.executed) == (OrderStatus.PARTIALLY_FILLED, Decimal("0.030"))
    assert order.fills[0].fee_asset == "USDT"


@pytest.mark.parametrize(
    ("profile", "row", "fee", "asset"),
    [
        (LINEAR, execution_of(), "1.0066683", "USDT"),
        (LINEAR, execution_of(symbol="BTCPERP"), "1.0066683", "USDC"),
        (
            SPOT,
            execution_of(category="spot", feeCurrency="BTC", execFee="0.00003"),
            "0.00003",
            "BTC",
        ),
        # Spot names no coin in old rows, and it may be either of the two: say nothing.
        (SPOT, execution_of(category="spot"), "1.0066683", None),
        # A maker may be paid.
        (LINEAR, execution_of(execFee="-0.5", isMaker=True), "-0.5", "USDT"),
    ],
)
def test_fees_above_zero_are_paid(profile: object, row: Row, fee: str, asset: str | None) -> None:
    """Sign and coin of a fee."""
    assert profile in (LINEAR, SPOT)
    fill = (LINEAR if profile is LINEAR else SPOT).fill_row(row)
    assert (fill.fee, fill.fee_asset) == (Decimal(fee), asset)


@pytest.mark.parametrize(
    ("row", "forced"),
    [
        (execution_of(execType="BustTrade"), ForcedFill.LIQUIDATION),
        (execution_of(execType="AdlTrade"), ForcedFill.AUTO_DELEVERAGING),
        (execution_of(createType="CreateByLiq"), ForcedFill.LIQUIDATION),
        (execution_of(createType="CreateByTakeOver_PassThrough"), ForcedFill.LIQUIDATION),
        (execution_of(createType="CreateByAdl_PassThrough"), ForcedFill.AUTO_DELEVERAGING),
        (execution_of(createType="CreateByClosing"), None),
    ],
)
def test_forced_fills_are_told_apart(row: Row, forced: ForcedFill | None) -> None:
    """Liquidations and auto-deleveraging, by the execution's kind or by who made the order."""
    (order,) = LINEAR.stream_orders(message("execution", row))
    assert order.forced_fill is forced


def test_a_tax_on_the_fee_without_an_amount_leaves_the_fee_unknown() -> None:
    """Told, it is added to the fee; not told, the fee is not known to be as small."""
    told = execution_of(extraFees=[{"feeCoin": "USDT", "fee": "0.1"}], execFee="1")
    assert LINEAR.fill_row(told).fee == Decimal("1.1")
    untold = execution_of(extraFees=[{"feeCoin": "USDT"}], execFee="1")
    assert LINEAR.fill_row(untold).fee is None


def test_funding_among_the_executions_is_no_fill() -> None:
    """A payment of funding comes as an execution of its own kind."""
    assert not LINEAR.stream_orders(message("execution", execution_of(execType="Funding")))


def test_a_reply_is_an_acknowledgement_and_a_refusal_is_found_whatever_the_status() -> None:
    """Two ids and nothing else; any code but zero, as number or text, refuses."""
    ids = {"orderId": "7", "orderLinkId": "trend-1"}
    assert LINEAR.place_reply(ids) == VenueAcknowledgement("7", "trend-1")
    assert LINEAR.read_refusal({"retCode": 0, "retMsg": "OK", "result": ids}) is None
    assert LINEAR.read_refusal({"retCode": "0"}) is None
    for code in (110007, "110007"):
        refusal = LINEAR.read_refusal({"retCode": code, "retMsg": "ab not enough"})
        assert refusal is not None
        assert (refusal.code, refusal.message) == ("110007", "ab not enough")


def test_more_digits_than_the_wire_has_make_no_order_unreadable() -> None:
    """Profits and averages are quotients: they are rounded, quantities are not."""
    row = execution_of(execPnl="0.1234567890123456789012345", execFee="0.1234567890123456789")
    (seen,) = LINEAR.stream_orders(message("execution", row))
    btc = instrument(perpetual=True)
    told = encode_order(to_state(seen, btc, "trend-1"), btc)
    assert told.trades[0].realized_pnl.value == "0.123456789012345679"
    assert told.executed_qty.value == "0.03"


@pytest.mark.parametrize(
    "broken",
    [{"orderStatus": "Asleep"}, {"cumExecQty": ""}, {"qty": "many"}, {"orderId": None}],
)
def test_broken_rows_are_refused(broken: Row) -> None:
    """A row that does not hold is no evidence."""
    with pytest.raises(ValueError, match=r"."):
        LINEAR.order_row(order_of(**broken))


def test_the_subscriptions_reply_starts_the_stream() -> None:
    """Neither the open socket nor the login does, and a refused subscription does not."""
    assert not LINEAR.stream_ready(None)
    assert not LINEAR.stream_ready({"op": "auth", "success": True})
    assert not LINEAR.stream_ready({"op": "subscribe", "success": False})
    assert LINEAR.stream_ready({"op": "subscribe", "success": True, "ret_msg": ""})


@pytest.mark.recorded
def test_every_recorded_payload_is_read() -> None:
    """All files, each object in them, by the profile of either category."""
    linear, spot = (read_all("bybit", profile, SHAPES) for profile in (LINEAR, SPOT))
    assert linear.files >= 100
    assert (linear.orders, linear.fills) == (spot.orders, spot.fills)
    assert linear.orders >= 19
    assert linear.fills >= 5
    assert linear.messages >= 13
    assert spot.messages <= linear.messages


@pytest.mark.recorded
@pytest.mark.parametrize(("name", "place", "wanted"), BY_HAND)
def test_recorded_payloads_say_what_a_person_reads(name: str, place: str, wanted: Expected) -> None:
    """Executed base quantity, average price, fee, over or not."""
    row = read_rows(folder("bybit") / name)[place]
    assert say(LINEAR, SHAPES, row, ONE) == [wanted]
