"""Money of spot and margin orders: what is locked, spent, received, borrowed and repaid."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from services.simulator.core.accounts import Account, Wallet, insufficient_balance
from services.simulator.core.fees import Fee
from services.simulator.core.margin import MarginDesk
from services.simulator.core.market import Market
from services.simulator.core.matching import Execution, total
from services.simulator.core.money import ZERO, up8
from services.simulator.core.orders import Order, OrderRequest, Product, Side
from services.simulator.market.source import InstrumentSpec


def funds_needed(
    request: OrderRequest, executions: Sequence[Execution], resting: Decimal
) -> Decimal:
    """Return what an order locks: base on a sell, quote on a buy."""
    if request.side is Side.SELL:
        return total(executions) + resting
    cost = sum((item.price * item.quantity for item in executions), ZERO)
    return up8(cost + resting * (request.price or ZERO))


class SpotDesk:
    """Moves coins for orders of the spot and the margin wallet."""

    def __init__(self, market: Market, margin: MarginDesk) -> None:
        self._market = market
        self._margin = margin

    @staticmethod
    def wallet(account: Account, product: Product) -> Wallet:
        """Return the wallet an order of `product` trades from."""
        return account.margin if product is Product.MARGIN else account.spot

    def reserve(
        self,
        account: Account,
        request: OrderRequest,
        spec: InstrumentSpec,
        executions: Sequence[Execution],
        resting: Decimal,
    ) -> Decimal:
        """Lock the funds of an order and return them; borrows where the order says so.

        Raises VenueError -2010 when the wallet does not have them, -3006 when no more is lent.
        """
        asset = self._paid_asset(request, spec)
        wallet = self.wallet(account, request.product)
        needed = funds_needed(request, executions, resting)
        missing = needed - wallet.get(asset).free
        # what is free is used up before anything is borrowed
        if missing > 0:
            if request.product is not Product.MARGIN or not request.side_effect.borrows:
                raise insufficient_balance()
            self._margin.borrow(account, asset, up8(missing))
        # locked even for an order that fills at once, so that every fill pays out of one pot
        wallet.lock(asset, needed)
        return needed

    def settle(
        self,
        account: Account,
        order: Order,
        spec: InstrumentSpec,
        execution: Execution,
        fee: Fee,
    ) -> None:
        """Exchange coins for one fill; the fee comes off what is received."""
        request = order.request
        wallet = self.wallet(account, request.product)
        quote = execution.price * execution.quantity
        if request.side is Side.BUY:
            paid, asset, received = quote, spec.base_asset, execution.quantity
        else:
            paid, asset, received = execution.quantity, spec.quote_asset, quote
        wallet.spend_locked(self._paid_asset(request, spec), paid)
        order.locked -= paid
        wallet.credit(asset, received - fee.amount)

    def release(self, account: Account, order: Order, spec: InstrumentSpec) -> None:
        """Give back what a closed order no longer needs, and repay loans where it says so."""
        request = order.request
        if order.locked > 0:
            wallet = self.wallet(account, request.product)
            wallet.unlock(self._paid_asset(request, spec), order.locked)
            order.locked = ZERO
        if request.product is Product.MARGIN and request.side_effect.repays and order.executed:
            received = spec.base_asset if request.side is Side.BUY else spec.quote_asset
            self._margin.repay_what_is_free(account, received)

    @staticmethod
    def _paid_asset(request: OrderRequest, spec: InstrumentSpec) -> str:
        return spec.quote_asset if request.side is Side.BUY else spec.base_asset
