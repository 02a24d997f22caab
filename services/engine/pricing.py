"""Worst prices from a reference and a bound, and the depth a book offers within them."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

from services.engine.instruments import Book, BookLevel
from services.engine.orders import OrderSide

_EXACT = Context(prec=60)
_ONE = Decimal(1)


def worst_price(
    side: OrderSide, reference: Decimal, bound_ratio: Decimal, tick_size: Decimal
) -> Decimal:
    """Return the limit price `bound_ratio` worse than the reference.

    Rounded to the tick towards the reference, so that the bound holds: buys down, sells up. Never
    below one tick.
    """
    buying = side is OrderSide.BUY
    share = _EXACT.add(_ONE, bound_ratio) if buying else _EXACT.subtract(_ONE, bound_ratio)
    raw = _EXACT.multiply(reference, share)
    rounding = ROUND_FLOOR if buying else ROUND_CEILING
    ticks = _EXACT.divide(raw, tick_size).to_integral_value(rounding, _EXACT)
    # A sale bounded at zero would be refused by the venue, and with it the exit.
    return _EXACT.multiply(max(ticks, _ONE), tick_size)


def is_within(side: OrderSide, price: Decimal, bound: Decimal) -> bool:
    """Tell whether `price` is no worse than `bound` for an order of this side."""
    return price <= bound if side is OrderSide.BUY else price >= bound


def levels(book: Book, side: OrderSide) -> tuple[BookLevel, ...]:
    """Return the levels an order of this side trades against."""
    return book.asks if side is OrderSide.BUY else book.bids


def touch(book: Book, side: OrderSide) -> Decimal | None:
    """Return the best price an order of this side meets; None for an empty side."""
    opposite = levels(book, side)
    return opposite[0].price if opposite and opposite[0].price > 0 else None


def best_price(book: Book, side: OrderSide) -> Decimal | None:
    """Return the best price orders of this side rest at; None where none rests."""
    return touch(book, side.opposite)


def depth_within(book: Book, side: OrderSide, bound: Decimal) -> Decimal:
    """Return the base quantity on offer no worse than `bound`."""
    return sum(
        (level.quantity for level in levels(book, side) if is_within(side, level.price, bound)),
        Decimal(0),
    )


def is_crossed(book: Book) -> bool:
    """Tell whether the best bid is at or above the best ask: not a book to trade on."""
    return bool(book.bids and book.asks) and book.bids[0].price >= book.asks[0].price
