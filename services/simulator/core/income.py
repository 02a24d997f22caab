"""The income history of futures accounts: funding, commissions, profits, transfers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from itertools import count


class IncomeType(StrEnum):
    """Kinds of income, in the venue's words."""

    FUNDING_FEE = "FUNDING_FEE"
    COMMISSION = "COMMISSION"
    REALIZED_PNL = "REALIZED_PNL"
    TRANSFER = "TRANSFER"
    INSURANCE_CLEAR = "INSURANCE_CLEAR"


@dataclass(frozen=True, slots=True)
class Income:
    """One change of a futures wallet; `amount` is signed."""

    tran_id: int
    type: IncomeType
    symbol: str
    asset: str
    amount: Decimal
    time: datetime
    trade_id: int | None = None


class IncomeHistory:
    """Income rows of every account, in the order they happened."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Income]] = defaultdict(list)
        # apart from order and trade ids, so that a mix-up of the two shows
        self._ids = count(9_000_000_001)

    def add(
        self,
        account: str,
        type_: IncomeType,
        symbol: str,
        asset: str,
        amount: Decimal,
        time: datetime,
        trade_id: int | None = None,
    ) -> None:
        """Append one row; a zero amount leaves none, as on the venue."""
        # the venue lists no rows of nothing
        if amount:
            row = Income(next(self._ids), type_, symbol, asset, amount, time, trade_id)
            self._rows[account].append(row)

    def rows(self, account: str) -> list[Income]:
        """Return the rows of one account, oldest first."""
        return self._rows[account]
