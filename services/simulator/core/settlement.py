"""What an accepted order does to the books: rows, fills, money, events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import count

from services.simulator.core.accounts import Account
from services.simulator.core.events import Execution, Listener, OrderEvent, Reason, WalletEvent
from services.simulator.core.fees import FeeSchedule, commission
from services.simulator.core.market import Market
from services.simulator.core.matching import Execution as Match
from services.simulator.core.money import ZERO, up8
from services.simulator.core.orders import (
    Fill,
    Order,
    OrderRequest,
    OrderStatus,
    OrderStore,
    PositionSide,
    Product,
)
from services.simulator.core.perpetual_desk import PerpetualDesk
from services.simulator.core.spot_desk import SpotDesk
from services.simulator.market.source import InstrumentSpec, Kind

FIRST_ORDER_ID = 8_000_000_001
FIRST_TRADE_ID = 1_000_001


class Settlement:
    """Books orders and their fills for every product."""

    def __init__(
        self,
        market: Market,
        store: OrderStore,
        spot: SpotDesk,
        perpetual: PerpetualDesk,
        fees: FeeSchedule,
        emit: Listener,
    ) -> None:
        self._market = market
        self._store = store
        self._spot = spot
        self._perpetual = perpetual
        self._fees = fees
        self._emit = emit
        self._order_ids = count(FIRST_ORDER_ID)
        self._trade_ids = count(FIRST_TRADE_ID)

    def book(
        self,
        account: Account,
        request: OrderRequest,
        spec: InstrumentSpec,
        quantity: Decimal,
        matches: Sequence[Match],
        resting: Decimal,
    ) -> Order:
        """Check and reserve the funds of an order and write its row.

        Raises VenueError -2010, -2019 or -3006, nothing written, when the account cannot pay.
        """
        locked = ZERO
        if request.product is Product.PERPETUAL:
            self._perpetual.check_margin(account, request, spec, matches, resting)
        else:
            locked = self._spot.reserve(account, request, spec, matches, resting)
        return self.write(account, request, quantity, locked)

    def execute(
        self,
        account: Account,
        order: Order,
        spec: InstrumentSpec,
        match: Match,
        *,
        is_maker: bool,
    ) -> None:
        """Fill part of an order against the book."""
        request = order.request
        fee = commission(
            self._fees,
            spec,
            request.product,
            request.side,
            match.price,
            match.quantity,
            is_maker=is_maker,
        )
        trade_id = next(self._trade_ids)
        realized = ZERO
        now = self._market.now()
        if request.product is Product.PERPETUAL:
            realized = self._perpetual.settle(account, order, spec, match, fee, trade_id)
        else:
            self._spot.settle(account, order, spec, match, fee)
        fill = Fill(
            trade_id,
            order.order_id,
            account.name,
            request,
            match.price,
            match.quantity,
            fee.amount,
            fee.asset,
            is_maker,
            realized,
            now,
        )
        order.add(fill)
        self._market.liquidity.consume(
            request.product.kind, request.symbol, request.side, match.quantity, now
        )
        # after the books: whoever hears of a fill and asks must find it
        self._emit(OrderEvent(account.name, order, Execution.TRADE, fill, now))

    def execute_forced(
        self, account: Account, request: OrderRequest, price: Decimal, fee_rate: Decimal
    ) -> Order:
        """Write and fill an order of the venue's own at one price, outside the book."""
        spec = self._market.spec(Kind.PERPETUAL, request.symbol)
        quantity = request.quantity or ZERO
        order = self.write(account, request, quantity, ZERO)
        match, now, trade_id = Match(price, quantity), self._market.now(), next(self._trade_ids)
        fee = commission(
            self._fees,
            spec,
            Product.PERPETUAL,
            request.side,
            price,
            quantity,
            is_maker=False,
        )
        # the venue's own closes have their own fee, not the account's taker rate
        fee = replace(fee, amount=up8(price * quantity * fee_rate))
        realized = self._perpetual.settle(account, order, spec, match, fee, trade_id)
        fill = Fill(
            trade_id,
            order.order_id,
            account.name,
            request,
            price,
            quantity,
            fee.amount,
            fee.asset,
            False,
            realized,
            now,
        )
        order.add(fill)
        self._emit(OrderEvent(account.name, order, Execution.CALCULATED, fill, now))
        self.finish(account, order, spec)
        self.tell_wallet(account, spec, request)
        return order

    def finish(self, account: Account, order: Order, spec: InstrumentSpec) -> None:
        """Take an order out of the open ones and free what it locked."""
        self._store.close(order)
        if order.request.product is not Product.PERPETUAL:
            self._spot.release(account, order, spec)

    def end(
        self,
        account: Account,
        order: Order,
        spec: InstrumentSpec,
        status: OrderStatus,
        execution: Execution,
    ) -> None:
        """Cancel or expire what is left of an order."""
        order.status = status
        order.update_time = self._market.now()
        self.finish(account, order, spec)
        self._emit(OrderEvent(account.name, order, execution, None, order.update_time))

    def tell_wallet(self, account: Account, spec: InstrumentSpec, request: OrderRequest) -> None:
        """Tell listeners what the account now has of the order's assets."""
        positions: tuple[tuple[str, PositionSide], ...] = ()
        assets: tuple[str, ...] = (spec.base_asset, spec.quote_asset)
        if request.product is Product.PERPETUAL:
            assets = (spec.settle_asset or spec.quote_asset,)
            positions = ((request.symbol, request.position_side),)
        now = self._market.now()
        self._emit(WalletEvent(account.name, request.product, Reason.ORDER, assets, positions, now))

    def write(
        self, account: Account, request: OrderRequest, quantity: Decimal, locked: Decimal
    ) -> Order:
        """Write the row of a new order and tell of it."""
        now = self._market.now()
        order = Order(
            next(self._order_ids), account.name, request, quantity, now, now, locked=locked
        )
        # written before any fill: the first event of an order is always NEW
        self._store.add(order)
        self._emit(OrderEvent(account.name, order, Execution.NEW, None, now))
        return order
