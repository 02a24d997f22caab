"""Filters: each rule of each venue with its own code."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from services.simulator.core.errors import VenueError
from services.simulator.core.filters import check, check_client_order_id
from services.simulator.core.orders import OrderRequest, OrderType, Product, Side, TimeInForce
from services.simulator.market.source import Kind
from tests.support.tiny_market import spec

REFERENCE = Decimal(100)


def request(product: Product, quantity: str = "1", price: str | None = None, **fields: Any) -> Any:
    """Return an order: limit with a price, market without."""
    return OrderRequest(
        product=product,
        symbol="BTCUSDT",
        side=fields.pop("side", Side.BUY),
        type=OrderType.MARKET if price is None else OrderType.LIMIT,
        time_in_force=TimeInForce.GTC,
        quantity=Decimal(quantity),
        price=None if price is None else Decimal(price),
        **fields,
    )


@pytest.mark.parametrize(
    ("quantity", "price", "code", "words"),
    [
        ("1", "100.05", -1013, "PRICE_FILTER"),
        ("1", "100.123456789", -1111, "precision"),
        ("0.0005", "100", -1013, "LOT_SIZE"),
        ("1.0005", "100", -1013, "LOT_SIZE"),
        ("1001", "100", -1013, "LOT_SIZE"),
        ("101", None, -1013, "MARKET_LOT_SIZE"),
        ("0.04", "100", -1013, "NOTIONAL"),
        ("0.04", None, -1013, "NOTIONAL"),
        ("1", "501", -1013, "PERCENT_PRICE_BY_SIDE"),
        ("1", "19", -1013, "PERCENT_PRICE_BY_SIDE"),
    ],
)
def test_spot_filters(quantity: str, price: str | None, code: int, words: str) -> None:
    """Spot answers -1013 with the name of the filter, -1111 for too many digits."""
    with pytest.raises(VenueError) as caught:
        check(request(Product.SPOT, quantity, price), spec(Kind.SPOT), REFERENCE)
    assert caught.value.code == code
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("quantity", "price", "code"),
    [
        ("0", "100", -4003),
        ("0.0005", "100", -1111),
        ("1001", "100", -4005),
        ("101", None, -4005),
        ("1", "100.05", -4014),
        ("1", "100.001", -1111),
        ("1", "0", -4001),
        ("0.04", "100", -4164),
        ("1", "115.1", -4016),
    ],
)
def test_perpetual_filters(quantity: str, price: str | None, code: int) -> None:
    """USD-M has a code of its own for every rule."""
    with pytest.raises(VenueError) as caught:
        check(request(Product.PERPETUAL, quantity, price), spec(Kind.PERPETUAL), REFERENCE)
    assert caught.value.code == code


def test_perpetual_sell_far_under_the_mark_is_refused() -> None:
    """The price band binds a sell from below."""
    order = request(Product.PERPETUAL, "1", "84.9", side=Side.SELL)
    with pytest.raises(VenueError) as caught:
        check(order, spec(Kind.PERPETUAL), REFERENCE)
    assert caught.value.code == -4024


def test_reduce_only_is_free_of_the_least_notional() -> None:
    """A position smaller than the least notional can still be closed."""
    order = request(Product.PERPETUAL, "0.001", reduce_only=True)
    check(order, spec(Kind.PERPETUAL), REFERENCE)


@pytest.mark.parametrize(
    ("product", "status", "code"),
    [(Product.SPOT, "BREAK", -1013), (Product.PERPETUAL, "SETTLING", -4108)],
)
def test_a_symbol_that_does_not_trade_takes_no_orders(
    product: Product, status: str, code: int
) -> None:
    """Delisted symbols are refused with the venue's code."""
    with pytest.raises(VenueError) as caught:
        check(request(product), spec(product.kind, status=status), REFERENCE)
    assert caught.value.code == code


@pytest.mark.parametrize("text", ["", "a" * 37, "id with space", "ümlaut", "a%b"])
def test_client_order_ids_the_venue_refuses(text: str) -> None:
    """Length and characters follow the venue's pattern."""
    with pytest.raises(VenueError) as caught:
        check_client_order_id(text)
    assert caught.value.code == -1100


@pytest.mark.parametrize(("quantity", "price"), [("0.1", "100"), ("100", None), ("1", "99.9")])
def test_orders_within_the_filters_pass(quantity: str, price: str | None) -> None:
    """What the filters allow raises nothing on either venue."""
    for product in (Product.SPOT, Product.PERPETUAL):
        check(request(product, quantity, price), spec(product.kind), REFERENCE)
