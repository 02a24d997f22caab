"""Rules an order must meet, what is sent for it, and when two requests are the same."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidFieldError, PreconditionError, RejectedError
from services.connector.instruments import TradingStatus
from services.connector.order_mapping import apply_intent
from services.connector.order_request import (
    build_intent,
    check_request,
    hash_content,
    round_worst_price,
)
from services.connector.order_text import read_intent, write_intent
from services.connector.order_types import OrderClass, OrderType, Side, TimeInForce
from services.connector.venue_client_ids import to_venue_client_id
from services.connector.venues import find_profile
from services.connector.venues.binance_family import order_params
from tests.support.connector_orders import instrument, order_request, sample_state

prices = st.decimals(min_value=1, max_value=10_000_000, places=7)


@given(prices, st.sampled_from(Side), st.sampled_from(["BTC", "1000PEPE"]))
def test_rounding_never_passes_the_worst_price(worst: Decimal, side: Side, base: str) -> None:
    """The sent price is on the tick, within one tick of the bound, and never worse than it."""
    traded = instrument(base=base)
    price = round_worst_price(worst, side, traded)
    assert price % traded.tick_size == 0
    gap = worst - price if side is Side.BUY else price - worst
    assert 0 <= gap < traded.tick_size


@given(
    st.decimals(2, 10_000_000, places=7),
    st.decimals("0.0001", "0.5", places=4),
    st.sampled_from(Side),
)
def test_slippage_bound_holds_against_the_reference(
    best: Decimal, ratio: Decimal, side: Side
) -> None:
    """The sent price lies no further off the best opposite price than the ratio allows."""
    traded = instrument()
    asked = order_request(slippage_bound_ratio=ratio, side=side)
    intent = build_intent(asked, traded, "id", best)
    assert intent.price is not None
    if side is Side.BUY:
        assert intent.price <= best * (1 + ratio)
    else:
        assert intent.price >= best * (1 - ratio)
    assert (intent.type, intent.time_in_force) == (OrderType.LIMIT, TimeInForce.IOC)
    assert intent.asked_type is OrderType.MARKET


def test_plain_market_order_stays_one() -> None:
    """Without a bound a market order is sent without price and time in force."""
    intent = build_intent(order_request(time_in_force=TimeInForce.IOC), instrument(), "id", None)
    assert (intent.type, intent.price, intent.time_in_force) == (OrderType.MARKET, None, None)
    assert intent.is_immediate


def test_limit_order_rests_unless_told_otherwise() -> None:
    """A limit order without time in force is GTC, a post-only one GTX."""
    limit = order_request(type=OrderType.LIMIT, price=Decimal(100))
    assert build_intent(limit, instrument(), "id", None).time_in_force is TimeInForce.GTC
    post = build_intent(replace(limit, post_only=True), instrument(), "id", None)
    assert (post.time_in_force, post.post_only) == (TimeInForce.GTX, True)
    assert not post.is_immediate


def test_bound_without_a_book_is_refused() -> None:
    """With nobody on the other side there is nothing to measure a slippage bound from."""
    with pytest.raises(RejectedError) as refused:
        build_intent(order_request(slippage_bound_ratio=Decimal("0.1")), instrument(), "id", None)
    assert refused.value.reason == "NO_REFERENCE_PRICE"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"quantity": Decimal("0.0015")}, "quantity"),
        ({"quantity": Decimal("0.0001")}, "quantity"),
        ({"quantity": Decimal(500)}, "quantity"),
        ({"quantity": Decimal(5000), "worst_price": Decimal(10)}, "quantity"),
        ({"type": OrderType.LIMIT, "price": Decimal("100.05")}, "price"),
        ({"type": OrderType.LIMIT, "price": Decimal(100)}, "quantity"),
        ({"worst_price": Decimal("0.05")}, "worst_price"),
        ({"slippage_bound_ratio": Decimal("0.51")}, "slippage_bound_ratio"),
        ({"reduce_only": True}, "reduce_only"),
        ({"time_in_force": TimeInForce.GTX}, "time_in_force"),
    ],
    ids=str,
)
def test_misfit_is_refused_by_its_field(changes: dict[str, Any], field: str) -> None:
    """What the instrument cannot take is refused before anything is sent."""
    with pytest.raises(InvalidFieldError) as refused:
        check_request(order_request(**changes), instrument())
    assert refused.value.field == field


def test_largest_quantities_and_smallest_steps_are_compared_exactly() -> None:
    """Eighteen digits on each side of the point stay exact where 28 digits would not do."""
    fine = instrument(
        lot_size=Decimal("1e-18"), min_quantity=None, max_quantity=None, max_market_quantity=None
    )
    check_request(order_request(quantity=Decimal("999999999999999999.999999999999999999")), fine)


def test_symbol_in_break_takes_no_order() -> None:
    """An instrument that is not trading is a failed precondition, not a wrong field."""
    with pytest.raises(PreconditionError) as refused:
        check_request(order_request(), instrument(status=TradingStatus.BREAK))
    assert refused.value.reason == "SYMBOL_NOT_TRADING"


def test_small_close_of_a_perpetual_is_let_through() -> None:
    """The notional minimum binds openings only."""
    perpetual = instrument(perpetual=True)
    small = order_request(type=OrderType.LIMIT, price=Decimal(100), quantity=Decimal("0.01"))
    with pytest.raises(InvalidFieldError) as refused:
        check_request(small, perpetual)
    assert refused.value.reason == "NOTIONAL_TOO_SMALL"
    check_request(replace(small, reduce_only=True), perpetual)


def test_small_margin_order_is_refused_whatever_it_reduces() -> None:
    """Spot's smallest notional holds for an order that repays a debt too."""
    asked = order_request(
        type=OrderType.LIMIT, price=Decimal(100), use_margin=True, reduce_only=True
    )
    with pytest.raises(InvalidFieldError) as refused:
        check_request(asked, instrument())
    assert refused.value.reason == "NOTIONAL_TOO_SMALL"


@pytest.mark.parametrize("field", ["worst_price", "slippage_bound_ratio"])
def test_bounded_market_order_has_the_limits_of_a_limit_order(field: str) -> None:
    """It is sent as a limit order, so the lower maximum of market orders is not its own."""
    check_request(order_request(quantity=Decimal(500), **{field: Decimal("0.1")}), instrument())
    with pytest.raises(InvalidFieldError):
        check_request(order_request(quantity=Decimal(500)), instrument())


def test_content_is_what_would_be_traded() -> None:
    """Notation, id, class and patience do not change the content; anything traded does."""
    base = order_request(type=OrderType.LIMIT, price=Decimal(100))
    same = [
        replace(base, quantity=Decimal("0.0100")),
        replace(base, client_order_id="other"),
        replace(base, order_class=OrderClass.EXIT),
    ]
    other = [
        replace(base, quantity=Decimal("0.011")),
        replace(base, price=Decimal(101)),
        replace(base, side=Side.SELL),
        replace(base, symbol="ETHUSDT"),
        replace(base, time_in_force=TimeInForce.IOC),
        replace(base, reduce_only=True),
        replace(base, post_only=True),
        replace(base, use_margin=True),
        replace(base, type=OrderType.MARKET, price=None),
        replace(base, type=OrderType.MARKET, price=None, worst_price=Decimal(100)),
    ]
    assert {hash_content(one) for one in same} == {hash_content(base)}
    hashes = [hash_content(one) for one in [base, *other]]
    assert len(set(hashes)) == len(hashes)


def test_intent_survives_the_ledger() -> None:
    """What the ledger writes it reads back exactly."""
    asked = order_request(worst_price=Decimal("100.07"), order_class=OrderClass.HEDGE)
    intent = build_intent(asked, instrument(), "id", None)
    assert read_intent(write_intent(intent)) == intent


def test_answer_keeps_the_callers_words() -> None:
    """A bounded market order is answered as the market order that was asked for."""
    asked = order_request(worst_price=Decimal(5000), order_class=OrderClass.ENTRY)
    intent = build_intent(asked, instrument(), "mine", None)
    state = apply_intent(sample_state(), intent)
    assert (state.type, state.price, state.order_class) == (
        OrderType.MARKET,
        None,
        OrderClass.ENTRY,
    )


@pytest.mark.parametrize(
    ("changes", "params"),
    [
        ({}, {}),
        ({"worst_price": Decimal(100)}, {"timeInForce": "IOC"}),
        (
            {"type": OrderType.LIMIT, "price": Decimal(100), "time_in_force": TimeInForce.FOK},
            {"timeInForce": "FOK"},
        ),
        ({"type": OrderType.LIMIT, "price": Decimal(100), "post_only": True}, {"postOnly": True}),
        ({"reduce_only": True}, {"reduceOnly": True}),
        (
            {"use_margin": True},
            {"marginMode": "cross", "sideEffectType": "AUTO_BORROW_REPAY"},
        ),
        (
            {"use_margin": True, "reduce_only": True},
            {"marginMode": "cross", "sideEffectType": "AUTO_REPAY"},
        ),
    ],
    ids=str,
)
def test_params_for_ccxt(changes: dict[str, Any], params: dict[str, Any]) -> None:
    """Each instruction has one form for ccxt, and the client id goes by its native name."""
    intent = build_intent(order_request(**changes), instrument(), "id", None)
    assert order_params(intent, "id1") == {"newClientOrderId": "id1", **params}


@pytest.mark.parametrize("code", ["binance", "binanceusdm"])
def test_client_id_of_another_form_is_mapped_the_same_each_time(code: str) -> None:
    """An id that fits goes as it is; others, and the venue's own prefixes, get a derived one."""
    profile = find_profile(code)
    assert to_venue_client_id("abc-1", profile) == "abc-1"
    for name in ("with space", "x" * 64, "autoclose-1", "adl_autoclose", "naïve"):
        derived = to_venue_client_id(name, profile)
        assert derived == to_venue_client_id(name, profile)
        assert derived.isalnum()
        assert derived.islower()
        assert len(derived) <= 26
        assert not derived.startswith("t")
