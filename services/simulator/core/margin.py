"""Cross margin: what may be borrowed, hourly interest, automatic borrowing and repayment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count

from services.simulator.core.accounts import Account
from services.simulator.core.errors import VenueError
from services.simulator.core.market import Market
from services.simulator.core.money import ZERO, down8, up8

HOUR = timedelta(hours=1)
SAFE_LEVEL = Decimal(999)


@dataclass(frozen=True, slots=True)
class LoanRecord:
    """One borrowing, repayment or interest charge; `type` is BORROW, REPAY or INTEREST."""

    tran_id: int
    account: str
    type: str
    asset: str
    principal: Decimal
    interest: Decimal
    rate: Decimal
    time: datetime


@dataclass(frozen=True, slots=True)
class Collateral:
    """What a margin wallet holds and owes, in USDT."""

    assets: Decimal
    liabilities: Decimal

    @property
    def equity(self) -> Decimal:
        """Return what is left after paying everything back."""
        return self.assets - self.liabilities

    @property
    def level(self) -> Decimal:
        """Return assets over liabilities, 999 when nothing is owed."""
        return self.assets / self.liabilities if self.liabilities else SAFE_LEVEL

    @property
    def borrowable(self) -> Decimal:
        """Return how much more may be borrowed at three times the equity."""
        # three times leverage: debts may reach twice the equity
        return max(ZERO, 2 * self.equity - self.liabilities)


class MarginDesk:
    """Lends to margin wallets."""

    def __init__(
        self,
        market: Market,
        hourly_rates: Mapping[str, Decimal],
        default_hourly_rate: Decimal,
    ) -> None:
        self._market = market
        self._rates = hourly_rates
        self._default = default_hourly_rate
        self._ids = count(7_000_000_001)
        self.records: list[LoanRecord] = []

    def hourly_rate(self, asset: str) -> Decimal:
        """Return interest per hour as a fraction of principal."""
        return self._rates.get(asset, self._default)

    def collateral(self, account: Account) -> Collateral:
        """Return what the margin wallet holds and owes, valued at last prices."""
        assets = sum(
            (
                balance.total * self._market.value_in_usdt(asset)
                for asset, balance in account.margin.balances.items()
                if balance.total
            ),
            ZERO,
        )
        owed = sum(
            (
                account.loans.owed(asset) * self._market.value_in_usdt(asset)
                for asset in account.loans.assets()
            ),
            ZERO,
        )
        return Collateral(assets, owed)

    def max_borrowable(self, account: Account, asset: str) -> Decimal:
        """Return how many units of an asset the account may still borrow."""
        price = self._market.value_in_usdt(asset)
        return down8(self.collateral(account).borrowable / price) if price else ZERO

    def borrow(self, account: Account, asset: str, amount: Decimal) -> int:
        """Lend `amount` and return the transaction id; raises VenueError -3006 over the limit."""
        if amount > self.max_borrowable(account, asset):
            raise VenueError(-3006, "Your borrow amount has exceed maximum borrow amount.")
        self.accrue(account)
        account.loans.principal[asset] += amount
        account.margin.credit(asset, amount)
        return self._record(account, "BORROW", asset, amount, ZERO)

    def repay(self, account: Account, asset: str, amount: Decimal) -> int:
        """Take back up to `amount`, interest first; raises VenueError -3015 if nothing is owed."""
        self.accrue(account)
        loans = account.loans
        amount = min(amount, loans.owed(asset), account.margin.get(asset).free)
        if amount <= 0:
            raise VenueError(-3015, "Repay amount exceeds borrow amount.")
        # interest is paid before principal
        interest = min(amount, loans.interest[asset])
        loans.interest[asset] -= interest
        loans.principal[asset] -= amount - interest
        account.margin.debit(asset, amount)
        return self._record(account, "REPAY", asset, amount - interest, interest)

    def repay_what_is_free(self, account: Account, asset: str) -> None:
        """Repay as much of a loan as the wallet can, if there is one."""
        if account.loans.owed(asset) > 0 and account.margin.get(asset).free > 0:
            self.repay(account, asset, account.margin.get(asset).free)

    def accrue(self, account: Account) -> None:
        """Charge interest for every full hour since the last charge."""
        now = self._market.now()
        loans = account.loans
        assets = loans.assets()
        if not assets or loans.accrued_until is None:
            loans.accrued_until = now
            return
        hours = (now - loans.accrued_until) // HOUR
        if hours <= 0:
            return
        # kept on the hour, so that parts of an hour add up over many calls
        loans.accrued_until += hours * HOUR
        for asset in assets:
            charge = up8(loans.principal[asset] * self.hourly_rate(asset) * hours)
            loans.interest[asset] += charge
            self._record(account, "INTEREST", asset, loans.principal[asset], charge)

    def _record(
        self, account: Account, type_: str, asset: str, principal: Decimal, interest: Decimal
    ) -> int:
        tran_id = next(self._ids)
        self.records.append(
            LoanRecord(
                tran_id,
                account.name,
                type_,
                asset,
                principal,
                interest,
                self.hourly_rate(asset),
                self._market.now(),
            )
        )
        return tran_id
