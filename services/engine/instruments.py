"""What can be traded and by which rules, as the engine's decisions see it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class InstrumentKind(StrEnum):
    """Kind of an instrument."""

    SPOT = "spot"
    PERPETUAL = "perpetual"


class LegSide(StrEnum):
    """One of the two legs of a hedged position, by direction."""

    LONG = "long"
    SHORT = "short"

    @property
    def other(self) -> LegSide:
        """The leg on the other side."""
        return LegSide.SHORT if self is LegSide.LONG else LegSide.LONG


class PositionMode(StrEnum):
    """How an account books opposite orders in one perpetual."""

    ONE_WAY = "one_way"
    HEDGE = "hedge"


@dataclass(frozen=True, slots=True)
class InstrumentRef:
    """One tradable thing on one venue: `exchange` is the venue's configured name."""

    exchange: str
    symbol: str
    kind: InstrumentKind


@dataclass(frozen=True, slots=True)
class InstrumentRules:
    """Trading rules of one instrument; quantities in base units, prices per single coin.

    `max_quantity` and `max_market_quantity` are None where the venue names none. `use_margin` is
    true for a short spot leg, whose orders borrow. `base_fee_ratio` is the taker fee where the fee
    of a buy is taken in the base coin (spot), else 0. `initial_margin_ratio` is the share of the
    notional that must be free to open (1 / leverage; 1 for spot and where the leverage is unknown).
    """

    ref: InstrumentRef
    base_asset: str
    quote_asset: str
    lot_size: Decimal
    tick_size: Decimal
    min_quantity: Decimal
    min_notional: Decimal
    max_quantity: Decimal | None = None
    max_market_quantity: Decimal | None = None
    trading: bool = True
    use_margin: bool = False
    margin_allowed: bool = False
    base_fee_ratio: Decimal = Decimal(0)
    taker_fee_ratio: Decimal = Decimal(0)
    initial_margin_ratio: Decimal = Decimal(1)

    @property
    def is_perpetual(self) -> bool:
        """Whether the instrument is a perpetual."""
        return self.ref.kind is InstrumentKind.PERPETUAL


@dataclass(frozen=True, slots=True)
class BookLevel:
    """One price level of an order book."""

    price: Decimal
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Book:
    """Order book of one instrument: bids from the highest, asks from the lowest price."""

    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]
