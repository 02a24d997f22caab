"""Order filters with each venue's own codes and words.

Spot answers -1013 with the filter's name; USD-M futures has a code per rule.
"""

from __future__ import annotations

import re
from decimal import Decimal

from services.simulator.core.errors import VenueError
from services.simulator.core.money import decimals, is_multiple, plain
from services.simulator.core.orders import OrderRequest, OrderType, Product, Side
from services.simulator.market.source import InstrumentSpec

CLIENT_ORDER_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}", re.ASCII)
SPOT_BAND = (Decimal("0.2"), Decimal(5))
PERPETUAL_BAND = (Decimal("0.85"), Decimal("1.15"))


def check_client_order_id(client_order_id: str) -> None:
    """Raise VenueError -1100 when the id has a character or a length the venue refuses."""
    if not CLIENT_ORDER_ID.fullmatch(client_order_id):
        raise VenueError(
            -1100,
            "Illegal characters found in parameter 'newClientOrderId'; legal range is "
            "'^[\\.A-Z\\:/a-z0-9_-]{1,36}$'.",
        )


def check(request: OrderRequest, spec: InstrumentSpec, reference: Decimal) -> None:
    """Raise VenueError when the order breaks a filter; `reference` is the last or mark price."""
    if request.product is Product.PERPETUAL:
        _check_perpetual(request, spec, reference)
    else:
        _check_spot(request, spec, reference)


def _filter_failure(name: str) -> VenueError:
    return VenueError(-1013, f"Filter failure: {name}")


def _check_spot(request: OrderRequest, spec: InstrumentSpec, reference: Decimal) -> None:
    if spec.status != "TRADING":
        raise VenueError(-1013, "Market is closed.")
    price = request.price
    if price is not None:
        # eight digits is what the venue can store at all; the tick comes after
        if decimals(price) > 8:
            raise VenueError(-1111, "Parameter 'price' has too much precision.")
        if price <= 0 or not is_multiple(price, spec.tick_size):
            raise _filter_failure("PRICE_FILTER")
        if not SPOT_BAND[0] * reference <= price <= SPOT_BAND[1] * reference:
            raise _filter_failure("PERCENT_PRICE_BY_SIDE")
    if request.quantity is not None:
        _check_spot_quantity(request, request.quantity, spec)
        notional = request.quantity * (price if price is not None else reference)
    else:
        notional = request.quote_quantity or Decimal(0)
    # spot has no exemption for closing: that is how dust comes about
    if notional < spec.min_notional:
        raise _filter_failure("NOTIONAL")


def _check_spot_quantity(request: OrderRequest, quantity: Decimal, spec: InstrumentSpec) -> None:
    if decimals(quantity) > 8:
        raise VenueError(-1111, "Parameter 'quantity' has too much precision.")
    if not spec.min_quantity <= quantity <= spec.max_quantity:
        raise _filter_failure("LOT_SIZE")
    if not is_multiple(quantity, spec.lot_size):
        raise _filter_failure("LOT_SIZE")
    if request.type is OrderType.MARKET and quantity > spec.market_max_quantity:
        raise _filter_failure("MARKET_LOT_SIZE")


def _check_perpetual(request: OrderRequest, spec: InstrumentSpec, reference: Decimal) -> None:
    # refused for reduce-only too: the venue settles such positions itself
    if spec.status != "TRADING":
        raise VenueError(
            -4108, "This symbol is on delivering or delivered or settling or closed or pre-trading."
        )
    quantity = request.quantity
    if quantity is None:
        raise VenueError(
            -1102,
            "Mandatory parameter 'quantity' was not sent, was empty/null, or malformed.",
        )
    _check_perpetual_quantity(request, quantity, spec)
    price = request.price
    if price is not None:
        _check_perpetual_price(price, request.side, spec, reference)
    notional = quantity * (price if price is not None else reference)
    if not request.reduce_only and notional < spec.min_notional:
        raise VenueError(
            -4164,
            f"Order's notional must be no smaller than {plain(spec.min_notional)} "
            "(unless you choose reduce only).",
        )


def _check_perpetual_quantity(
    request: OrderRequest, quantity: Decimal, spec: InstrumentSpec
) -> None:
    if quantity <= 0:
        raise VenueError(-4003, "Quantity less than or equal to zero.")
    # the venue looks at the digits before it looks at the step
    if decimals(quantity) > spec.quantity_precision:
        raise VenueError(-1111, "Precision is over the maximum defined for this asset.")
    is_market = request.type is OrderType.MARKET
    if quantity < spec.min_quantity:
        raise VenueError(-4004, "Quantity less than min quantity.")
    if quantity > (spec.market_max_quantity if is_market else spec.max_quantity):
        raise VenueError(-4005, "Quantity greater than max quantity.")
    if not is_multiple(quantity, spec.lot_size):
        raise VenueError(-4023, "Quantity not increased by step size.")


def _check_perpetual_price(
    price: Decimal, side: Side, spec: InstrumentSpec, reference: Decimal
) -> None:
    if price <= 0:
        raise VenueError(-4001, "Price less than 0.")
    if decimals(price) > spec.price_precision:
        raise VenueError(-1111, "Precision is over the maximum defined for this asset.")
    if not is_multiple(price, spec.tick_size):
        raise VenueError(-4014, "Price not increased by tick size.")
    # PERCENT_PRICE of USD-M binds a buy from above and a sell from below only.
    high, low = reference * PERPETUAL_BAND[1], reference * PERPETUAL_BAND[0]
    if side is Side.BUY and price > high:
        raise VenueError(-4016, f"Limit price can't be higher than {plain(high)}.")
    if side is Side.SELL and price < low:
        raise VenueError(-4024, f"Limit price can't be lower than {plain(low)}.")
