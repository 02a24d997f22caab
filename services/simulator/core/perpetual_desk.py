"""Money of perpetual orders: margin checks, positions, profit, and what an account is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from services.simulator.core.accounts import Account
from services.simulator.core.errors import VenueError
from services.simulator.core.fees import Fee, FeeSchedule
from services.simulator.core.income import IncomeHistory, IncomeType
from services.simulator.core.market import Market
from services.simulator.core.matching import Execution
from services.simulator.core.money import ZERO
from services.simulator.core.orders import (
    Order,
    OrderRequest,
    OrderStore,
    PositionSide,
    Product,
)
from services.simulator.core.positions import (
    Position,
    apply,
    exposure_increase,
    initial_margin,
    liquidation_price,
)
from services.simulator.market.source import InstrumentSpec, Kind


@dataclass(frozen=True, slots=True)
class FuturesSummary:
    """One settle asset of a futures account at mark prices."""

    wallet: Decimal
    unrealized: Decimal
    position_margin: Decimal
    order_margin: Decimal
    maintenance: Decimal

    @property
    def equity(self) -> Decimal:
        """Return the margin balance."""
        return self.wallet + self.unrealized

    @property
    def available(self) -> Decimal:
        """Return what new positions may bind."""
        return max(ZERO, self.equity - self.position_margin - self.order_margin)


class PerpetualDesk:
    """Keeps positions and wallets of futures accounts."""

    def __init__(
        self, market: Market, store: OrderStore, income: IncomeHistory, fees: FeeSchedule
    ) -> None:
        self._market = market
        self._store = store
        self._income = income
        self._fees = fees

    def check_position_side(self, account: Account, request: OrderRequest) -> None:
        """Raise VenueError -4061 when the order's position side does not fit the account's mode."""
        is_both = request.position_side is PositionSide.BOTH
        if is_both == account.futures.is_hedge_mode:
            raise VenueError(-4061, "Order's position side does not match user's setting.")
        if request.reduce_only and not is_both:
            raise VenueError(-1106, "Parameter 'reduceonly' sent when not required.")

    def clamp_reducing(self, account: Account, request: OrderRequest) -> Decimal:
        """Return the quantity a reduce-only or closing order may have.

        Raises VenueError -2022 when there is nothing to reduce.
        """
        quantity = request.quantity or ZERO
        position = account.futures.position(request.symbol, request.position_side)
        if not request.is_reducing:
            return quantity
        reducible = -position.quantity * request.side.sign
        # one-way mode cuts the order to the position; hedge mode refuses what is too large
        if reducible <= 0 or (
            request.position_side is not PositionSide.BOTH and quantity > reducible
        ):
            raise VenueError(-2022, "ReduceOnly Order is rejected.")
        return min(quantity, reducible)

    def check_margin(
        self,
        account: Account,
        request: OrderRequest,
        spec: InstrumentSpec,
        executions: Sequence[Execution],
        resting: Decimal,
    ) -> None:
        """Raise VenueError -2019 when the account cannot carry what the order would open."""
        cost = sum((item.price * item.quantity for item in executions), ZERO)
        cost += resting * (request.price or ZERO)
        quantity = sum((item.quantity for item in executions), ZERO) + resting
        if not quantity:
            return
        position = account.futures.position(request.symbol, request.position_side)
        # reducing binds nothing, so that a close is never refused for margin
        opened = exposure_increase(position, quantity * request.side.sign)
        if not opened:
            return
        leverage = account.futures.leverage_of(spec.symbol, spec.max_leverage)
        notional = cost * opened / quantity
        # the fee comes out of the same wallet: a position that fits to the last cent does not
        fee = cost * self._fees.perpetual_taker
        needed = initial_margin(notional, leverage) + fee
        if needed > self.summary(account, spec.settle_asset or spec.quote_asset).available:
            raise VenueError(-2019, "Margin is insufficient.")

    def settle(
        self,
        account: Account,
        order: Order,
        spec: InstrumentSpec,
        execution: Execution,
        fee: Fee,
        trade_id: int,
    ) -> Decimal:
        """Move the position and the wallet for one fill; return the profit it realized."""
        request = order.request
        now = self._market.now()
        position = account.futures.position(request.symbol, request.position_side)
        signed = execution.quantity * request.side.sign
        profit = apply(position, signed, execution.price, now)
        asset = spec.settle_asset or spec.quote_asset
        # one wallet per settle asset takes profit and fee at once
        account.futures.credit(asset, profit - fee.amount)
        for type_, amount in (
            (IncomeType.REALIZED_PNL, profit),
            (IncomeType.COMMISSION, -fee.amount),
        ):
            self._income.add(account.name, type_, spec.symbol, asset, amount, now, trade_id)
        return profit

    def summary(self, account: Account, asset: str) -> FuturesSummary:
        """Return what one settle asset of the account is worth and binds."""
        futures = account.futures
        unrealized = margin = maintenance = ZERO
        for position in futures.open_positions():
            spec = self._spec(position.symbol)
            if (spec.settle_asset or spec.quote_asset) != asset:
                continue
            mark = self._market.mark(position.symbol)
            leverage = futures.leverage_of(position.symbol, spec.max_leverage)
            unrealized += position.unrealized(mark)
            margin += initial_margin(position.notional(mark), leverage)
            maintenance += abs(position.notional(mark)) * spec.maintenance_margin_ratio
        return FuturesSummary(
            futures.balance(asset),
            unrealized,
            margin,
            self._order_margin(account, asset),
            maintenance,
        )

    def liquidation_price(self, account: Account, position: Position) -> Decimal:
        """Return the mark price that liquidates the account, all other positions unmoved."""
        spec = self._spec(position.symbol)
        asset = spec.settle_asset or spec.quote_asset
        summary = self.summary(account, asset)
        mark = self._market.mark(position.symbol)
        own_maintenance = abs(position.notional(mark)) * spec.maintenance_margin_ratio
        return liquidation_price(
            position,
            summary.wallet,
            spec.maintenance_margin_ratio,
            summary.maintenance - own_maintenance,
            summary.unrealized - position.unrealized(mark),
        )

    def _order_margin(self, account: Account, asset: str) -> Decimal:
        margin = ZERO
        for order in self._store.open_orders(account.name, Product.PERPETUAL):
            request = order.request
            spec = self._spec(request.symbol)
            # what only reduces binds no margin while it rests
            if request.is_reducing or (spec.settle_asset or spec.quote_asset) != asset:
                continue
            leverage = account.futures.leverage_of(request.symbol, spec.max_leverage)
            margin += initial_margin(order.remaining * (request.price or ZERO), leverage)
        return margin

    def _spec(self, symbol: str) -> InstrumentSpec:
        return self._market.spec(Kind.PERPETUAL, symbol)
