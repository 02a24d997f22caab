"""Positions closed by the venue: liquidation of an account, auto-deleveraging on command."""

from __future__ import annotations

from decimal import Decimal

from services.simulator.core.accounts import Account, Accounts
from services.simulator.core.clock import millis
from services.simulator.core.market import Market
from services.simulator.core.money import ZERO
from services.simulator.core.orders import (
    Order,
    OrderRequest,
    OrderType,
    PositionSide,
    Product,
    Side,
    TimeInForce,
)
from services.simulator.core.perpetual_desk import PerpetualDesk
from services.simulator.core.positions import Position
from services.simulator.core.settlement import Settlement
from services.simulator.market.source import Kind

LIQUIDATION_FEE = Decimal("0.0125")


class LiquidationDesk:
    """Closes positions against their owner's will."""

    def __init__(
        self, market: Market, accounts: Accounts, perpetual: PerpetualDesk, settlement: Settlement
    ) -> None:
        self._market = market
        self._accounts = accounts
        self._perpetual = perpetual
        self._settlement = settlement

    def close(
        self,
        account: Account,
        symbol: str,
        position_side: PositionSide,
        *,
        is_liquidation: bool,
        quantity: Decimal | None = None,
        price: Decimal | None = None,
    ) -> Order:
        """Close a position, whole or in part, at a price or at mark; return the venue's order.

        The client order id starts with `autoclose-` or is `adl_autoclose`, as on the venue. Raises
        ValueError when there is no such position.
        """
        position = account.futures.position(symbol, position_side)
        if not position.quantity:
            raise ValueError(f"{account.name} has no {position_side} position in {symbol}")
        name = "adl_autoclose"
        if is_liquidation:
            name = f"autoclose-{millis(self._market.now())}"
        rate = LIQUIDATION_FEE if is_liquidation else ZERO
        return self._force(account, position, name, rate=rate, quantity=quantity, price=price)

    def _force(
        self,
        account: Account,
        position: Position,
        client_order_id: str,
        *,
        rate: Decimal,
        quantity: Decimal | None = None,
        price: Decimal | None = None,
    ) -> Order:
        symbol, whole = position.symbol, abs(position.quantity)
        request = OrderRequest(
            product=Product.PERPETUAL,
            symbol=symbol,
            side=Side.SELL if position.quantity > 0 else Side.BUY,
            type=OrderType.MARKET,
            time_in_force=TimeInForce.IOC,
            # a forced close never opens the other side
            quantity=whole if quantity is None else min(quantity, whole),
            client_order_id=client_order_id,
            position_side=position.side,
        )
        at = self._market.mark(symbol) if price is None else price
        return self._settlement.execute_forced(account, request, at, rate)

    def settle_delisted(self) -> None:
        """Close positions of symbols that the venue has taken off, at mark and without a fee."""
        for account in self._accounts.all():
            for position in account.futures.open_positions():
                # the venue settles what is open when a contract ends; no order could close it
                if self._market.has_ended(Kind.PERPETUAL, position.symbol):
                    self._force(account, position, "delivery_autoclose", rate=ZERO)

    def liquidate(self) -> None:
        """Liquidate every account whose equity is under its maintenance margin."""
        for account in self._accounts.all():
            positions = account.futures.open_positions()
            for asset in sorted({self._settle_asset(position.symbol) for position in positions}):
                summary = self._perpetual.summary(account, asset)
                # cross margin: all positions of one settle asset stand or fall together
                if summary.equity > summary.maintenance:
                    continue
                for position in positions:
                    if self._settle_asset(position.symbol) == asset:
                        self.close(account, position.symbol, position.side, is_liquidation=True)

    def _settle_asset(self, symbol: str) -> str:
        spec = self._market.spec(Kind.PERPETUAL, symbol)
        return spec.settle_asset or spec.quote_asset
