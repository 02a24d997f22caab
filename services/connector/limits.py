"""The limits an order must keep at the last hop before the venue, decided from what is given. Pure.

What an order does to the account decides which limits it must keep:

* *reducing*: it can only make a position smaller. On perpetuals the venue enforces `reduce_only`;
  a spot sale called EXIT or UNWIND sells no more than the account holds, because the venue lends
  nothing there. Nothing here refuses it.
* *completing*: its class says HEDGE, UNWIND or EXIT, and its words prove nothing. The class opens
  the way past the halt, for a time, and past the opening rate; size, symbol and price limits hold.
  One that is refused so is let pass when it takes back no more than this ledger's own fills hold.
* *opening*: everything else. All limits hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from services.common.codec import format_decimal
from services.common.errors import PreconditionError
from services.connector.instruments import InstrumentKind
from services.connector.order_types import OrderClass, OrderIntent, Side

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_WORDS: Final = frozenset({OrderClass.HEDGE, OrderClass.UNWIND, OrderClass.EXIT})
_WAYS_BACK: Final = frozenset({OrderClass.UNWIND, OrderClass.EXIT})


class Effect(StrEnum):
    """What an order does to the account, as far as it can be known before it is sent."""

    OPENING = "opening"
    COMPLETING = "completing"
    REDUCING = "reducing"


@dataclass(frozen=True, slots=True)
class OrderLimits:
    """Bounds of one order; empty and None are no bound.

    `max_quantity` is in base units by canonical symbol, `max_notional` in the quote currency,
    `price_band_ratio` the largest distance of a price from the reference price, as a share of it.
    """

    symbols: frozenset[str] = frozenset()
    max_quantity: Mapping[str, Decimal] = field(default_factory=dict)
    max_notional: Decimal | None = None
    price_band_ratio: Decimal | None = None

    @property
    def needs_reference(self) -> bool:
        """Whether a price of the market is needed to judge an order."""
        return self.max_notional is not None or self.price_band_ratio is not None


def effect_of(intent: OrderIntent, kind: InstrumentKind) -> Effect:
    """Return what an order does by its own words, before the ledger is asked."""
    # The margin account knows no reduce-only: there the flag is a word like the class.
    if intent.reduce_only and kind is InstrumentKind.PERPETUAL:
        return Effect.REDUCING
    cash_sale = kind is InstrumentKind.SPOT and intent.side is Side.SELL and not intent.use_margin
    if cash_sale and intent.order_class in _WAYS_BACK:
        return Effect.REDUCING
    return Effect.COMPLETING if intent.order_class in _WORDS else Effect.OPENING


def check_order(
    intent: OrderIntent, effect: Effect, limits: OrderLimits, reference: Decimal | None
) -> None:
    """Raise PreconditionError when an order that is not reducing passes a limit.

    `reference` is the fresh price of one coin, None when there is none: opening orders are refused
    then where a limit needs it, completing ones are judged by their own price.
    """
    if limits.symbols and intent.symbol not in limits.symbols:
        raise _refusal(intent, "SYMBOL_NOT_ALLOWED", "is not among the allowed symbols")
    most = limits.max_quantity.get(intent.symbol)
    if most is not None and intent.quantity > most:
        raise _refusal(intent, "ORDER_TOO_LARGE", "is above the largest quantity", most)
    if not limits.needs_reference:
        return
    if reference is None and effect is Effect.OPENING:
        raise _refusal(intent, "REFERENCE_PRICE_STALE", "has no fresh price to be judged by")
    _check_notional(intent, limits, reference)
    _check_band(intent, effect, limits, reference)


@dataclass(frozen=True, slots=True)
class OwnOrder:
    """One order of the ledger; `executed` as far as known, `is_closed` when it fills no more."""

    client_order_id: str
    side: Side
    quantity: Decimal
    executed: Decimal
    is_closed: bool
    use_margin: bool


def left_to_reduce(intent: OrderIntent, orders: Iterable[OwnOrder]) -> Decimal:
    """Return how much an order of that side and account may still take back; at least zero.

    Orders under way count as if the worst came of them: what reduces is taken to fill whole, what
    adds only by what has filled. Fees in the coin itself are left out: the venue keeps the balance.
    """
    opened = taken = Decimal(0)
    for one in orders:
        if one.use_margin != intent.use_margin or one.client_order_id == intent.client_order_id:
            continue
        if one.side is not intent.side:
            opened += one.executed
        else:
            taken += one.executed if one.is_closed else one.quantity
    return max(opened - taken, Decimal(0))


def _check_notional(intent: OrderIntent, limits: OrderLimits, reference: Decimal | None) -> None:
    prices = [price for price in (intent.price, reference) if price is not None]
    if limits.max_notional is None or not prices:
        return
    # The dearer of the two: a low limit of a sale says nothing about what it is worth.
    if intent.quantity * max(prices) > limits.max_notional:
        raise _refusal(
            intent,
            "ORDER_TOO_LARGE",
            "is worth more than the largest notional",
            limits.max_notional,
        )


def _check_band(
    intent: OrderIntent, effect: Effect, limits: OrderLimits, reference: Decimal | None
) -> None:
    ratio = limits.price_band_ratio
    if ratio is None or reference is None:
        return
    if intent.price is None:
        # Nothing holds a plain market order to a price; its class has it pass all the same.
        if effect is Effect.OPENING:
            raise _refusal(
                intent,
                "PRICE_OUTSIDE_BAND",
                "is a market order: give worst_price or slippage_bound_ratio",
            )
        return
    if abs(intent.price - reference) > ratio * reference:
        raise _refusal(intent, "PRICE_OUTSIDE_BAND", "is priced outside the band around", reference)


def _refusal(
    intent: OrderIntent, reason: str, problem: str, bound: Decimal | None = None
) -> PreconditionError:
    metadata = {"symbol": intent.symbol}
    if bound is not None:
        metadata["limit"] = format_decimal(bound)
        problem = f"{problem} {format_decimal(bound)}"
    return PreconditionError(
        f"the order of {intent.symbol} {problem}; nothing was sent",
        reason=reason,
        metadata=metadata,
    )
