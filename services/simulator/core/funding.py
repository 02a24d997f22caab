"""Funding payments: at each symbol's own settlement every open position pays or receives."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from services.simulator.core.accounts import Accounts
from services.simulator.core.events import Listener, Reason, WalletEvent
from services.simulator.core.income import IncomeHistory, IncomeType
from services.simulator.core.market import Market
from services.simulator.core.money import down8
from services.simulator.core.orders import Product
from services.simulator.core.positions import Position
from services.simulator.market.source import FundingSettlement, Kind

# Recorded settlement times lie some milliseconds after the hour; nothing settles outside this.
SETTLEMENT_WINDOW = timedelta(minutes=2)


def may_settle(after: datetime, upto: datetime) -> bool:
    """Tell whether any settlement can lie in (after, upto]: they come right after full hours."""
    hour = upto.replace(minute=0, second=0, microsecond=0)
    return after < hour or after - hour <= SETTLEMENT_WINDOW


def payment(position: Position, settlement: FundingSettlement) -> Decimal:
    """Return what the position receives: longs pay a positive rate, shorts receive it."""
    return down8(-position.quantity * settlement.mark_price * settlement.rate)


class FundingDesk:
    """Pays funding as market time passes."""

    def __init__(self, market: Market, accounts: Accounts, income: IncomeHistory) -> None:
        self._market = market
        self._accounts = accounts
        self._income = income
        self._paid_until = market.now()

    def advance(self, emit: Listener) -> None:
        """Pay everything that settled since the last call."""
        after, upto = self._paid_until, self._market.now()
        if upto <= after:
            return
        # moved on even when nobody holds anything: who opens later is not owed the past
        self._paid_until = upto
        holders = [a for a in self._accounts.all() if a.futures.open_positions()]
        # looking settlements up costs more than all the rest of a tick
        if not holders or not may_settle(after, upto):
            return
        for settlement in self._market.source.settlements_between(after, upto):
            self._pay(settlement, emit)

    def _pay(self, settlement: FundingSettlement, emit: Listener) -> None:
        spec = self._market.source.instrument(Kind.PERPETUAL, settlement.symbol)
        if spec is None:
            return
        asset = spec.settle_asset or spec.quote_asset
        for account in self._accounts.all():
            for position in account.futures.open_positions():
                if position.symbol != settlement.symbol:
                    continue
                amount = payment(position, settlement)
                account.futures.credit(asset, amount)
                self._income.add(
                    account.name,
                    IncomeType.FUNDING_FEE,
                    settlement.symbol,
                    asset,
                    amount,
                    settlement.time,
                )
                emit(
                    WalletEvent(
                        account.name,
                        Product.PERPETUAL,
                        Reason.FUNDING_FEE,
                        (asset,),
                        (),
                        settlement.time,
                        amount,
                    )
                )
