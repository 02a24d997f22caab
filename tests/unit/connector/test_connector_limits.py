"""Limits of one order: what each order does, and each limit at one step below, at and above."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from services.common.errors import PreconditionError
from services.connector.instruments import InstrumentKind
from services.connector.limits import (
    Effect,
    OrderLimits,
    OwnOrder,
    check_order,
    effect_of,
    left_to_reduce,
)
from services.connector.limits_settings import LimitsPart
from services.connector.order_types import OrderClass, OrderIntent, OrderType, Side, TimeInForce

SPOT, PERPETUAL = InstrumentKind.SPOT, InstrumentKind.PERPETUAL
MARK = Decimal(100)
ORDER = OrderIntent(
    client_order_id="one",
    symbol="BTCUSDT",
    side=Side.BUY,
    type=OrderType.LIMIT,
    time_in_force=TimeInForce.IOC,
    quantity=Decimal(2),
    price=MARK,
    order_class=OrderClass.ENTRY,
)
MARKET = replace(ORDER, type=OrderType.MARKET, time_in_force=None, price=None)


def refusal(
    limits: OrderLimits,
    order: OrderIntent = ORDER,
    effect: Effect = Effect.OPENING,
    reference: Decimal | None = MARK,
) -> str:
    """Return the reason of the refusal, empty when the order passes."""
    try:
        check_order(order, effect, limits, reference)
    except PreconditionError as error:
        return error.reason
    return ""


@pytest.mark.parametrize("name", [None, *OrderClass])
def test_reduce_only_is_reducing_on_perpetuals_alone(name: OrderClass | None) -> None:
    """The venue enforces the flag there; on the margin account it is but a word."""
    order = replace(ORDER, reduce_only=True, order_class=name)
    assert effect_of(order, PERPETUAL) is Effect.REDUCING
    assert effect_of(replace(order, use_margin=True), SPOT) is not Effect.REDUCING


@pytest.mark.parametrize("name", [OrderClass.HEDGE, OrderClass.UNWIND, OrderClass.EXIT])
def test_a_class_alone_proves_nothing(name: OrderClass) -> None:
    """A purchase, a margin sale and a perpetual order of a way-out class are completing."""
    order = replace(ORDER, order_class=name)
    sale = replace(order, side=Side.SELL)
    assert effect_of(order, SPOT) is Effect.COMPLETING
    assert effect_of(replace(sale, use_margin=True), SPOT) is Effect.COMPLETING
    assert effect_of(sale, PERPETUAL) is Effect.COMPLETING


def test_a_spot_sale_called_a_way_back_reduces() -> None:
    """Without a loan the venue sells only what the account holds; a hedge may still be a sale."""
    sale = replace(ORDER, side=Side.SELL)
    for name in (OrderClass.EXIT, OrderClass.UNWIND):
        assert effect_of(replace(sale, order_class=name), SPOT) is Effect.REDUCING
    assert effect_of(replace(sale, order_class=OrderClass.HEDGE), SPOT) is Effect.COMPLETING


@pytest.mark.parametrize("name", [None, OrderClass.ENTRY, OrderClass.MANUAL])
def test_all_else_opens(name: OrderClass | None) -> None:
    """Without a word that says otherwise an order is taken to open."""
    order = replace(ORDER, order_class=name)
    for kind in InstrumentKind:
        for side in Side:
            assert effect_of(replace(order, side=side), kind) is Effect.OPENING


@pytest.mark.parametrize(
    ("quantity", "reason"), [("1.999", ""), ("2", ""), ("2.001", "ORDER_TOO_LARGE")]
)
@pytest.mark.parametrize("effect", [Effect.OPENING, Effect.COMPLETING])
def test_largest_quantity_by_symbol(quantity: str, reason: str, effect: Effect) -> None:
    """One step below and the bound itself pass, one step above does not, hedge or entry."""
    limits = OrderLimits(max_quantity={"BTCUSDT": Decimal(2)})
    order = replace(ORDER, quantity=Decimal(quantity))
    assert refusal(limits, order, effect) == reason
    assert refusal(limits, replace(order, symbol="ETHUSDT"), effect) == ""


@pytest.mark.parametrize(
    ("price", "reason"), [("99.99", ""), ("100", ""), ("100.01", "ORDER_TOO_LARGE")]
)
def test_largest_notional_at_the_orders_price(price: str, reason: str) -> None:
    """Two coins may be worth 200: at 99.99, at 100, not at 100.01."""
    limits = OrderLimits(max_notional=Decimal(200))
    order = replace(ORDER, price=Decimal(price))
    assert refusal(limits, order, reference=Decimal(90)) == reason


@pytest.mark.parametrize(
    ("reference", "reason"), [("99.99", ""), ("100", ""), ("100.01", "ORDER_TOO_LARGE")]
)
def test_largest_notional_at_the_reference_price(reference: str, reason: str) -> None:
    """A market order and a sale at a low limit are worth what the market pays."""
    limits = OrderLimits(max_notional=Decimal(200))
    sale = replace(ORDER, side=Side.SELL, price=Decimal(1))
    for order in (sale, MARKET):
        assert refusal(limits, order, reference=Decimal(reference)) == reason


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize(
    ("price", "reason"),
    [
        ("98.99", "PRICE_OUTSIDE_BAND"),
        ("99", ""),
        ("99.01", ""),
        ("100.99", ""),
        ("101", ""),
        ("101.01", "PRICE_OUTSIDE_BAND"),
    ],
)
def test_price_band_on_both_sides_of_the_mark(side: Side, price: str, reason: str) -> None:
    """One per cent around 100, for purchases and sales, for entries and hedges."""
    limits = OrderLimits(price_band_ratio=Decimal("0.01"))
    order = replace(ORDER, side=side, price=Decimal(price))
    assert refusal(limits, order) == reason
    assert refusal(limits, order, Effect.COMPLETING) == reason


def test_a_market_order_has_no_price_to_hold_to_a_band() -> None:
    """An entry must bound its price itself; a hedge passes, since waiting costs more."""
    limits = OrderLimits(price_band_ratio=Decimal("0.01"))
    assert refusal(limits, MARKET) == "PRICE_OUTSIDE_BAND"
    assert refusal(limits, MARKET, Effect.COMPLETING) == ""


@pytest.mark.parametrize(
    "limits",
    [OrderLimits(max_notional=Decimal(10_000)), OrderLimits(price_band_ratio=Decimal(1))],
)
def test_without_a_fresh_price_nothing_opens(limits: OrderLimits) -> None:
    """A hedge goes on, judged by its own price; without such limits no price is needed."""
    assert refusal(limits, reference=None) == "REFERENCE_PRICE_STALE"
    assert refusal(limits, effect=Effect.COMPLETING, reference=None) == ""
    assert refusal(OrderLimits(), reference=None) == ""
    large = replace(ORDER, quantity=Decimal(101))
    notional = OrderLimits(max_notional=Decimal(10_000))
    assert refusal(notional, large, Effect.COMPLETING, None) == "ORDER_TOO_LARGE"


def test_symbols_that_may_be_opened() -> None:
    """What is not named is refused; an empty list names all."""
    assert refusal(OrderLimits(symbols=frozenset({"ETHUSDT"}))) == "SYMBOL_NOT_ALLOWED"
    assert refusal(OrderLimits(symbols=frozenset({"BTCUSDT"}))) == ""
    assert refusal(OrderLimits()) == ""


def own(side: Side, quantity: str, executed: str, **changes: object) -> OwnOrder:
    """Return an order of the ledger, closed unless a keyword says otherwise."""
    found = OwnOrder(
        f"{side}{quantity}{executed}", side, Decimal(quantity), Decimal(executed), True, False
    )
    return replace(found, **changes)  # type: ignore[arg-type]  # keywords of the dataclass


def test_what_own_fills_hold_may_be_taken_back() -> None:
    """Bought 3 of 5 and 1, sold 1: three are left to sell, none to buy back."""
    orders = [own(Side.BUY, "5", "3"), own(Side.BUY, "1", "1"), own(Side.SELL, "2", "1")]
    assert left_to_reduce(replace(ORDER, side=Side.SELL), orders) == 3
    assert left_to_reduce(ORDER, orders) == 0


def test_orders_under_way_count_for_the_worst() -> None:
    """An open sale takes all of its quantity, an open purchase gives what has filled."""
    orders = [
        own(Side.BUY, "5", "3", is_closed=False),
        own(Side.SELL, "2", "0", is_closed=False),
        own(Side.BUY, "9", "9", use_margin=True),
    ]
    assert left_to_reduce(replace(ORDER, side=Side.SELL), orders) == 1


def test_settings_say_what_is_not_a_limit() -> None:
    """Numbers that are none, zero and unknown names are refused; the default limits nothing."""
    for bad in (
        {"max_notional": "NaN"},
        {"max_notional": "Infinity"},
        {"max_notional": "0"},
        {"max_quantity": {"BTCUSDT": "-1"}},
        {"price_band_ratio": "1.01"},
        {"opening_orders_per_second": 0},
        {"max_notonal": "1"},
    ):
        with pytest.raises(ValueError, match="validation error"):
            LimitsPart.model_validate(bad)
    assert LimitsPart().order_limits() == OrderLimits()
