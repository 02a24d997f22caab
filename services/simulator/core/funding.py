"""Funding payments: at each symbol's own settlement every open position pays or receives."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from services.simulator.core.accounts import Account, Accounts
from services.simulator.core.events import Listener, Reason, WalletEvent
from services.simulator.core.income import IncomeHistory, IncomeType
from services.simulator.core.market import Market
from services.simulator.core.money import down8
from services.simulator.core.orders import Product
from services.simulator.market.source import FundingSettlement, Kind

# Recorded settlement times lie some milliseconds after the hour; nothing settles outside this.
SETTLEMENT_WINDOW = timedelta(minutes=2)


def may_settle(after: datetime, upto: datetime) -> bool:
    """Tell whether any settlement can lie in (after, upto]: they come right after full hours."""
    hour = upto.replace(minute=0, second=0, microsecond=0)
    return after < hour or after - hour <= SETTLEMENT_WINDOW


def payment(quantity: Decimal, settlement: FundingSettlement) -> Decimal:
    """Return what a signed position receives: longs pay a positive rate, shorts receive it."""
    return down8(-quantity * settlement.mark_price * settlement.rate)


class FundingDesk:
    """Pays funding as market time passes."""

    def __init__(self, market: Market, accounts: Accounts, income: IncomeHistory) -> None:
        self.market = market
        self.accounts = accounts
        self._income = income
        self._paid_until = market.now()

    def advance(self, emit: Listener) -> None:
        """Pay everything that settled since the last call."""
        after, upto = self._paid_until, self.market.now()
        if upto <= after:
            return
        # moved on even when nobody holds anything: who opens later is not owed the past
        self._paid_until = upto
        holders = [a for a in self.accounts.all() if a.futures.open_positions()]
        # looking settlements up costs more than all the rest of a tick
        if not holders or not may_settle(after, upto):
            return
        for settlement in self.market.source.settlements_between(after, upto):
            self._pay(settlement, emit)

    def _pay(self, settlement: FundingSettlement, emit: Listener) -> None:
        for account in self.accounts.all():
            for position in account.futures.open_positions():
                if position.symbol == settlement.symbol:
                    self.credit(account, settlement, payment(position.quantity, settlement), emit)

    def credit(
        self, account: Account, settlement: FundingSettlement, amount: Decimal, emit: Listener
    ) -> None:
        """Book one payment to an account and tell of it."""
        spec = self.market.source.instrument(Kind.PERPETUAL, settlement.symbol)
        if spec is None:
            return
        asset, time = spec.settle_asset or spec.quote_asset, settlement.time
        account.futures.credit(asset, amount)
        self._income.add(
            account.name, IncomeType.FUNDING_FEE, settlement.symbol, asset, amount, time
        )
        reason, product = Reason.FUNDING_FEE, Product.PERPETUAL
        emit(WalletEvent(account.name, product, reason, (asset,), (), time, amount))
