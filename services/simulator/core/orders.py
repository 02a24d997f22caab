"""Orders and fills, and the store that holds every one of them for the life of the process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from services.simulator.core.errors import cancel_refused, unknown_order
from services.simulator.core.money import ZERO
from services.simulator.market.source import Kind


class Product(StrEnum):
    """The wallet and rules an order trades under. Spot and margin share the spot books."""

    SPOT = "SPOT"
    MARGIN = "MARGIN"
    PERPETUAL = "PERPETUAL"

    @property
    def kind(self) -> Kind:
        """Return the kind of instrument whose books the product trades."""
        return Kind.PERPETUAL if self is Product.PERPETUAL else Kind.SPOT


class Side(StrEnum):
    """Buy or sell."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """Return 1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        """Return the other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """Order types the venue takes here."""

    LIMIT = "LIMIT"
    MARKET = "MARKET"
    LIMIT_MAKER = "LIMIT_MAKER"


class TimeInForce(StrEnum):
    """How long an order lives. GTX is post-only on perpetuals."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTX = "GTX"


class OrderStatus(StrEnum):
    """States of an order, in the venue's words."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"

    @property
    def is_open(self) -> bool:
        """Tell whether the order may still fill."""
        return self in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)


class PositionSide(StrEnum):
    """BOTH in one-way mode, LONG or SHORT in hedge mode."""

    BOTH = "BOTH"
    LONG = "LONG"
    SHORT = "SHORT"


class SideEffect(StrEnum):
    """What a margin order does with loans."""

    NONE = "NO_SIDE_EFFECT"
    BORROW = "MARGIN_BUY"
    REPAY = "AUTO_REPAY"
    BORROW_REPAY = "AUTO_BORROW_REPAY"

    @property
    def borrows(self) -> bool:
        """Tell whether what is missing is borrowed."""
        return self in (SideEffect.BORROW, SideEffect.BORROW_REPAY)

    @property
    def repays(self) -> bool:
        """Tell whether what is received repays a loan of that asset."""
        return self in (SideEffect.REPAY, SideEffect.BORROW_REPAY)


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order as asked for: `quantity` in base units, or on spot `quote_quantity` in its place.

    `lot` is what this venue fills in, in base units, where it is more than the market's own lot.
    """

    product: Product
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    quantity: Decimal | None
    price: Decimal | None = None
    quote_quantity: Decimal | None = None
    client_order_id: str = ""
    position_side: PositionSide = PositionSide.BOTH
    reduce_only: bool = False
    side_effect: SideEffect = SideEffect.NONE
    lot: Decimal = ZERO

    @property
    def is_post_only(self) -> bool:
        """Tell whether the order must rest and never take."""
        return self.type is OrderType.LIMIT_MAKER or self.time_in_force is TimeInForce.GTX

    @property
    def is_reducing(self) -> bool:
        """Tell whether the order may only shrink its position."""
        # hedge mode has no such flag: selling a LONG or buying a SHORT says it already
        if self.position_side is PositionSide.BOTH:
            return self.reduce_only
        return (self.side is Side.SELL) == (self.position_side is PositionSide.LONG)

    @property
    def may_rest(self) -> bool:
        """Tell whether what does not fill at once stays in the book."""
        return self.type is not OrderType.MARKET and self.time_in_force in (
            TimeInForce.GTC,
            TimeInForce.GTX,
        )


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. `fee` is positive when paid; `realized_pnl` is set on perpetuals."""

    trade_id: int
    order_id: int
    account: str
    request: OrderRequest
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    is_maker: bool
    realized_pnl: Decimal
    time: datetime

    @property
    def quote(self) -> Decimal:
        """Return price times quantity."""
        return self.price * self.quantity


# Not frozen: the row of the venue's own book, which fills and cancels change in place.
@dataclass(slots=True)
class Order:
    """One order and what has become of it."""

    order_id: int
    account: str
    request: OrderRequest
    quantity: Decimal
    create_time: datetime
    update_time: datetime
    status: OrderStatus = OrderStatus.NEW
    executed: Decimal = ZERO
    quote: Decimal = ZERO
    locked: Decimal = ZERO
    fills: list[Fill] = field(default_factory=list)
    close_reason: str = ""
    # By a fault: what of a maker's order the first taker that comes to it takes.
    first_share: Decimal | None = None

    @property
    def remaining(self) -> Decimal:
        """Return what is not executed."""
        return self.quantity - self.executed

    @property
    def average_price(self) -> Decimal:
        """Return quote over executed, zero when nothing is executed."""
        return self.quote / self.executed if self.executed else ZERO

    def add(self, fill: Fill) -> None:
        """Book one fill and move the status."""
        self.fills.append(fill)
        self.executed += fill.quantity
        self.quote += fill.quote
        self.update_time = fill.time
        is_full = self.executed >= self.quantity
        self.status = OrderStatus.FILLED if is_full else OrderStatus.PARTIALLY_FILLED


class OrderStore:
    """Every order, found by id, by client id and by being open.

    Client order ids are unique among an account's open orders of one product only; a query by
    client id answers with the newest order that has it, as the venue does.
    """

    def __init__(self) -> None:
        self._by_id: dict[int, Order] = {}
        self._by_client: dict[tuple[str, Product, str, str], Order] = {}
        self._open: dict[int, Order] = {}
        self._by_symbol: dict[tuple[str, Product, str], list[Order]] = defaultdict(list)

    def __iter__(self) -> Iterator[Order]:
        return iter(self._by_id.values())

    def add(self, order: Order) -> None:
        """Put a new order in; it counts as open until `close` is called."""
        request = order.request
        self._by_id[order.order_id] = order
        # a later order with the same id hides the earlier one, as on the venue
        self._by_client[self._key(order)] = order
        self._by_symbol[order.account, request.product, request.symbol].append(order)
        self._open[order.order_id] = order

    def close(self, order: Order) -> None:
        """Take an order out of the open ones; it stays to be queried."""
        self._open.pop(order.order_id, None)

    def is_client_id_open(self, account: str, product: Product, client_order_id: str) -> bool:
        """Tell whether an open order of the account already has the id."""
        return any(
            order.account == account
            and order.request.product is product
            and order.request.client_order_id == client_order_id
            for order in self._open.values()
        )

    def find(
        self,
        account: str,
        product: Product,
        symbol: str,
        order_id: int | None,
        client_order_id: str | None,
    ) -> Order:
        """Return the order asked for; raises VenueError -2013 when there is none."""
        # the order id wins when both are sent, as on the venue
        order = (
            self._by_id.get(order_id)
            if order_id is not None
            else self._by_client.get((account, product, symbol, client_order_id or ""))
        )
        if order is None or order.account != account or order.request.product is not product:
            raise unknown_order()
        # ids are the venue's alone, but a query must name the right symbol
        if order.request.symbol != symbol:
            raise unknown_order()
        return order

    def find_open(
        self,
        account: str,
        product: Product,
        symbol: str,
        order_id: int | None,
        client_order_id: str | None,
    ) -> Order:
        """Return the open order asked for; raises VenueError -2011 when it is not open."""
        for order in self.open_orders(account, product, symbol):
            request = order.request
            if order.order_id == order_id or (
                order_id is None and request.client_order_id == client_order_id
            ):
                return order
        raise cancel_refused()

    def open_orders(
        self, account: str | None = None, product: Product | None = None, symbol: str | None = None
    ) -> list[Order]:
        """Return open orders, oldest first, narrowed by what is given."""
        return [
            order
            for order in self._open.values()
            if (account is None or order.account == account)
            and (product is None or order.request.product is product)
            and (symbol is None or order.request.symbol == symbol)
        ]

    def all_orders(self, account: str, product: Product, symbol: str) -> list[Order]:
        """Return every order of one account and symbol, oldest first."""
        return self._by_symbol[account, product, symbol]

    def fills(self, account: str, product: Product, symbol: str) -> list[Fill]:
        """Return every fill of one account and symbol, in trade id order."""
        rows = [fill for order in self.all_orders(account, product, symbol) for fill in order.fills]
        return sorted(rows, key=lambda fill: fill.trade_id)

    @staticmethod
    def _key(order: Order) -> tuple[str, Product, str, str]:
        request = order.request
        return (order.account, request.product, request.symbol, request.client_order_id)
