"""The venue: takes orders, matches them, moves money, tells listeners.

Everything that happens by itself (funding, resting orders that the market reaches, late
executions, liquidations) happens in `advance`, which every entry point calls first; so a caller
with a virtual clock sees the same history as one with a real clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count

from services.simulator.core.accounts import Account, Accounts
from services.simulator.core.clock import WireClock
from services.simulator.core.errors import VenueError, outcome_unknown
from services.simulator.core.events import Event, Execution, Listener
from services.simulator.core.fees import FeeSchedule
from services.simulator.core.filters import check, check_client_order_id
from services.simulator.core.funding import FundingDesk
from services.simulator.core.income import IncomeHistory
from services.simulator.core.liquidation import LiquidationDesk
from services.simulator.core.margin import MarginDesk
from services.simulator.core.market import Market
from services.simulator.core.matching import Execution as Match
from services.simulator.core.matching import (
    cap,
    is_marketable,
    take,
    take_quote,
    total,
    traded_through,
)
from services.simulator.core.money import ZERO, floor_to
from services.simulator.core.orders import (
    Order,
    OrderRequest,
    OrderStatus,
    OrderStore,
    OrderType,
    Product,
    Side,
    TimeInForce,
)
from services.simulator.core.perpetual_desk import PerpetualDesk
from services.simulator.core.settlement import Settlement
from services.simulator.core.spot_desk import SpotDesk
from services.simulator.market.source import InstrumentSpec, Kind

# A market order on a perpetual takes nothing further from the mark price than this.
MARKET_TAKE_BOUND = Decimal("0.05")


@dataclass(frozen=True, slots=True)
class Interference:
    """What a fault does to one order: a cap on liquidity, an execution that comes late."""

    liquidity_ratio: Decimal | None = None
    late: timedelta | None = None


NO_INTERFERENCE = Interference()


class Exchange:
    """One venue with its accounts, orders and books; sync and deterministic."""

    def __init__(
        self,
        market: Market,
        wire: WireClock,
        accounts: Accounts,
        fees: FeeSchedule,
        margin: MarginDesk,
        *,
        processing_bound: timedelta = timedelta(seconds=10),
        liquidates: bool = True,
        funding_desk: type[FundingDesk] = FundingDesk,
    ) -> None:
        self.market = market
        self.accounts = accounts
        self.fees = fees
        self.margin = margin
        self.processing_bound = processing_bound
        self.liquidates = liquidates
        self.store = OrderStore()
        self.income = IncomeHistory()
        self.spot = SpotDesk(market, margin)
        self.perpetual = PerpetualDesk(market, self.store, self.income, fees)
        self.listeners: list[Listener] = []
        self._settlement = Settlement(
            market, self.store, self.spot, self.perpetual, fees, self.emit
        )
        self.liquidation = LiquidationDesk(market, accounts, self.perpetual, self._settlement)
        self._wire = wire
        self.funding = funding_desk(market, accounts, self.income)
        self._due: list[tuple[datetime, Callable[[], None]]] = []
        self._client_ids = count(1)

    def emit(self, event: Event) -> None:
        """Tell every listener, in the order they subscribed."""
        for listener in self.listeners:
            listener(event)

    def advance(self) -> None:
        """Let everything happen that is due by now."""
        self.funding.advance(self.emit)
        self.liquidation.settle_delisted()
        # liquidation comes after funding: a payment may be what sinks the account
        if self.liquidates:
            self.liquidation.liquidate()
        if self._due:
            now = self._wire.now()
            # taken out first: an action places an order, which advances again
            ready = [action for due, action in self._due if due <= now]
            self._due = [row for row in self._due if row[0] > now]
            for action in ready:
                action()
        for order in self.store.open_orders():
            self._match_resting(order)

    def place(
        self,
        account: Account,
        request: OrderRequest,
        interference: Interference = NO_INTERFERENCE,
    ) -> Order:
        """Take an order and execute what it can at once.

        Raises VenueError: a refusal, or -1007 when the execution comes late by a fault.
        """
        self.advance()
        # the venue names orders that come without an id itself
        if not request.client_order_id:
            request = replace(request, client_order_id=f"web_{next(self._client_ids)}")
        if interference.late is not None:
            self._defer(account, request, interference.late, replace(interference, late=None))
            raise outcome_unknown()
        spec = self.market.spec(request.product.kind, request.symbol)
        self._check(account, request, spec)
        quantity = request.quantity or ZERO
        if request.product is Product.PERPETUAL:
            quantity = self.perpetual.clamp_reducing(account, request)
        matches = self._matches(request, spec, quantity, interference)
        # an order by quote has the quantity that its budget bought
        if request.quantity is None:
            quantity = total(matches)
        # what cannot rest must not lock funds either
        resting = quantity - total(matches) if request.may_rest else ZERO
        order = self._settlement.book(account, request, spec, quantity, matches, resting)
        if request.is_post_only:
            order.first_share = interference.liquidity_ratio
        for match in matches:
            self._settlement.execute(account, order, spec, match, is_maker=False)
        if order.status is OrderStatus.FILLED:
            self._settlement.finish(account, order, spec)
        elif not request.may_rest:
            self._expire(account, order, spec)
        self._settlement.tell_wallet(account, spec, request)
        return order

    def cancel(
        self,
        account: Account,
        product: Product,
        symbol: str,
        order_id: int | None,
        client_order_id: str | None,
    ) -> Order:
        """Cancel an open order; raises VenueError -2011 when it is not open."""
        self.advance()
        spec = self.market.spec(product.kind, symbol)
        order = self.store.find_open(account.name, product, symbol, order_id, client_order_id)
        self._settlement.end(account, order, spec, OrderStatus.CANCELED, Execution.CANCELED)
        self._settlement.tell_wallet(account, spec, order.request)
        return order

    def place_cancelled(self, account: Account, request: OrderRequest, reason: str) -> Order:
        """Take an order and cancel it at once, nothing executed.

        So venues refuse that acknowledge first and match later. The order has its `close_reason`.
        """
        if not request.client_order_id:
            request = replace(request, client_order_id=f"web_{next(self._client_ids)}")
        spec = self.market.spec(request.product.kind, request.symbol)
        order = self._settlement.write(account, request, request.quantity or ZERO, ZERO)
        order.close_reason = reason
        self._settlement.end(account, order, spec, OrderStatus.CANCELED, Execution.CANCELED)
        return order

    def cancel_all(self, account: Account, product: Product, symbol: str) -> list[Order]:
        """Cancel every open order of one symbol and return them, oldest first."""
        self.advance()
        spec = self.market.spec(product.kind, symbol)
        # at one instant: an order filled between two cancels would fail the rest of them
        orders = self.store.open_orders(account.name, product, symbol)
        for order in orders:
            self._settlement.end(account, order, spec, OrderStatus.CANCELED, Execution.CANCELED)
            self._settlement.tell_wallet(account, spec, order.request)
        return orders

    def _defer(
        self, account: Account, request: OrderRequest, late: timedelta, interference: Interference
    ) -> None:
        # later than its bound the venue promises not to execute; a client's fence rests on that
        due = self._wire.now() + min(late, self.processing_bound)
        self._due.append((due, lambda: self._place_late(account, request, interference)))

    def _place_late(
        self, account: Account, request: OrderRequest, interference: Interference
    ) -> None:
        # Nobody waits for this answer any more: a refusal is lost like the reply was.
        try:
            self.place(account, request, interference)
        except VenueError:
            return

    def _check(self, account: Account, request: OrderRequest, spec: InstrumentSpec) -> None:
        check_client_order_id(request.client_order_id)
        check(request, spec, self.market.reference(request.product.kind, request.symbol))
        is_perpetual = request.product is Product.PERPETUAL
        if is_perpetual:
            self.perpetual.check_position_side(account, request)
        if self.store.is_client_id_open(account.name, request.product, request.client_order_id):
            if is_perpetual:
                raise VenueError(-4116, "ClientOrderId is duplicated.")
            raise VenueError(-2010, "Duplicate order sent.")

    def _matches(
        self,
        request: OrderRequest,
        spec: InstrumentSpec,
        quantity: Decimal,
        interference: Interference,
    ) -> tuple[Match, ...]:
        levels = self.market.liquidity.levels(
            request.product.kind, request.symbol, request.side, self.market.now()
        )
        if request.quantity is None:
            matches = take_quote(levels, request.quote_quantity or ZERO, spec.lot_size)
            quantity = total(matches)
        else:
            matches = take(levels, request.side, quantity, self._bound(request))
        # checked before any fault cuts liquidity: the book decides, not the fault
        if request.is_post_only:
            if matches:
                raise _post_only_refused(request.product)
            return ()
        lot = max(request.lot, spec.lot_size)
        if interference.liquidity_ratio is not None:
            matches = cap(matches, floor_to(quantity * interference.liquidity_ratio, lot))
        if request.lot:
            matches = cap(matches, floor_to(total(matches), lot))
        if request.time_in_force is TimeInForce.FOK and total(matches) < quantity:
            if request.product is Product.PERPETUAL:
                raise _fok_refused()
            return ()
        return matches

    def _bound(self, request: OrderRequest) -> Decimal | None:
        if request.type is not OrderType.MARKET or request.product is not Product.PERPETUAL:
            return request.price
        mark = self.market.mark(request.symbol)
        return mark * (1 + MARKET_TAKE_BOUND * request.side.sign)

    def _match_resting(self, order: Order) -> None:
        request = order.request
        kind, price = request.product.kind, request.price
        if not self.market.is_trading(kind, request.symbol):
            if self.market.has_ended(kind, request.symbol):
                self._expire_ended(order)
            return
        if price is None:
            return
        levels = self.market.liquidity.levels(kind, request.symbol, request.side, self.market.now())
        if levels and is_marketable(request.side, price, levels[0].price):
            # a maker trades at its own price, however far the market has come through it
            self._fill_resting(
                order, price, total(take(levels, request.side, order.remaining, price))
            )

    def trade_through(
        self, kind: Kind, symbol: str, trades: Sequence[Match], resting_before: Collection[int]
    ) -> None:
        """Fill what rests where trades of others, on the venue that is mirrored, went through it.

        Only orders whose ids are in `resting_before` stood there when those trades were made. Who
        asks the best price gets first of what was traded.
        """
        self.advance()
        for side in Side:
            resting = [
                (order.request.price or ZERO, order)
                for order in self.store.open_orders(symbol=symbol)
                if order.request.product.kind is kind
                and order.request.side is side
                and order.order_id in resting_before
            ]
            given = ZERO
            for price, order in sorted(resting, key=lambda row: -row[0] * side.sign):
                before = order.executed
                offered = traded_through(trades, side, price) - given
                if offered > 0:
                    self._fill_resting(order, price, offered)
                given += order.executed - before

    def _fill_resting(self, order: Order, price: Decimal, offered: Decimal) -> None:
        request = order.request
        spec = self.market.spec(request.product.kind, request.symbol)
        account = self.accounts.by_name(order.account)
        # the position may have shrunk since a reducing order was taken
        wanted = self._fillable(account, order)
        if not wanted:
            self._expire(account, order, spec)
            return
        quantity = min(offered, wanted)
        lot = max(request.lot, spec.lot_size)
        if order.first_share is not None:
            quantity = min(quantity, order.quantity * order.first_share)
            order.first_share = None
        quantity = floor_to(quantity, lot)
        if not quantity:
            return
        self._settlement.execute(account, order, spec, Match(price, quantity), is_maker=True)
        if order.status is OrderStatus.FILLED:
            self._settlement.finish(account, order, spec)
        self._settlement.tell_wallet(account, spec, request)

    def _fillable(self, account: Account, order: Order) -> Decimal:
        request = order.request
        if not request.is_reducing:
            return order.remaining
        position = account.futures.position(request.symbol, request.position_side)
        return max(ZERO, min(order.remaining, -position.quantity * request.side.sign))

    def _expire_ended(self, order: Order) -> None:
        # the venue itself clears the books of what it takes off
        request, account = order.request, self.accounts.by_name(order.account)
        spec = self.market.spec(request.product.kind, request.symbol)
        self._expire(account, order, spec)
        self._settlement.tell_wallet(account, spec, request)

    def _expire(self, account: Account, order: Order, spec: InstrumentSpec) -> None:
        self._settlement.end(account, order, spec, OrderStatus.EXPIRED, Execution.EXPIRED)


def _post_only_refused(product: Product) -> VenueError:
    if product is Product.PERPETUAL:
        return VenueError(
            -5022,
            "Due to the order could not be executed as maker, the Post Only order will be "
            "rejected. The order will not be recorded in the order history.",
        )
    return VenueError(-2010, "Order would immediately match and take.")


def _fok_refused() -> VenueError:
    return VenueError(
        -5021,
        "Due to the order could not be filled immediately, the FOK order has been rejected. "
        "The order will not be recorded in the order history.",
    )
