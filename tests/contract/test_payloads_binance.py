"""Binance's payloads: all are read, and what they executed is what a person reads in them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.connector.order_types import ForcedFill, OrderStatus
from services.connector.venues import find_profile
from tests.support.payloads import Expected, Row, Shapes, folder, read_all, read_rows, say

SPOT, PERPETUAL = find_profile("binance"), find_profile("binanceusdm")
ONE = Decimal(1)
SHAPES = Shapes(
    lambda row: {"orderId", "origQty", "executedQty", "status", "side"} <= set(row),
    lambda row: {"orderId", "commission", "qty", "id"} <= set(row),
)
NEW: Expected = ("0", "", "", False)
# Five fills: 4000, five at 3999, two at 3998, 3997 and 3995.
FULL: Expected = ("10", "3998.3", "39.983 USDT", True)
HALF: Expected = ("0.5", "2499.5", "0.0005 ETH", False)
BOUGHT = ("0.00847", "23416.200118063754427391", "0 BNB", True)
SPOT_BY_HAND: list[tuple[str, str, Expected]] = [
    ("docs_rest-api_004.json", "", ("10", "1", "", True)),
    ("docs_rest-api_005.json", "", FULL),
    ("jk_rest_spot_PlaceOrder.json", "/response", FULL),
    ("docs_rest-api_006.json", "", ("0", "", "", True)),
    ("docs_rest-api_026.json", "", ("0.5", "28000", "0 BTC", True)),
    ("docs_rest-api_028.json", "", NEW),
    ("docs_rest-api_031.json", "/0", ("12", "4.000001", "10.1 BNB", True)),
    ("docs_web-socket-api_009.json", "/result", BOUGHT),
    # Canceled, and filled for the smaller part before that.
    ("docs_web-socket-api_010.json", "/result", ("0.00001", "23416.1", "", True)),
    (
        "docs_web-socket-api_034.json",
        "/result/0",
        ("0.0072", "23949.904166666666666667", "", False),
    ),
    ("docs_web-socket-api_036.json", "/result/0", ("0.00635", "23416.1", "0 BNB", True)),
    ("docs_user-data-stream_003_executionReport.json", "", NEW),
    ("ws_execution_report_trade.json", "", ("1", "2500", "0.001 ETH", True)),
    ("ws_spot_execution_report_trade.json", "", HALF),
    ("ws_spot_execution_report_calculated.json", "", ("0.01", "49500", "2.475 USDT", True)),
    ("ws_spot_execution_report_canceled.json", "", ("0.1", "2500", "", True)),
    ("ws_spot_execution_report_expired.json", "", ("0", "", "", True)),
    # `x=TRADE` with nothing filled has filled nothing.
    ("ws_spot_execution_report_trade_l_zero_new.json", "", NEW),
    ("ws_spot_execution_report_pending_cancel.json", "", ("0.1", "2500", "", False)),
]
PERPETUAL_BY_HAND: list[tuple[str, str, Expected]] = [
    ("docs_get_fapi_v1_order_1.json", "", NEW),
    ("http_futures_account_trades.json", "/0", ("0.005", "2778.35", "0.0055567 USDT", True)),
    ("http_futures_account_trades.json", "/1", ("0.005", "2779", "0.005558 USDT", True)),
    # A maker's rebate: the fee is below zero.
    ("docs_get_fapi_v1_usertrades_1.json", "/0", ("0.002", "7819.01", "-0.0781901 USDT", True)),
    ("jk_rest_fut_GetForcedOrders.json", "/response/0", ("0.001", "10913.21", "", True)),
    ("jk_rest_fut_GetForcedOrders.json", "/response/1", ("0.001", "10979.82", "", True)),
    ("jk_rest_fut_GetOpenOrder.json", "/response", NEW),
    ("jk_rest_fut_PlaceOrder.json", "/response", NEW),
    ("ws_futures_order_update_adl.json", "", ("1", "2500", "2.5 USDT", True)),
    ("ws_futures_order_update_liquidation.json", "", ("0.1", "50000", "5 USDT", True)),
    ("ws_futures_order_update_settlement.json", "", ("0.05", "51000", "2.55 USDT", True)),
    ("ws_order_update_trade.json", "", ("0.001", "7100.5", "0.01 USDT", False)),
    ("ws_order_update_settlement.json", "", ("0.01", "50000", "0.25 USDT", True)),
    ("ws_order_update_new.json", "", NEW),
    ("ws_futures_order_update_new_reduce_only_qty.json", "", NEW),
]


def order_row(**changes: object) -> Row:
    """Return an order for 0.5 that expired with 0.2 done."""
    row: Row = {
        "symbol": "BTCUSDT",
        "orderId": 11,
        "clientOrderId": "trend-1",
        "price": "38026.50",
        "origQty": "0.50000",
        "executedQty": "0.20000",
        "cummulativeQuoteQty": "7605.30",
        "status": "EXPIRED",
        "timeInForce": "IOC",
        "type": "LIMIT",
        "side": "BUY",
        "transactTime": 1700000000123,
    }
    return {**row, **changes}


@pytest.mark.parametrize("status", ["EXPIRED", "CANCELED", "REJECTED", "EXPIRED_IN_MATCH"])
def test_an_ended_order_keeps_what_it_executed(status: str) -> None:
    """The word says nothing about the quantity."""
    assert say(SPOT, SHAPES, order_row(status=status), ONE) == [("0.2", "38026.5", "", True)]


def test_own_stream_messages() -> None:
    """Spot wraps an execution report in `event`; USD-M has the order under `o`."""
    report: Row = {
        "e": "executionReport",
        "s": "BTCUSDT",
        "c": "trend-1",
        "C": "",
        "S": "SELL",
        "o": "LIMIT",
        "f": "GTC",
        "q": "0.5",
        "p": "38026",
        "x": "TRADE",
        "X": "PARTIALLY_FILLED",
        "i": 11,
        "l": "0.2",
        "z": "0.2",
        "L": "38026.5",
        "n": "7.6",
        "N": "USDT",
        "T": 1700000000123,
        "t": 5,
        "m": True,
        "O": 1700000000000,
        "Z": "7605.3",
    }
    wrapped = {"subscriptionId": 0, "event": report}
    assert say(SPOT, SHAPES, wrapped, ONE) == [("0.2", "38026.5", "7.6 USDT", False)]
    nothing = {**report, "l": "0", "z": "0", "L": "0", "Z": "0", "X": "NEW"}
    assert say(SPOT, SHAPES, nothing, ONE) == [NEW]
    forced = {**report, "c": "autoclose-1", "x": "CALCULATED", "X": "FILLED", "ap": "38026.5"}
    (order,) = PERPETUAL.stream_orders({"e": "ORDER_TRADE_UPDATE", "o": forced})
    assert (order.forced_fill, order.status) == (ForcedFill.LIQUIDATION, OrderStatus.FILLED)


@pytest.mark.recorded
@pytest.mark.parametrize(
    ("venue", "code", "files", "orders", "fills", "messages"),
    [
        ("binance_spot", "binance", 120, 60, 5, 15),
        ("binance_usdm", "binanceusdm", 90, 20, 4, 12),
    ],
)
def test_every_recorded_payload_is_read(
    venue: str, code: str, files: int, orders: int, fills: int, messages: int
) -> None:
    """All files, each object in them."""
    counts = read_all(venue, find_profile(code), SHAPES)
    assert counts.files >= files
    assert counts.orders >= orders
    assert counts.fills >= fills
    assert counts.messages >= messages


@pytest.mark.recorded
@pytest.mark.parametrize(("name", "place", "wanted"), SPOT_BY_HAND)
def test_recorded_spot_payloads_say_what_a_person_reads(
    name: str, place: str, wanted: Expected
) -> None:
    """Executed base quantity, average price, fee, over or not."""
    row = read_rows(folder("binance_spot") / name)[place]
    assert say(SPOT, SHAPES, row, ONE) == [wanted]


@pytest.mark.recorded
@pytest.mark.parametrize(("name", "place", "wanted"), PERPETUAL_BY_HAND)
def test_recorded_perpetual_payloads_say_what_a_person_reads(
    name: str, place: str, wanted: Expected
) -> None:
    """Executed base quantity, average price, fee, over or not."""
    row = read_rows(folder("binance_usdm") / name)[place]
    assert say(PERPETUAL, SHAPES, row, ONE) == [wanted]
