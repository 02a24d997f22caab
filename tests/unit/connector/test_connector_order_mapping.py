"""Venue rows to order states: Binance's shapes, merging, fees, net quantity, units."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.connector.order_mapping import (
    merge_states,
    net_quantity,
    sum_fees,
    to_fill,
    to_state,
)
from services.connector.order_text import read_state, write_state
from services.connector.order_types import (
    Fill,
    ForcedFill,
    OrderState,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
)
from services.connector.venues.binance_rows import fill_row, order_row, stream_order
from tests.support.connector_orders import SPOT_FULL, instrument, sample_state

RECORDED = Path(__file__).parents[4] / "shared/data/payloads"
USDM_RESULT: dict[str, Any] = {
    "clientOrderId": "mine",
    "cumQuote": "1000.01300",
    "executedQty": "0.010",
    "orderId": 4087922044,
    "avgPrice": "100001.30",
    "origQty": "0.010",
    "price": "0",
    "reduceOnly": True,
    "side": "SELL",
    "positionSide": "BOTH",
    "status": "FILLED",
    "symbol": "BTCUSDT",
    "timeInForce": "GTC",
    "type": "MARKET",
    "updateTime": 1566818724722,
}
USDM_TRADE_EVENT: dict[str, Any] = {
    "e": "ORDER_TRADE_UPDATE",
    "E": 1568879465651,
    "T": 1568879465650,
    "o": {
        "s": "BTCUSDT",
        "c": "mine",
        "S": "BUY",
        "o": "LIMIT",
        "f": "GTC",
        "q": "0.003",
        "p": "7100.50",
        "ap": "7100.50",
        "x": "TRADE",
        "X": "PARTIALLY_FILLED",
        "i": 8886774,
        "l": "0.001",
        "z": "0.002",
        "L": "7100.50",
        "N": "USDT",
        "n": "0.01",
        "T": 1568879465651,
        "t": 12345678,
        "m": True,
        "R": False,
        "rp": "12.34",
    },
}


def test_spot_reply_with_fills() -> None:
    """An expired order that filled in part keeps executed, both fee assets and the net quantity."""
    state = to_state(order_row(SPOT_FULL), instrument(), "mine")
    assert state.status is OrderStatus.EXPIRED
    assert state.executed == 3
    assert state.average_price == Decimal("3999.666666666666666667")
    assert state.fees == (("BNB", Decimal("0.01")), ("BTC", Decimal("0.002")))
    assert net_quantity(state, instrument()) == Decimal("2.998")
    assert state.price is None
    assert state.time_in_force is TimeInForce.IOC
    assert state.is_confirmed


def test_futures_reply_leaves_fees_unknown() -> None:
    """A RESULT reply has no fees: the state is closed, not confirmed, and net is not claimed."""
    state = to_state(order_row(USDM_RESULT), instrument(perpetual=True), "mine")
    assert state.status is OrderStatus.FILLED
    assert state.average_price == Decimal("100001.3")
    assert state.fees is None
    assert not state.is_confirmed
    assert net_quantity(state, instrument(perpetual=True)) is None
    assert state.reduce_only
    assert state.type is OrderType.MARKET


def test_futures_stream_event() -> None:
    """An ORDER_TRADE_UPDATE gives the cumulative quantity and its own fill with its fee."""
    row = stream_order({"stream": "x", "data": USDM_TRADE_EVENT})
    assert row is not None
    assert row.executed == Decimal("0.002")
    (fill,) = row.fills
    assert (fill.trade_id, fill.quantity, fill.fee, fill.maker) == (
        "12345678",
        Decimal("0.001"),
        Decimal("0.01"),
        True,
    )
    assert row.cumulative_quote == Decimal("14.201")


def test_trade_event_with_nothing_filled_has_no_fill() -> None:
    """`x=TRADE` with a last quantity of zero is no fill."""
    event = {**USDM_TRADE_EVENT, "o": {**USDM_TRADE_EVENT["o"], "l": "0", "z": "0"}}
    row = stream_order(event)
    assert row is not None
    assert row.fills == ()
    assert row.executed == 0


@pytest.mark.parametrize(
    ("name", "forced"),
    [
        ("autoclose-1234567890123456", ForcedFill.LIQUIDATION),
        ("adl_autoclose-1", ForcedFill.AUTO_DELEVERAGING),
        ("adl_autoclose", ForcedFill.AUTO_DELEVERAGING),
        ("mine", None),
    ],
)
def test_orders_of_the_venue_itself_are_known_by_their_id(
    name: str, forced: ForcedFill | None
) -> None:
    """Binance names its liquidations and ADL orders by prefix."""
    row = stream_order({**USDM_TRADE_EVENT, "o": {**USDM_TRADE_EVENT["o"], "c": name}})
    assert row is not None
    assert row.forced_fill is forced


def test_cancel_event_on_spot_names_the_order_by_its_original_id() -> None:
    """In a cancel's execution report C is the order's id and c the cancel request's."""
    row = stream_order(
        {
            "e": "executionReport",
            "s": "BTCUSDT",
            "c": "cancel-request",
            "C": "mine",
            "S": "BUY",
            "o": "LIMIT",
            "f": "GTC",
            "q": "1",
            "p": "100",
            "x": "CANCELED",
            "X": "CANCELED",
            "i": 7,
            "l": "0",
            "z": "0.4",
            "L": "0",
            "n": "0",
            "N": None,
            "T": 1499405658657,
            "t": -1,
            "Z": "40",
        }
    )
    assert row is not None
    assert row.client_order_id == "mine"
    assert row.status is OrderStatus.CANCELED
    assert row.executed == Decimal("0.4")


@pytest.mark.parametrize(
    "change",
    [
        {"executedQty": "NaN"},
        {"executedQty": None},
        {"executedQty": "1e3"},
        {"status": "WEIRD"},
        {"orderId": None},
        {"side": "HOLD"},
        {"symbol": ""},
        {"origQty": "1_000"},
    ],
    ids=str,
)
def test_broken_row_is_an_error_not_a_zero(change: dict[str, Any]) -> None:
    """A row with a missing or malformed figure raises; it never reads as nothing executed."""
    with pytest.raises(ValueError):  # noqa: PT011 - any ValueError counts as broken
        order_row({**SPOT_FULL, **change})


def test_units_of_a_multiplied_symbol_are_single_coins() -> None:
    """Lots of a thousand become coins, their price a thousandth, and a base fee coins too."""
    thousand = instrument(base="1000PEPE")
    row = order_row({**SPOT_FULL, "symbol": "1000PEPEUSDT"})
    state = to_state(row, thousand, "mine")
    assert state.executed == 3000
    assert state.average_price == Decimal("3.999666666666666667")
    assert state.cumulative_quote == 11999
    pepe_fee = {**SPOT_FULL["fills"][0], "commissionAsset": "1000PEPE"}
    paid = to_state(
        order_row({**SPOT_FULL, "executedQty": "2", "fills": [pepe_fee]}), thousand, "mine"
    )
    assert paid.fees == (("PEPE", Decimal(2)),)
    assert net_quantity(paid, thousand) == 1998


def test_sale_gives_the_fee_on_top_when_it_is_taken_in_the_base() -> None:
    """Who sells BNB and pays the fee in BNB gave more than was executed."""
    state = replace(sample_state(), side=Side.SELL, fees=(("BTC", Decimal("0.001")),))
    assert net_quantity(state, instrument()) == Decimal("3.001")


def test_perpetual_position_is_not_touched_by_a_fee_in_its_base() -> None:
    """A futures fee paid in the base asset leaves the position as executed."""
    state = replace(sample_state(), fees=(("BTC", Decimal("0.001")),))
    assert net_quantity(state, instrument(perpetual=True)) == 3


def test_fill_rows_of_both_products() -> None:
    """myTrades tells the side by isBuyer, userTrades by side."""
    spot = fill_row(
        {
            "symbol": "BTCUSDT",
            "id": 28457,
            "orderId": 100234,
            "price": "4.00000100",
            "qty": "12.00000000",
            "commission": "10.10000000",
            "commissionAsset": "BNB",
            "time": 1499865549590,
            "isBuyer": False,
            "isMaker": True,
        }
    )
    assert (spot.side, spot.maker, spot.fee) == (Side.SELL, True, Decimal("10.1"))
    futures = fill_row(
        {
            "buyer": False,
            "commission": "0.07819010",
            "commissionAsset": "USDT",
            "id": 698759,
            "maker": False,
            "orderId": 25851813,
            "price": "7819.01",
            "qty": "0.002",
            "realizedPnl": "-0.91539999",
            "side": "SELL",
            "symbol": "BTCUSDT",
            "time": 1569514978020,
        }
    )
    assert (futures.side, futures.realized_pnl) == (Side.SELL, Decimal("-0.91539999"))


def sample_fill(trade_id: int, quantity: int, *, fee: bool = True) -> Fill:
    """Return a fill of whole coins at 100 with a fee of one thousandth."""
    return Fill(
        trade_id=str(trade_id),
        exchange_order_id="1",
        symbol="BTCUSDT",
        side=Side.BUY,
        price=Decimal(100),
        quantity=Decimal(quantity),
        fee=Decimal(quantity) / 1000 if fee else None,
        fee_asset="BTC",
        time=datetime(2026, 1, 1, tzinfo=UTC),
    )


def seen_state(fills: tuple[Fill, ...], executed: int, status: OrderStatus) -> OrderState:
    """Return a sighting of one order with some fills and a total."""
    return OrderState(
        client_order_id="mine",
        exchange_order_id="1",
        symbol="BTCUSDT",
        side=Side.BUY,
        type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC,
        status=status,
        quantity=Decimal(10),
        executed=Decimal(executed),
        fills=fills,
    )


@given(st.permutations(range(6)), st.lists(st.integers(0, 5), max_size=6))
def test_merging_is_a_join(order: list[int], repeats: list[int]) -> None:
    """Fills in any order, repeated at will, with the terminal word anywhere, give one state."""
    quantities = [1, 2, 1, 3, 2, 1]
    totals = [sum(quantities[: i + 1]) for i in range(6)]
    sightings = [
        seen_state(
            (sample_fill(i, quantities[i]),),
            totals[i],
            OrderStatus.FILLED if i == 5 else OrderStatus.PARTIALLY_FILLED,
        )
        for i in range(6)
    ]
    state: OrderState | None = None
    for index in [*order, *repeats]:
        state = merge_states(state, sightings[index])
    assert state is not None
    assert state.executed == 10
    assert state.status is OrderStatus.FILLED
    assert state.fees == (("BTC", Decimal("0.01")),)
    assert state.average_price == 100


def test_closed_order_opens_no_more_but_takes_a_late_fill() -> None:
    """A late event of an open order changes nothing; a late fill of a closed one counts."""
    closed = merge_states(None, seen_state((), 2, OrderStatus.CANCELED))
    stale = merge_states(closed, seen_state((), 1, OrderStatus.PARTIALLY_FILLED))
    assert (stale.status, stale.executed) == (OrderStatus.CANCELED, Decimal(2))
    late = merge_states(stale, seen_state((sample_fill(9, 1),), 3, OrderStatus.PARTIALLY_FILLED))
    assert (late.status, late.executed) == (OrderStatus.CANCELED, Decimal(3))


def test_fees_are_unknown_until_the_fills_account_for_everything() -> None:
    """A fill without its fee, or fills short of the total, leave the fees unknown."""
    assert sum_fees((sample_fill(1, 2),), Decimal(3)) is None
    assert sum_fees((sample_fill(1, 3, fee=False),), Decimal(3)) is None
    assert sum_fees((sample_fill(1, 2), sample_fill(2, 1)), Decimal(3)) == (
        ("BTC", Decimal("0.003")),
    )


def test_state_survives_the_ledger() -> None:
    """What the ledger writes it reads back exactly, fills and fees included."""
    state = sample_state()
    assert read_state(write_state(state)) == state


def test_fill_takes_the_orders_side_when_it_has_none() -> None:
    """A row without a side belongs to its order's side."""
    row = order_row(SPOT_FULL).fills[0]
    fill = to_fill(replace(row, side=None), Side.SELL, instrument())
    assert fill.side is Side.SELL


@pytest.mark.recorded
@pytest.mark.parametrize("venue", ["binance_spot", "binance_usdm"])
def test_recorded_payloads_are_read_or_refused_but_never_break(venue: str) -> None:
    """Every recorded payload is a stream event, an order, a fill, or none of these."""
    folder = RECORDED / venue
    if not folder.exists():
        pytest.skip("the recorded payloads are not beside the repository")
    orders = 0
    for path in sorted(folder.glob("*.json")):
        payload = json.loads(path.read_text(encoding="utf-8"))
        body = payload.get("response", payload) if isinstance(payload, dict) else payload
        for row in body if isinstance(body, list) else [body]:
            if not isinstance(row, dict):
                continue
            orders += stream_order(row) is not None
            if {"orderId", "executedQty", "origQty", "status", "side"} <= row.keys():
                orders += order_row(row).executed >= 0
    assert orders >= 10


def test_average_comes_from_the_fills_where_they_are_all_known() -> None:
    """USD-M rounds the average it streams; the fills are exact."""
    third = {**USDM_TRADE_EVENT["o"], "q": "0.003", "l": "0.001", "z": "0.001", "ap": "7100.50"}
    last = {**third, "l": "0.002", "z": "0.003", "L": "7100.60", "ap": "7100.57", "t": 12345679}
    known: OrderState | None = None
    for body in (third, {**last, "X": "FILLED"}):
        row = stream_order({**USDM_TRADE_EVENT, "o": body})
        assert row is not None
        known = merge_states(known, to_state(row, instrument(perpetual=True), "mine"))
    assert known is not None
    assert known.cumulative_quote == Decimal("21.3017")
    assert known.average_price == Decimal("7100.566666666666666667")
