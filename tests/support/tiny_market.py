"""A market small enough to reckon by hand: fixed prices, equal steps, moved by the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from services.simulator.market.source import (
    Book,
    BookLevel,
    Candle,
    DayTicker,
    FundingSettlement,
    FundingState,
    InstrumentSpec,
    Kind,
)

START = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
TICK = Decimal("0.10")
LOT = Decimal("0.001")


# Not frozen: the test moves it.
@dataclass
class HandClock:
    """A wire clock the test moves."""

    instant: datetime = START

    def now(self) -> datetime:
        """Return the instant set last."""
        return self.instant

    def move(self, seconds: float) -> None:
        """Move ahead."""
        self.instant += timedelta(seconds=seconds)


def spec(kind: Kind, symbol: str = "BTCUSDT", **changes: object) -> InstrumentSpec:
    """Return an instrument with round numbers."""
    made = InstrumentSpec(
        symbol=symbol,
        kind=kind,
        base_asset=symbol.removesuffix("USDT"),
        quote_asset="USDT",
        settle_asset="USDT" if kind is Kind.PERPETUAL else None,
        status="TRADING",
        tick_size=TICK,
        lot_size=LOT,
        min_quantity=LOT,
        max_quantity=Decimal(1000),
        market_max_quantity=Decimal(100),
        min_notional=Decimal(5),
        price_precision=2,
        quantity_precision=3,
        base_precision=8,
        onboard_time=datetime(2020, 1, 1, tzinfo=UTC),
        delivery_time=None,
        margin_allowed=True,
        max_leverage=125,
        maintenance_margin_ratio=Decimal("0.005"),
        funding_cap=Decimal("0.02"),
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # names are checked by replace


# Not frozen: the test moves the price.
@dataclass
class TinyMarket:
    """Every symbol trades around `price`; one unit rests on each of twenty levels a tick apart."""

    price: Decimal = Decimal(100)
    level_quantity: Decimal = Decimal(1)
    start: datetime = START
    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT")
    paid: list[FundingSettlement] = field(default_factory=list)
    changes: dict[str, dict[str, object]] = field(default_factory=dict)

    def instruments(self, kind: Kind, now: datetime) -> Sequence[InstrumentSpec]:
        """Return every symbol."""
        return [spec(kind, symbol, **self.changes.get(symbol, {})) for symbol in self.symbols]

    def instrument(self, kind: Kind, symbol: str) -> InstrumentSpec | None:
        """Return one symbol."""
        return spec(kind, symbol) if symbol in self.symbols else None

    def book(self, kind: Kind, symbol: str, now: datetime, depth: int = 20) -> Book:
        """Return the ladder: bids from one tick under the price, asks from one tick over it."""
        bids = (self.price - TICK * step for step in range(1, min(depth, 20) + 1))
        asks = (self.price + TICK * step for step in range(1, min(depth, 20) + 1))
        return Book(
            tuple(BookLevel(price, self.level_quantity) for price in bids),
            tuple(BookLevel(price, self.level_quantity) for price in asks),
            int(now.timestamp() * 1000),
        )

    def last_price(self, kind: Kind, symbol: str, now: datetime) -> Decimal:
        """Return the price."""
        return self.price

    def mark_price(self, symbol: str, now: datetime) -> Decimal:
        """Return the price."""
        return self.price

    def index_price(self, symbol: str, now: datetime) -> Decimal:
        """Return the price."""
        return self.price

    def day_ticker(self, kind: Kind, symbol: str, now: datetime) -> DayTicker:
        """Return a day on which nothing moved."""
        price = self.price
        volume = Decimal(1000)
        return DayTicker(
            symbol, price, price, price, price, volume, volume * price,
            Decimal(0), Decimal(0), now - timedelta(days=1), now, 10,
        )  # fmt: skip

    def candles(
        self,
        kind: Kind,
        symbol: str,
        interval: timedelta,
        start: datetime | None,
        end: datetime | None,
        limit: int,
        now: datetime,
    ) -> Sequence[Candle]:
        """Return one flat candle."""
        price = self.price
        return [
            Candle(now, now + interval, price, price, price, price, Decimal(1), price, 1),
        ]

    def funding_state(self, symbol: str, now: datetime) -> FundingState:
        """Return a fixed rate every eight hours."""
        hours = timedelta(hours=8)
        rate = Decimal("0.0001")
        return FundingState(symbol, self.price, self.price, rate, rate, now + hours, hours)

    def settlements(
        self,
        symbol: str | None,
        start: datetime | None,
        end: datetime | None,
        limit: int,
        now: datetime,
    ) -> Sequence[FundingSettlement]:
        """Return what the test has put into `paid`."""
        return [row for row in self.paid if symbol in (None, row.symbol) and row.time <= now]

    def settlements_between(self, after: datetime, upto: datetime) -> Sequence[FundingSettlement]:
        """Return what the test has put into `paid` for the span."""
        return [row for row in self.paid if after < row.time <= upto]

    def open_interest(self, symbol: str, now: datetime) -> Decimal:
        """Return a thousand."""
        return Decimal(1000)

    def funding_intervals(self, now: datetime) -> Mapping[str, timedelta]:
        """Return eight hours for every symbol."""
        return dict.fromkeys(self.symbols, timedelta(hours=8))
