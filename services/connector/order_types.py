"""Orders as the connector knows them: what was asked, what the venue says, what is proven.

Quantities and prices are per single coin; None means the venue has not told.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

ZERO = Decimal(0)


class Side(StrEnum):
    """Direction of an order."""

    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    """How the price is set."""

    LIMIT = "limit"
    MARKET = "market"


class TimeInForce(StrEnum):
    """How long an order may rest; GTX is good-till-crossing, the venue's post-only."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTX = "GTX"


class OrderStatus(StrEnum):
    """State at the venue; a terminal word says nothing about the quantity executed."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"

    @property
    def is_closed(self) -> bool:
        """Whether the order can change no more."""
        return self not in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)


class ForcedFill(StrEnum):
    """A fill nobody here ordered."""

    LIQUIDATION = "LIQUIDATION"
    AUTO_DELEVERAGING = "AUTO_DELEVERAGING"


class OrderClass(StrEnum):
    """What the order is for; exits go ahead of entries when an allowance runs low."""

    ENTRY = "ENTRY"
    HEDGE = "HEDGE"
    UNWIND = "UNWIND"
    EXIT = "EXIT"
    MANUAL = "MANUAL"


@dataclass(frozen=True, slots=True)
class OrderIntent:
    """One order as decided: canonical symbol, quantity and price already on lot and tick.

    `price` is the limit actually sent (None: a true market order); `asked_type` and `asked_price`
    keep what the caller wrote when a worst price turned a market order into a limit order.
    """

    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce | None
    quantity: Decimal
    price: Decimal | None
    reduce_only: bool = False
    post_only: bool = False
    use_margin: bool = False
    order_class: OrderClass | None = None
    asked_type: OrderType = OrderType.LIMIT

    @property
    def is_immediate(self) -> bool:
        """Whether the venue closes the order at once: market, IOC and FOK."""
        return self.type is OrderType.MARKET or self.time_in_force in (
            TimeInForce.IOC,
            TimeInForce.FOK,
        )


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution against our order; `fee` is in `fee_asset`, > 0 paid."""

    trade_id: str
    exchange_order_id: str
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal | None
    fee_asset: str | None
    time: datetime | None
    maker: bool | None = None
    realized_pnl: Decimal | None = None
    client_order_id: str | None = None


@dataclass(frozen=True, slots=True)
class OrderState:
    """What the venue says of an order; `fees` is None until every fill's fee is known."""

    client_order_id: str
    exchange_order_id: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce | None
    status: OrderStatus
    quantity: Decimal
    executed: Decimal
    price: Decimal | None = None
    average_price: Decimal | None = None
    cumulative_quote: Decimal | None = None
    fees: tuple[tuple[str, Decimal], ...] | None = None
    fills: tuple[Fill, ...] = ()
    reduce_only: bool = False
    post_only: bool = False
    use_margin: bool = False
    order_class: OrderClass | None = None
    create_time: datetime | None = None
    update_time: datetime | None = None

    @property
    def is_closed(self) -> bool:
        """Whether the venue will change the order no more."""
        return self.status.is_closed

    @property
    def is_confirmed(self) -> bool:
        """Whether the order is closed and the fees of all it executed are known."""
        return self.is_closed and (self.executed == ZERO or self.fees is not None)


@dataclass(frozen=True, slots=True)
class VenueFill:
    """One execution as the venue words it, in the venue's own units."""

    trade_id: str
    exchange_order_id: str
    exchange_symbol: str
    side: Side | None
    price: Decimal
    quantity: Decimal
    fee: Decimal | None
    fee_asset: str | None
    time: datetime | None
    maker: bool | None = None
    realized_pnl: Decimal | None = None


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """One order as the venue words it, in a reply or on the stream, in the venue's own units.

    `fills` are all fills of the order when `fills_complete` (a FULL reply), else those of this
    message alone. `executed` is cumulative: the one number that decides what was done.
    `average_price` stands for the quote where the venue counts contracts and tells no quote.
    """

    exchange_symbol: str
    client_order_id: str
    exchange_order_id: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce | None
    status: OrderStatus
    quantity: Decimal
    executed: Decimal
    price: Decimal | None
    cumulative_quote: Decimal | None
    reduce_only: bool
    post_only: bool
    create_time: datetime | None
    update_time: datetime | None
    fills: tuple[VenueFill, ...] = ()
    fills_complete: bool = False
    forced_fill: ForcedFill | None = None
    average_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class VenueAcknowledgement:
    """A reply that only says the venue has the order: it is neither a fill nor the lack of one."""

    exchange_order_id: str
    client_order_id: str
