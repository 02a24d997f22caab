"""Settings of the scanner: venues to read, workers, thresholds, when to scan."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from services.common.settings import ServiceSettings, SettingsPart, VenueSettings
from services.common.tracing_settings import TracingSettings
from services.scanner.live_settings import LiveSettings
from services.scanner.nats_settings import NatsSettings
from services.scanner.rules import (
    DEFAULT_WEIGHTS,
    CostRules,
    QuarantineRules,
    ScanRules,
    ScoreRules,
    UniverseRules,
)
from services.scanner.venue_bounds import MAX_WORKERS


class UniverseSettings(SettingsPart):
    """What makes a leg liquid enough to be looked at."""

    min_quote_volume: Decimal = Field(default=Decimal(1_000_000), ge=0)
    max_half_spread_ratio: Decimal = Field(default=Decimal("0.005"), gt=0)
    max_basis_ratio: Decimal = Field(default=Decimal("0.1"), gt=0)
    """Legs whose prices stand further apart are taken for different coins of one name."""


class HistorySettings(SettingsPart):
    """Where funding histories are kept over restarts, and how long a refusal is believed."""

    path: Path = Path("data/scanner/history.db")
    """One file a scanner; venues of the same name in two files may be different ones."""
    refusal_seconds: float = Field(default=1800.0, gt=0)
    """How long a symbol the venue does not know, or history it has not, is not asked for again."""


class QuarantineSettings(SettingsPart):
    """What makes a funding history unfit."""

    min_settlement_count: int = Field(default=9, ge=2)
    min_covered_hours: float = Field(default=72.0, gt=0)
    max_zero_run_count: int = Field(default=12, ge=1)
    max_rate: float = Field(default=0.05, gt=0)
    dead_after_intervals: float = Field(default=2.0, ge=1)


class CostSettings(SettingsPart):
    """Costs that stand in where no venue told one, and the bounds of the expected holding time."""

    default_taker_fee_ratio: Decimal = Field(default=Decimal("0.001"), ge=0, lt=1)
    default_half_spread_ratio: Decimal | None = Field(default=None, ge=0, lt=1)
    default_borrow_apr: Decimal | None = Field(default=None, ge=0)
    min_holding_hours: float = Field(default=24.0, gt=0)
    max_holding_hours: float = Field(default=720.0, gt=0)
    notional: Decimal = Field(default=Decimal(10_000), ge=Decimal("0.01"), le=10**12)
    """Size of one leg, in quote asset, that slippage is computed for."""
    book_depth: int = Field(default=100, ge=1, le=1000)
    """Levels of each side of an order book to read; venues weigh a call by them."""
    book_max_age_seconds: float = Field(default=30.0, gt=0)
    """An order book that its venue stamped longer ago than this is not walked."""

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.max_holding_hours < self.min_holding_hours:
            raise ValueError("max_holding_hours must not be under min_holding_hours")
        return self


class ScoreSettings(SettingsPart):
    """Weights and half-way points of the quality score; docs/quality-score.md explains them.

    A weight that is not named keeps its default, a weight of 0 leaves its factor out.
    """

    weights: dict[str, float] = Field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    carry_half_apr: float = Field(default=0.20, gt=0, allow_inf_nan=False)
    persistence_half_hours: float = Field(default=72.0, gt=0, allow_inf_nan=False)
    liquidity_half_volume: float = Field(default=10_000_000.0, gt=0, allow_inf_nan=False)
    basis_half_ratio: float = Field(default=0.01, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _weights_are_known(self) -> Self:
        unknown = sorted(self.weights.keys() - DEFAULT_WEIGHTS.keys())
        if unknown:
            raise ValueError(f"unknown factors: {', '.join(unknown)}")
        # TOML knows nan and inf, and neither is below zero.
        if any(not 0 <= weight < math.inf for weight in self.weights.values()):
            raise ValueError("weights must be finite and not negative")
        self.weights.update({**DEFAULT_WEIGHTS, **self.weights})
        if not sum(self.weights.values()):
            raise ValueError("one weight must be above zero")
        return self


class ScannerSettings(ServiceSettings):
    """Settings of one scanner process."""

    service: ClassVar[str] = "scanner"

    venues: tuple[VenueSettings, ...] = Field(min_length=1)
    workers: int = Field(default=16, ge=1, le=MAX_WORKERS)
    venue_concurrency: dict[str, Annotated[int, Field(ge=1, le=MAX_WORKERS)]] = Field(
        default_factory=dict
    )
    """Most readings of a venue at once, by its name; without one an even bound by `workers`."""
    queue_capacity: int = Field(default=256, ge=1, le=65_536)
    scan_interval_seconds: float = Field(default=0.0, ge=0)
    """Time from the end of a scan to the start of the next; 0 scans on request only."""
    scan_timeout_seconds: float = Field(default=600.0, gt=0)
    task_timeout_seconds: float = Field(default=120.0, gt=0)
    """Longest time one reading may take with its pages and its waits for a rate limit."""
    read_attempts: int = Field(default=4, ge=1, le=20)
    lifetime_seconds: float = Field(default=600.0, gt=0)
    """How long after its market data was read an opportunity may be acted upon."""
    history_days: int = Field(default=30, ge=1, le=365)
    history_page_size: int = Field(default=1000, ge=1, le=1000)
    shortlist_count: int = Field(default=20, ge=0, le=500)
    """Opportunities whose perpetuals are asked for candles and open interest."""
    max_opportunities: int = Field(default=2000, ge=1, le=20_000)
    max_subscribers: int = Field(default=1000, ge=1, le=10_000)
    heartbeat_seconds: float = Field(default=10.0, gt=0)
    max_lag_seconds: float = Field(default=60.0, gt=0)
    """How long a watcher may stay behind before its stream is ended."""
    window_days: Literal[1, 3, 7, 30] = 7
    min_net_apr: Decimal = Decimal(0)
    nats: NatsSettings | None = None
    tracing: TracingSettings | None = None
    history: HistorySettings = HistorySettings()
    universe: UniverseSettings = UniverseSettings()
    quarantine: QuarantineSettings = QuarantineSettings()
    costs: CostSettings = CostSettings()
    score: ScoreSettings = ScoreSettings()
    live: LiveSettings = LiveSettings()

    @model_validator(mode="after")
    def _venues_are_distinct(self) -> Self:
        # The name is the key of everything kept of a venue.
        names = [venue.name for venue in self.venues]
        if len(set(names)) != len(names):
            raise ValueError("two venues have the same name")
        unknown = sorted(self.venue_concurrency.keys() - set(names))
        if unknown:
            raise ValueError(f"venue_concurrency of unknown venues: {', '.join(unknown)}")
        if all(venue.kind == "spot" for venue in self.venues):
            raise ValueError("no venue has perpetuals; configure at least one")
        return self

    def rules(self) -> ScanRules:
        """Return the thresholds as the decision modules take them."""
        quarantine, costs, score = self.quarantine, self.costs, self.score
        return ScanRules(
            universe=UniverseRules(
                self.universe.min_quote_volume,
                self.universe.max_half_spread_ratio,
                self.universe.max_basis_ratio,
            ),
            quarantine=QuarantineRules(
                quarantine.min_settlement_count,
                timedelta(hours=quarantine.min_covered_hours),
                quarantine.max_zero_run_count,
                quarantine.max_rate,
                quarantine.dead_after_intervals,
            ),
            costs=CostRules(
                costs.default_taker_fee_ratio,
                costs.default_half_spread_ratio,
                costs.default_borrow_apr,
                timedelta(hours=costs.min_holding_hours),
                timedelta(hours=costs.max_holding_hours),
                costs.notional,
                costs.book_depth,
                timedelta(seconds=costs.book_max_age_seconds),
            ),
            score=ScoreRules(
                score.weights,
                score.carry_half_apr,
                score.persistence_half_hours,
                score.liquidity_half_volume,
                score.basis_half_ratio,
            ),
            window_days=self.window_days,
            min_net_apr=self.min_net_apr,
            lifetime=timedelta(seconds=self.lifetime_seconds),
            history=timedelta(days=self.history_days),
        )
