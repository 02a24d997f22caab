"""Settings of the engine's process."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from services.common.settings import (
    EndpointSettings,
    ServiceSettings,
    SettingsPart,
    VenueSettings,
    is_loopback,
)
from services.common.tracing_settings import TracingSettings
from services.engine.guard_facts import GuardLimits, GuardPace
from services.engine.page.settings import PageSettings
from services.engine.policy import EngineLimits, EnginePolicy
from services.engine.risk_limits import RiskLimits
from services.engine.shared_journal_settings import SharedJournalSettings
from services.engine.strategy_settings import StrategySettings
from services.engine.strategy_words import StrategyMode

_LIMITS = EngineLimits()
_POLICY = EnginePolicy()
_RISK = RiskLimits()
_GUARDS = GuardLimits()
_PACE = GuardPace()


def _widening(ratios: tuple[Decimal, ...]) -> tuple[Decimal, ...]:
    if list(ratios) != sorted(ratios):
        raise ValueError("each attempt's bound must be at least as wide as the one before")
    return ratios


BoundRatios = Annotated[
    tuple[Annotated[Decimal, Field(gt=0, lt=1)], ...],
    Field(min_length=1, max_length=35),
    AfterValidator(_widening),
]
"""Bounds of the attempts in turn, as fractions of the price."""

# A wait of nothing would hammer a venue that refuses; one of minutes leaves a leg where it is.
ShortWait = Annotated[timedelta, Field(ge=timedelta(milliseconds=1), le=timedelta(minutes=1))]
"""Wait between two tries of an exit or two questions about an order."""


class LimitSettings(SettingsPart):
    """What may be opened; notionals of one leg in quote asset."""

    # The core has no limits of its own; a process without a file has these.
    max_leg_notional: Decimal | None = Field(default=Decimal(10_000), gt=0)
    max_symbol_notional: Decimal | None = Field(default=Decimal(20_000), gt=0)
    max_total_notional: Decimal | None = Field(default=Decimal(100_000), gt=0)
    max_open_positions: int = Field(default=_LIMITS.max_open_positions, ge=1, le=10_000)
    max_slippage_bound_ratio: Decimal = Field(default=_LIMITS.max_slippage_bound_ratio, gt=0, lt=1)
    max_book_age: timedelta = Field(default=_LIMITS.max_book_age, gt=timedelta(0))

    def limits(self) -> EngineLimits:
        """Return them as the core takes them."""
        return EngineLimits(**self.model_dump())


class PolicySettings(SettingsPart):
    """How positions are worked; see services.engine.policy for what each means."""

    lead_bound_ratio: Decimal = Field(default=_POLICY.lead_bound_ratio, gt=0, lt=1)
    hedge_bound_ratios: BoundRatios = _POLICY.hedge_bound_ratios
    unhedged_time_budget: timedelta = Field(default=_POLICY.unhedged_time_budget, gt=timedelta(0))
    hedge_attempts: int = Field(default=_POLICY.hedge_attempts, ge=1, le=35)
    max_slice_notional: Decimal | None = Field(default=None, gt=0)
    exit_bound_ratios: BoundRatios = _POLICY.exit_bound_ratios
    exit_market_fallback: bool = _POLICY.exit_market_fallback
    exit_backoff_first: ShortWait = _POLICY.exit_backoff_first
    exit_backoff_last: ShortWait = _POLICY.exit_backoff_last
    max_exit_slice_notional: Decimal | None = Field(default=None, gt=0)
    exits_at_once: int = Field(default=_POLICY.exits_at_once, ge=2, le=512)
    resolve_interval_first: ShortWait = _POLICY.resolve_interval_first
    resolve_interval_last: ShortWait = _POLICY.resolve_interval_last
    touch_timeout: Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(seconds=10))] = (
        _POLICY.touch_timeout
    )
    # Binance USD-M answers no more levels than that in one call.
    book_depth: int = Field(default=_POLICY.book_depth, ge=1, le=1000)
    call_timeout: timedelta = Field(default=_POLICY.call_timeout, gt=timedelta(0))
    place_timeout: timedelta = Field(default=_POLICY.place_timeout, gt=timedelta(0))
    funding_read_interval: timedelta = Field(default=_POLICY.funding_read_interval, gt=timedelta(0))
    funding_read_spacing: timedelta = Field(default=_POLICY.funding_read_spacing, gt=timedelta(0))
    unhedged_notional_budget: Decimal | None = Field(default=None, gt=0)
    min_size_ratio: Decimal = Field(default=_POLICY.min_size_ratio, gt=0, le=1)
    passive_entry: bool = _POLICY.passive_entry
    # Faster would spend the venue's order budget on quotes, and exits need it.
    requote_interval: timedelta = Field(
        default=_POLICY.requote_interval, ge=timedelta(milliseconds=200)
    )
    passive_timeout: timedelta = Field(default=_POLICY.passive_timeout, gt=timedelta(0))
    # More often would take what orders need of a venue's allowance.
    reconcile_interval: Annotated[
        timedelta, Field(ge=timedelta(seconds=1), le=timedelta(minutes=5))
    ] = _POLICY.reconcile_interval
    reconcile_confirm_wait: Annotated[
        timedelta, Field(ge=timedelta(milliseconds=100), le=timedelta(minutes=1))
    ] = _POLICY.reconcile_confirm_wait
    reconcile_break_limit: int = Field(default=_POLICY.reconcile_break_limit, ge=1, le=1000)

    @model_validator(mode="after")
    def _waits_grow(self) -> Self:
        for name in ("exit_backoff", "resolve_interval"):
            if getattr(self, f"{name}_first") > getattr(self, f"{name}_last"):
                raise ValueError(f"{name}_first is longer than {name}_last")
        return self

    @model_validator(mode="after")
    def _break_is_confirmed_in_time(self) -> Self:
        if self.reconcile_confirm_wait >= self.reconcile_interval:
            raise ValueError("reconcile_confirm_wait is not shorter than reconcile_interval")
        return self

    def policy(self) -> EnginePolicy:
        """Return it as the core takes it."""
        return EnginePolicy(**self.model_dump())


class RiskSettings(SettingsPart):
    """What stops entries besides `limits`; see services.engine.risk_limits for what each means."""

    max_order_notional: Decimal | None = Field(default=None, gt=0)
    max_venue_notional: Decimal | None = Field(default=None, gt=0)
    max_daily_loss: Decimal | None = Field(default=None, gt=0)
    max_daily_fees: Decimal | None = Field(default=None, gt=0)
    max_consecutive_failures: int | None = Field(default=None, ge=1)
    symbol_cooldown: timedelta = Field(default=_RISK.symbol_cooldown, ge=timedelta(0))
    max_orders_per_minute: int | None = Field(default=None, ge=2)
    max_opportunity_age: timedelta | None = Field(default=None, gt=timedelta(0))

    def limits(self) -> RiskLimits:
        """Return them as the core takes them."""
        return RiskLimits(**self.model_dump())


Ratio = Annotated[Decimal, Field(gt=0, lt=1)]
"""A part of a whole."""


class GuardSettings(SettingsPart):
    """What is watched of open positions; see services.engine.guard_facts for what each means."""

    enabled: bool = True
    interval: timedelta = Field(default=_PACE.interval, ge=timedelta(seconds=1))
    call_timeout: timedelta = Field(default=_PACE.call_timeout, gt=timedelta(0))
    reduce_pause: timedelta = Field(default=_PACE.reduce_pause, ge=timedelta(seconds=1))
    liquidation_warn_distance: Ratio | None = _GUARDS.liquidation_warn_distance
    liquidation_close_distance: Ratio | None = _GUARDS.liquidation_close_distance
    margin_warn_ratio: Ratio | None = _GUARDS.margin_warn_ratio
    margin_close_ratio: Ratio | None = _GUARDS.margin_close_ratio
    max_adverse_basis: Decimal | None = Field(default=None, gt=0)
    basis_intervals: int = Field(default=_GUARDS.basis_intervals, ge=1, le=1000)
    min_carry: Decimal | None = _GUARDS.min_carry
    carry_intervals: int = Field(default=_GUARDS.carry_intervals, ge=1, le=1000)
    close_on_flip: bool = _GUARDS.close_on_flip
    max_venue_silence: timedelta = Field(default=_GUARDS.max_venue_silence, gt=timedelta(0))

    @model_validator(mode="after")
    def _closes_after_it_warns(self) -> Self:
        near, far = self.liquidation_close_distance, self.liquidation_warn_distance
        if near is not None and far is not None and near > far:
            raise ValueError("liquidation_close_distance is above liquidation_warn_distance")
        warn, close = self.margin_warn_ratio, self.margin_close_ratio
        if warn is not None and close is not None and warn > close:
            raise ValueError("margin_warn_ratio is above margin_close_ratio")
        return self

    def pace(self) -> GuardPace:
        """Return how often is looked, as the core takes it."""
        return GuardPace(self.interval, self.call_timeout, self.reduce_pause)

    def limits(self) -> GuardLimits:
        """Return the bounds as the core takes them."""
        paced = {"enabled", "interval", "call_timeout", "reduce_pause"}
        return GuardLimits(**self.model_dump(exclude=paced))


class EngineSettings(ServiceSettings):
    """Everything the engine's process is told."""

    service: ClassVar[str] = "engine"

    journal_path: Path = Path("data/engine/journal.db")
    shared_journal: SharedJournalSettings | None = None
    venues: tuple[VenueSettings, ...] = Field(min_length=1)
    scanner: EndpointSettings | None = None
    limits: LimitSettings = LimitSettings()
    policy: PolicySettings = PolicySettings()
    risk: RiskSettings = RiskSettings()
    guards: GuardSettings = GuardSettings()
    strategy: StrategySettings = StrategySettings()
    page: PageSettings | None = None
    tracing: TracingSettings | None = None
    """Where traces are sent; without it none are made."""

    @model_validator(mode="after")
    def _venue_names_are_unique(self) -> Self:
        names = [venue.name for venue in self.venues]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two venues are named {twice[0]}; each needs a name of its own")
        return self

    @model_validator(mode="after")
    def _strategy_has_a_scanner(self) -> Self:
        if self.strategy.mode is not StrategyMode.MANUAL and self.scanner is None:
            raise ValueError(f"strategy.mode is {self.strategy.mode.value} without a [scanner]")
        return self

    @model_validator(mode="after")
    def _readers_of_the_page_are_known(self) -> Self:
        page, is_open = self.page, self.grpc.token_file is None and not self.grpc.principals
        if page is not None and is_open and not is_loopback(page.host):
            raise ValueError(f"page.host {page.host} needs grpc.token_file or grpc.principals")
        return self
