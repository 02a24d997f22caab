"""Funding whose rate becomes known after the settlement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from services.simulator.core.accounts import Accounts, AccountSeed
from services.simulator.core.clock import MarketClock
from services.simulator.core.events import Event
from services.simulator.core.income import IncomeHistory, IncomeType
from services.simulator.core.late_funding import GIVEN_UP_AFTER, LateFundingDesk
from services.simulator.core.market import Market
from services.simulator.core.matching import Liquidity
from services.simulator.core.orders import PositionSide
from services.simulator.core.positions import apply
from services.simulator.market.source import FundingSettlement, FundingState
from tests.support.tiny_market import START, HandClock, TinyMarket

SETTLES = START + timedelta(minutes=30)
EIGHT = timedelta(hours=8)
RATE = FundingSettlement("BTCUSDT", SETTLES, Decimal("0.001"), Decimal(100), EIGHT)


# Not frozen: the test moves the market.
@dataclass
class ScheduledMarket(TinyMarket):
    """The tiny market with a settlement that is announced."""

    next_time: datetime | None = SETTLES

    def funding_state(self, symbol: str, now: datetime) -> FundingState:
        """Return the announced settlement."""
        return replace(super().funding_state(symbol, now), next_time=self.next_time)


class Rig:
    """One account with a desk of its own."""

    def __init__(self) -> None:
        self.wire = HandClock()
        self.source = ScheduledMarket()
        self.accounts = Accounts([AccountSeed("paper", "key", "secret")])
        self.income = IncomeHistory()
        clock = MarketClock(self.wire, START)
        liquidity = Liquidity(self.source, timedelta(seconds=10), 20)
        market = Market(self.source, clock, liquidity)
        self.desk = LateFundingDesk(market, self.accounts, self.income)
        self.events: list[Event] = []

    def trade(self, quantity: str) -> None:
        """Change the position."""
        futures = self.accounts.by_name("paper").futures
        position = futures.position("BTCUSDT", PositionSide.BOTH)
        apply(position, Decimal(quantity), Decimal(100), self.wire.now())

    def advance(self, seconds: float = 0) -> None:
        """Let time pass, and what is due happen."""
        self.wire.move(seconds)
        self.desk.advance(self.events.append)

    def paid(self) -> list[Decimal]:
        """Return the payments that were booked."""
        return [
            row.amount for row in self.income.rows("paper") if row.type is IncomeType.FUNDING_FEE
        ]


def test_what_was_held_at_the_settlement_is_paid_when_the_rate_is_known() -> None:
    """What was traded between settlement and rate changes nothing."""
    rig = Rig()
    rig.trade("-2")
    rig.advance()
    rig.advance(1801)
    assert rig.desk.unpaid == [("BTCUSDT", SETTLES)]
    assert rig.paid() == []
    rig.trade("-5")
    rig.source.paid = [RATE]
    rig.advance(7)
    assert rig.paid() == [Decimal("0.2")]
    assert rig.income.rows("paper")[0].time == SETTLES
    assert len(rig.events) == 1
    rig.advance(7)
    assert rig.paid() == [Decimal("0.2")]
    assert rig.desk.unpaid == []


def test_a_position_opened_after_the_settlement_is_not_paid() -> None:
    """Not even while the venue's announcement is still the old one."""
    rig = Rig()
    rig.advance()
    rig.advance(1801)
    rig.trade("3")
    rig.advance(1)
    rig.source.paid = [RATE]
    rig.advance(1)
    assert rig.paid() == []


def test_a_position_closed_before_the_settlement_is_not_paid() -> None:
    """It was looked ahead for, and nothing is awaited."""
    rig = Rig()
    rig.trade("3")
    rig.advance()
    rig.trade("-3")
    rig.advance(1801)
    assert rig.desk.unpaid == []


def test_a_settlement_that_was_moved_is_paid_at_its_new_time() -> None:
    """The venue may announce another time until the last."""
    rig = Rig()
    rig.trade("-1")
    rig.advance()
    rig.source.next_time = SETTLES + timedelta(hours=1)
    rig.advance(60)
    rig.advance(1800)
    assert rig.desk.unpaid == []
    rig.advance(3600)
    assert rig.desk.unpaid == [("BTCUSDT", SETTLES + timedelta(hours=1))]


def test_a_settlement_that_never_took_place_is_given_up() -> None:
    """A day later nothing is awaited any more."""
    rig = Rig()
    rig.trade("-1")
    rig.advance()
    rig.source.next_time = None
    rig.advance(1801)
    assert rig.desk.unpaid
    assert rig.desk.given_up == []
    rig.advance(GIVEN_UP_AFTER.total_seconds())
    assert rig.desk.unpaid == []
    assert rig.desk.given_up == [("BTCUSDT", SETTLES)]
    assert rig.paid() == []
