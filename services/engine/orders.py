"""Orders of a hedged position: the plan that is sent and the outcome that comes back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from services.engine.instruments import InstrumentRef, LegSide


class OrderSide(StrEnum):
    """Direction of an order."""

    BUY = "buy"
    SELL = "sell"

    @property
    def opposite(self) -> OrderSide:
        """The other direction."""
        return OrderSide.SELL if self is OrderSide.BUY else OrderSide.BUY


class OrderClass(StrEnum):
    """What an order is for; a reduce is an exit of a part."""

    ENTRY = "entry"
    HEDGE = "hedge"
    UNWIND = "unwind"
    EXIT = "exit"


class OrderState(StrEnum):
    """Where an order of a position stands.

    NOT_SENT is closed by evidence: the venue did not know the id after the fence.
    """

    PENDING = "pending"
    ENDED = "ended"
    REJECTED = "rejected"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


class GoneCause(StrEnum):
    """Why a leg shrank at its venue without an order of ours.

    UNEXPLAINED is what a reading finds: it may be the user's own hand.
    """

    LIQUIDATED = "liquidated"
    AUTO_DELEVERAGED = "auto_deleveraged"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class AssetAmount:
    """An amount of one asset."""

    asset: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class OrderPlan:
    """One order, complete: what a gateway sends exactly once.

    With `worst_price` the order is a limit order, immediate-or-cancel unless it is `post_only`;
    without it a market order.
    `quantity` is in base units and already a multiple of the lot.
    """

    client_order_id: str
    instrument: InstrumentRef
    leg: LegSide
    order_class: OrderClass
    side: OrderSide
    quantity: Decimal
    worst_price: Decimal | None
    # Where the venue has it, it is the last guard against crossing zero.
    reduce_only: bool = False
    use_margin: bool = False
    # It rests at `worst_price` and is refused where it would execute at once.
    post_only: bool = False


@dataclass(frozen=True, slots=True)
class OrderOutcome:
    """What a venue says of one order, cumulative.

    `closed` tells that nothing more can fill. `net` is `executed` less the fee taken in the base
    coin. `average_price` and `cumulative_quote` are None without a fill. `update_time` is the
    venue's time of the last change, `quantity` what the order asked; None where it named none.
    """

    client_order_id: str
    closed: bool
    executed: Decimal
    net: Decimal
    average_price: Decimal | None = None
    fees: tuple[AssetAmount, ...] = ()
    cumulative_quote: Decimal | None = None
    update_time: datetime | None = None
    quantity: Decimal | None = None
