"""A caller's order as asked, its content hash, and the rules that turn it into what is sent. Pure.

A market order with a bound becomes a limit IOC at the worst price, rounded to the tick on the safe
side; what does not fit the instrument's lot, tick or limits is refused, never rounded silently.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from typing import TYPE_CHECKING, Protocol

from services.common.codec import format_decimal
from services.common.errors import InvalidFieldError, PreconditionError, RejectedError
from services.connector.instruments import Instrument, InstrumentKind, TradingStatus
from services.connector.order_types import (
    OrderClass,
    OrderIntent,
    OrderType,
    Side,
    TimeInForce,
)

if TYPE_CHECKING:
    from datetime import timedelta

MAX_SLIPPAGE_BOUND = Decimal("0.5")
"""A bound of half the price and more is a typing error, not a bound."""


class SenderCheck(Protocol):
    """Says whether the one who sends an order still may."""

    def check(self) -> None:
        """Raise PreconditionError where another has taken its place."""
        ...


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What the caller asked; the symbol is canonical, an empty client order id means none given.

    `sender` is asked last before the order's row is written.
    """

    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce | None
    quantity: Decimal
    price: Decimal | None
    reduce_only: bool
    post_only: bool
    use_margin: bool
    worst_price: Decimal | None
    slippage_bound_ratio: Decimal | None
    fill_timeout: timedelta | None
    order_class: OrderClass | None
    sender: SenderCheck | None = None


def hash_content(request: OrderRequest) -> str:
    """Return a hash of what would be traded: equal for requests that differ in notation only.

    The client order id, the class, the sender and the time the caller will wait are no part of it.
    """
    numbers = (
        request.quantity,
        request.price,
        request.worst_price,
        request.slippage_bound_ratio,
    )
    # Numbers in one notation, so that 0.010 and 0.01 are one content.
    parts = [
        request.symbol,
        request.side.value,
        request.type.value,
        request.time_in_force.value if request.time_in_force else "",
        *("" if number is None else format_decimal(number) for number in numbers),
        # Part of the content: the same size without reduce_only could open a position.
        *(str(flag) for flag in (request.reduce_only, request.post_only, request.use_margin)),
    ]
    return hashlib.sha256("|".join(parts).encode("ascii")).hexdigest()


def check_request(request: OrderRequest, instrument: Instrument) -> None:
    """Raise InvalidFieldError for a combination or number the instrument cannot take.

    Raises PreconditionError with reason SYMBOL_NOT_TRADING when the venue matches no orders there.
    """
    _check_flags(request, instrument)
    _check_prices(request, instrument)
    _check_quantity(request, instrument)
    if instrument.status is not TradingStatus.TRADING:
        raise PreconditionError(
            f"{instrument.symbol} is not trading ({instrument.status})",
            reason="SYMBOL_NOT_TRADING",
            metadata={"symbol": instrument.symbol, "tradingStatus": instrument.status.value},
        )


def _check_flags(request: OrderRequest, instrument: Instrument) -> None:
    spot = instrument.kind is InstrumentKind.SPOT
    if request.use_margin and not spot:
        raise InvalidFieldError("use_margin", "only spot orders can go to the margin account")
    if request.use_margin and not instrument.margin_allowed:
        raise InvalidFieldError("use_margin", f"{instrument.symbol} has no margin trading")
    if request.reduce_only and spot and not request.use_margin:
        raise InvalidFieldError("reduce_only", "spot has no position to reduce")
    market = request.type is OrderType.MARKET
    if request.post_only and market:
        raise InvalidFieldError("post_only", "a market order executes at once")
    if request.post_only and request.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
        raise InvalidFieldError("post_only", f"contradicts {request.time_in_force}")
    if market and request.time_in_force in (TimeInForce.GTC, TimeInForce.GTX):
        raise InvalidFieldError("time_in_force", "a market order cannot rest")
    # A bound makes it a limit order, which can be fill-or-kill.
    unbounded = request.worst_price is None and request.slippage_bound_ratio is None
    if market and request.time_in_force is TimeInForce.FOK and unbounded:
        raise InvalidFieldError("time_in_force", "fill-or-kill needs a price or a worst price")


def _check_prices(request: OrderRequest, instrument: Instrument) -> None:
    worst, bound = request.worst_price, request.slippage_bound_ratio
    if request.type is OrderType.MARKET:
        if request.price is not None:
            raise InvalidFieldError("price", "a market order has none; use worst_price")
        if worst is not None and bound is not None:
            raise InvalidFieldError("slippage_bound_ratio", "give this or worst_price, not both")
        if bound is not None and bound > MAX_SLIPPAGE_BOUND:
            raise InvalidFieldError("slippage_bound_ratio", f"must be at most {MAX_SLIPPAGE_BOUND}")
        if worst is not None and round_worst_price(worst, request.side, instrument) <= 0:
            raise InvalidFieldError("worst_price", "is below one tick")
        return
    for field, value in (("worst_price", worst), ("slippage_bound_ratio", bound)):
        if value is not None:
            raise InvalidFieldError(field, "is for market orders; a limit order has its price")
    if request.price is None:
        raise InvalidFieldError("price", "is required for a limit order")
    if not _is_multiple(request.price, instrument.tick_size):
        raise InvalidFieldError(
            "price", f"is not a whole number of ticks of {format_decimal(instrument.tick_size)}"
        )


def _check_quantity(request: OrderRequest, instrument: Instrument) -> None:
    quantity = request.quantity
    if not _is_multiple(quantity, instrument.lot_size):
        raise InvalidFieldError(
            "quantity", f"is not a whole number of lots of {format_decimal(instrument.lot_size)}"
        )
    if instrument.min_quantity is not None and quantity < instrument.min_quantity:
        raise InvalidFieldError(
            "quantity", f"is below the minimum {format_decimal(instrument.min_quantity)}"
        )
    # A bounded market order is sent as a limit order, with the limits of those.
    most = instrument.max_quantity
    unbounded = request.worst_price is None and request.slippage_bound_ratio is None
    if request.type is OrderType.MARKET and unbounded:
        most = instrument.max_market_quantity or most
    if most is not None and quantity > most:
        raise InvalidFieldError("quantity", f"is above the maximum {format_decimal(most)}")
    least = instrument.min_notional
    # USD-M -4164: a reduce-only order may be smaller; spot's NOTIONAL filter knows no such thing.
    exempt = request.reduce_only and instrument.kind is InstrumentKind.PERPETUAL
    if request.price is None or least is None or exempt:
        return
    if request.price * quantity < least:
        problem = f"the order is worth less than {format_decimal(least)}"
        raise InvalidFieldError("quantity", problem, reason="NOTIONAL_TOO_SMALL")


def _is_multiple(value: Decimal, step: Decimal) -> bool:
    with localcontext() as context:
        # 18 digits on each side of the point over the smallest step exceed the default precision.
        context.prec = 80
        return value % step == 0


def round_worst_price(price: Decimal, side: Side, instrument: Instrument) -> Decimal:
    """Return the price on the tick grid that is not worse than `price`: down to buy, up to sell."""
    rounding = ROUND_FLOOR if side is Side.BUY else ROUND_CEILING
    with localcontext() as context:
        context.prec = 80
        ticks = (price / instrument.tick_size).to_integral_value(rounding=rounding)
        return ticks * instrument.tick_size


def bound_price(best: Decimal, ratio: Decimal, side: Side) -> Decimal:
    """Return the worst price that lies `ratio` off the best opposite price."""
    return best * (1 + ratio) if side is Side.BUY else best * (1 - ratio)


def build_intent(
    request: OrderRequest,
    instrument: Instrument,
    client_order_id: str,
    best_opposite_price: Decimal | None,
) -> OrderIntent:
    """Return what will be sent for a checked request.

    `best_opposite_price` is needed when the request has a slippage bound; RejectedError with reason
    NO_REFERENCE_PRICE is raised when there is none to measure from.
    """
    order_type, time_in_force, price = request.type, request.time_in_force, request.price
    worst = request.worst_price
    if request.slippage_bound_ratio is not None:
        if best_opposite_price is None or best_opposite_price <= 0:
            raise RejectedError("the book has no opposite side", reason="NO_REFERENCE_PRICE")
        worst = bound_price(best_opposite_price, request.slippage_bound_ratio, request.side)
    if worst is not None:
        order_type, price = OrderType.LIMIT, round_worst_price(worst, request.side, instrument)
        time_in_force = time_in_force or TimeInForce.IOC
        if price <= 0:
            raise RejectedError("the bound leaves no price above zero", reason="NO_REFERENCE_PRICE")
    elif order_type is OrderType.LIMIT and time_in_force is None:
        time_in_force = TimeInForce.GTX if request.post_only else TimeInForce.GTC
    elif order_type is OrderType.MARKET:
        time_in_force = None
    return OrderIntent(
        client_order_id=client_order_id,
        symbol=instrument.symbol,
        side=request.side,
        type=order_type,
        time_in_force=time_in_force,
        quantity=request.quantity,
        price=price,
        reduce_only=request.reduce_only,
        post_only=request.post_only or time_in_force is TimeInForce.GTX,
        use_margin=request.use_margin,
        order_class=request.order_class,
        asked_type=request.type,
    )
