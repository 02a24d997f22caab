"""Gate's payloads: all are read, and what they executed is what a person reads in them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from services.connector.order_types import ForcedFill, OrderStatus, Side, VenueAcknowledgement
from services.connector.venues import find_profile
from tests.support.payloads import Expected, Row, Shapes, folder, read_all, read_rows, say

PROFILE = find_profile("gate-spot")
CONTRACT = Decimal("0.0001")
"""Coins in one BTC_USDT contract."""

SHAPES = Shapes(
    lambda row: "left" in row and ("status" in row or "finish_as" in row),
    lambda row: "order_id" in row and "role" in row,
)
BOUGHT: Expected = ("0.001", "63469.3", "", True)
HALF: Expected = ("0.5", "5.00032", "", True)
UNFILLED: Expected = ("0", "", "", True)
BY_HAND: list[tuple[str, str, Expected]] = [
    ("docs_get_spot_orders_1.json", "/0", BOUGHT),
    ("docs_get_spot_orders_order_id_1.json", "", BOUGHT),
    ("docs_post_spot_orders_4.json", "", BOUGHT),
    ("docs_delete_spot_orders_order_id_1.json", "", BOUGHT),
    ("jk_rest_spot_PlaceOrder.json", "/response", BOUGHT),
    ("jk_rest_spot_CancelOrder.json", "/response", BOUGHT),
    # Cancelled by self-trade prevention with half of it done.
    ("docs_post_spot_orders_3.json", "", HALF),
    # `filled_amount` says 1.242 of an order for 1; total by price and what is left agree on 0.5.
    ("docs_post_spot_batch_orders_2.json", "/0", HALF),
    ("docs_get_spot_open_orders_1.json", "/0/orders/0", ("0.5", "5.00032", "", False)),
    ("jk_ws_spot_SubscribeToOrderUpdates.json", "/events/0", ("0", "", "", False)),
    ("docs_get_futures_settle_orders_1.json", "/0", UNFILLED),
    ("docs_post_futures_settle_orders_2.json", "", UNFILLED),
    ("docs_get_spot_my_trades_1.json", "/0", ("0.15", "0.03", "0.0005 ETH", True)),
    ("docs_get_futures_settle_my_trades_1.json", "/0", ("0.01", "100.123", "0.01 USDT", True)),
    (
        "docs_get_futures_settle_my_trades_timerange_1.json",
        "/0",
        ("0.01", "100.123", "0.01 USDT", True),
    ),
    # Contracts with decimals, settled in the coin.
    (
        "jk_ws_fut_SubscribeToUserTradeUpdates.json",
        "/events/0/result/0",
        ("0.00015", "40000.4", "0.0009290592 BTC", True),
    ),
    (
        "jk_ws_spot_SubscribeToUserTradeUpdates.json",
        "/events/0/result/0",
        ("1", "10000", "0.002", True),
    ),
]


def contract_row(**changes: Any) -> Row:
    """Return a sale of 40 contracts, 25 of them done and the rest cancelled as the venue does."""
    row: Row = {
        "id": 7,
        "contract": "BTC_USDT",
        "create_time": 1700000000.123,
        "update_time": 1700000001.5,
        "size": -40,
        "left": -15,
        "price": "38026.1",
        "fill_price": "38026.5",
        "tif": "ioc",
        "text": "t-trend-1",
        "status": "finished",
        "finish_as": "ioc",
        "is_reduce_only": True,
        "is_liq": False,
    }
    return {**row, **changes}


def test_a_partly_filled_sale_of_contracts() -> None:
    """The sign is the side, sizes are contracts, the end says nothing about the quantity."""
    order = PROFILE.order_row(contract_row())
    assert (order.side, order.quantity, order.executed) == (
        Side.SELL,
        Decimal(40),
        Decimal(25),
    )
    assert (order.status, order.client_order_id) == (OrderStatus.EXPIRED, "trend-1")
    assert order.reduce_only
    assert order.create_time is not None
    assert order.create_time.timestamp() == 1700000000.123
    assert say(PROFILE, SHAPES, contract_row(), CONTRACT) == [("0.0025", "38026.5", "", True)]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"status": "open", "finish_as": ""}, OrderStatus.PARTIALLY_FILLED),
        ({"status": "open", "left": -40}, OrderStatus.NEW),
        ({"left": 0, "finish_as": "filled"}, OrderStatus.FILLED),
        ({"finish_as": "cancelled"}, OrderStatus.CANCELED),
        ({"finish_as": "reduce_only", "left": -40}, OrderStatus.CANCELED),
    ],
)
def test_ends_of_a_contract_order(changes: Row, status: OrderStatus) -> None:
    """Words of the end, with what is left of it."""
    assert PROFILE.order_row(contract_row(**changes)).status is status


@pytest.mark.parametrize(
    ("text", "forced"),
    [
        ("liq-123", ForcedFill.LIQUIDATION),
        ("pm_liquidate", ForcedFill.LIQUIDATION),
        ("auto_deleveraging", ForcedFill.AUTO_DELEVERAGING),
        ("web", None),
        ("t-liq-of-mine", None),
    ],
)
def test_orders_of_the_venue_itself(text: str, forced: ForcedFill | None) -> None:
    """They have a reserved text, which is no client's id."""
    order = PROFILE.order_row(contract_row(text=text))
    assert order.forced_fill is forced
    assert order.client_order_id == (text[2:] if text.startswith("t-") else "")


def test_own_spot_rows() -> None:
    """A market buy counts in the quote, so what it did stands in `filled_amount`."""
    row: Row = {
        "id": "9",
        "text": "t-x",
        "currency_pair": "BTC_USDT",
        "type": "market",
        "side": "buy",
        "status": "closed",
        "amount": "76.052",
        "left": "0.001",
        "filled_amount": "0.002",
        "filled_total": "76.051",
        "time_in_force": "ioc",
    }
    assert say(PROFILE, SHAPES, row, Decimal(1)) == [("0.002", "38025.5", "", True)]
    limit: Row = {**row, "type": "limit", "amount": "0.005", "left": "0.003", "price": "38026"}
    cancelled = {**limit, "status": "cancelled", "finish_as": "cancelled"}
    assert say(PROFILE, SHAPES, cancelled, Decimal(1)) == [("0.002", "38025.5", "", True)]
    message: Row = {
        "channel": "spot.orders",
        "event": "update",
        "result": [{**limit, "status": None, "event": "update"}],
    }
    assert say(PROFILE, SHAPES, message, Decimal(1)) == [("0.002", "38025.5", "", False)]


@pytest.mark.parametrize(
    ("paid", "fee"),
    [
        ({"fee": "0.000002", "fee_currency": "BTC"}, "0.000002 BTC"),
        ({"fee": "0", "fee_currency": "BTC", "gt_fee": "0.4"}, "0.4 GT"),
        ({"fee": "0", "fee_currency": "BTC", "gt_fee": "0", "point_fee": "0.1"}, "0.1 POINT"),
        ({"fee": "-0.01", "fee_currency": "USDT"}, "-0.01 USDT"),
    ],
)
def test_own_fills(paid: Row, fee: str) -> None:
    """A fee may be paid in GT or points, and a maker may be paid one."""
    row: Row = {
        "id": "1",
        "order_id": "9",
        "currency_pair": "BTC_USDT",
        "create_time_ms": "1700000000123.456",
        "side": "sell",
        "role": "taker",
        "amount": "0.002",
        "price": "38026",
    }
    assert say(PROFILE, SHAPES, {**row, **paid}, Decimal(1)) == [("0.002", "38026", fee, True)]


def test_a_reply_of_ids_alone_is_an_acknowledgement() -> None:
    """Spot's `action_mode` ACK."""
    reply = PROFILE.place_reply({"id": "12332324", "text": "t-123456"})
    assert reply == VenueAcknowledgement("12332324", "123456")


@pytest.mark.parametrize(
    "broken",
    [{"size": 0}, {"status": "resting"}, {"size": "many"}, {"id": None}, {"left": None}],
)
def test_broken_rows_are_refused(broken: Row) -> None:
    """A row that does not hold is no evidence."""
    with pytest.raises(ValueError, match=r"."):
        PROFILE.order_row(contract_row(**broken))


@pytest.mark.recorded
def test_every_recorded_payload_is_read() -> None:
    """All files, each object in them."""
    counts = read_all("gate", PROFILE, SHAPES)
    assert counts.files >= 120
    assert (counts.orders >= 35, counts.fills >= 8, counts.messages >= 1) == (True, True, True)


@pytest.mark.recorded
@pytest.mark.parametrize(("name", "place", "wanted"), BY_HAND)
def test_recorded_payloads_say_what_a_person_reads(name: str, place: str, wanted: Expected) -> None:
    """Executed base quantity, average price, fee, over or not."""
    row = read_rows(folder("gate") / name)[place]
    is_contract = "contract" in row
    assert say(PROFILE, SHAPES, row, CONTRACT if is_contract else Decimal(1)) == [wanted]
