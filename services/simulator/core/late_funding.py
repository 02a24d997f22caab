"""Funding of a mirrored venue, whose rate becomes known some time after its settlement.

Who holds what is noted at the settlement, before anything else happens then; it is paid when the
venue has told what it paid itself. What is opened in between pays and receives nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from services.simulator.core.accounts import Accounts
from services.simulator.core.events import Listener
from services.simulator.core.funding import SETTLEMENT_WINDOW, FundingDesk, payment
from services.simulator.core.income import IncomeHistory
from services.simulator.core.market import Market

Holding = tuple[str, Decimal]
"""Account and signed quantity."""

GIVEN_UP_AFTER: Final = timedelta(days=1)
"""A settlement that the venue does not list by then did not take place: it had moved it."""


class LateFundingDesk(FundingDesk):
    """Pays what was held at each settlement once its rate is known."""

    def __init__(self, market: Market, accounts: Accounts, income: IncomeHistory) -> None:
        super().__init__(market, accounts, income)
        self._next: dict[str, datetime] = {}
        self._unpaid: dict[tuple[str, datetime], list[Holding]] = {}
        self.given_up: list[tuple[str, datetime]] = []
        """Symbol and time of the settlements that the venue never told a rate of."""

    @property
    def unpaid(self) -> list[tuple[str, datetime]]:
        """Return symbol and time of the settlements that are held for and not yet paid."""
        return list(self._unpaid)

    def advance(self, emit: Listener) -> None:
        """Note who holds what at each settlement that has come, and pay those that are known."""
        now = self.market.now()
        for symbol, time in [row for row in self._next.items() if row[1] <= now]:
            del self._next[symbol]
            holdings = self._holdings(symbol)
            if holdings:
                self._unpaid[symbol, time] = holdings
        self._look_ahead(now)
        for symbol, time in self.unpaid:
            if now - time > GIVEN_UP_AFTER:
                del self._unpaid[symbol, time]
                self.given_up.append((symbol, time))
            else:
                self._pay_known(symbol, time, now, emit)

    def _look_ahead(self, now: datetime) -> None:
        for symbol in self.accounts.held_symbols():
            time = self.market.source.funding_state(symbol, now).next_time
            # An old reading names one that is over; it says nothing of the next.
            if time is not None and time > now:
                self._next[symbol] = time

    def _holdings(self, symbol: str) -> list[Holding]:
        return [
            (account.name, position.quantity)
            for account in self.accounts.all()
            for position in account.futures.open_positions()
            if position.symbol == symbol
        ]

    def _pay_known(self, symbol: str, time: datetime, now: datetime, emit: Listener) -> None:
        first, last = time - SETTLEMENT_WINDOW, time + SETTLEMENT_WINDOW
        rows = self.market.source.settlements(symbol, first, last, 1, now)
        if not rows:
            return
        for name, quantity in self._unpaid.pop((symbol, time)):
            self.credit(self.accounts.by_name(name), rows[0], payment(quantity, rows[0]), emit)
