"""What the guard desk needs from outside: figures of the venues, and hands to act with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from services.engine.events import GuardActed
from services.engine.guard_facts import GuardFinding, LegMarket


@dataclass(frozen=True, slots=True)
class HoldingFacts:
    """One perpetual position as its venue tells it; None is unknown."""

    size: Decimal
    mark: Decimal | None = None
    liquidation_price: Decimal | None = None
    margin_ratio: Decimal | None = None


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """One venue account: holdings by symbol (what is not named is flat) and its margin ratio.

    `maintenance` and `balance` are the margin demanded and what backs it, None where not told.
    """

    holdings: Mapping[str, HoldingFacts] = field(default_factory=dict)
    margin_ratio: Decimal | None = None
    unified: bool = False
    maintenance: Decimal | None = None
    balance: Decimal | None = None


class RiskReader(Protocol):
    """Figures of one venue account; reads raise `OpensqtError` where nobody answered."""

    async def account(self) -> AccountFacts:
        """Read holdings and margin of the account, in one call."""
        ...

    async def markets(self) -> Mapping[str, LegMarket]:
        """Read marks and funding rates of all perpetuals, in one call; empty for spot."""
        ...


class GuardHands(Protocol):
    """What guards may do; nothing of it opens anything."""

    def trip(self, symbol: str, reason: str) -> None:
        """Stop entries in a symbol until an operator resumes; once per symbol."""
        ...

    async def close_positions(self, reasons: Mapping[str, str]) -> None:
        """Start the exit of these positions, with one durable write; raises `JournalError`."""
        ...

    async def reduce_position(self, position_id: str, ratio: Decimal, reason: str) -> None:
        """Take this share off both legs; raises `JournalError`."""
        ...

    def note(self, event: GuardActed) -> None:
        """Journal what was done and by which figures."""
        ...


class AlertSink(Protocol):
    """Told of every finding when it is new or has become worse; must not block or raise."""

    def raised(self, finding: GuardFinding) -> None:
        """Take one finding."""
        ...
