"""The scanner's thresholds as plain values; `settings` reads them, decision modules obey them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_WEIGHTS: Mapping[str, float] = {
    "carry": 3.0,
    "stability": 2.0,
    "consistency": 2.0,
    "persistence": 1.0,
    "agreement": 1.0,
    "coverage": 1.0,
    "liquidity": 1.0,
    "basis": 0.5,
}


@dataclass(frozen=True, slots=True)
class UniverseRules:
    """What makes a leg liquid: quote volume of 24 hours and half-spread over mid; and how far apart
    the prices of two legs may stand.
    """

    min_quote_volume: Decimal = Decimal(1_000_000)
    max_half_spread_ratio: Decimal = Decimal("0.005")
    max_basis_ratio: Decimal = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class QuarantineRules:
    """What makes a funding history unfit: too short, dead, stuck at zero, beyond belief."""

    min_settlement_count: int = 9
    min_covered: timedelta = timedelta(days=3)
    max_zero_run_count: int = 12
    max_rate: float = 0.05
    dead_after_intervals: float = 2.0


@dataclass(frozen=True, slots=True)
class CostRules:
    """Stand-ins for costs that no venue told, and the bounds of the expected holding time.

    A stand-in of None excludes what would need it. `notional` is the size of one leg, in quote
    asset, that slippage is computed for; of each side of a book `book_depth` levels are read, and
    a book older than `book_max_age` is not walked.
    """

    default_taker_fee_ratio: Decimal = Decimal("0.001")
    default_half_spread_ratio: Decimal | None = None
    default_borrow_apr: Decimal | None = None
    min_holding: timedelta = timedelta(hours=24)
    max_holding: timedelta = timedelta(days=30)
    notional: Decimal = Decimal(10_000)
    book_depth: int = 100
    book_max_age: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class ScoreRules:
    """Weights of the quality score's factors, and the values at which saturating factors are one
    half.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    carry_half_apr: float = 0.20
    persistence_half_hours: float = 72.0
    liquidity_half_volume: float = 10_000_000.0
    basis_half_ratio: float = 0.01


@dataclass(frozen=True, slots=True)
class ScanRules:
    """Everything a scan decides by; `window_days` names the window whose carry should go on."""

    universe: UniverseRules = field(default_factory=UniverseRules)
    quarantine: QuarantineRules = field(default_factory=QuarantineRules)
    costs: CostRules = field(default_factory=CostRules)
    score: ScoreRules = field(default_factory=ScoreRules)
    window_days: int = 7
    min_net_apr: Decimal = Decimal(0)
    lifetime: timedelta = timedelta(minutes=10)
    history: timedelta = timedelta(days=30)
