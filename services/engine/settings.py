"""Settings of the engine's process."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, model_validator

from services.common.settings import (
    ClientTlsSettings,
    SecretFile,
    ServiceSettings,
    SettingsPart,
    VenueSettings,
)
from services.engine.policy import EngineLimits, EnginePolicy

_LIMITS = EngineLimits()
_POLICY = EnginePolicy()


class ScannerSettings(SettingsPart):
    """The scanner to ask for opportunities."""

    address: str
    token_file: SecretFile | None = None
    tls: ClientTlsSettings | None = None
    call_timeout: timedelta = Field(default=timedelta(seconds=10), gt=timedelta(0))


class LimitSettings(SettingsPart):
    """What may be opened; notionals of one leg in quote asset."""

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
    hedge_bound_ratios: tuple[Decimal, ...] = Field(
        default=_POLICY.hedge_bound_ratios, min_length=1
    )
    unhedged_time_budget: timedelta = Field(default=_POLICY.unhedged_time_budget, gt=timedelta(0))
    hedge_attempts: int = Field(default=_POLICY.hedge_attempts, ge=1, le=35)
    max_slice_notional: Decimal | None = Field(default=None, gt=0)
    exit_bound_ratios: tuple[Decimal, ...] = Field(default=_POLICY.exit_bound_ratios, min_length=1)
    exit_market_fallback: bool = _POLICY.exit_market_fallback
    call_timeout: timedelta = Field(default=_POLICY.call_timeout, gt=timedelta(0))
    place_timeout: timedelta = Field(default=_POLICY.place_timeout, gt=timedelta(0))
    funding_read_interval: timedelta = Field(default=_POLICY.funding_read_interval, gt=timedelta(0))

    def policy(self) -> EnginePolicy:
        """Return it as the core takes it."""
        return EnginePolicy(**self.model_dump())


class EngineSettings(ServiceSettings):
    """Everything the engine's process is told."""

    service: ClassVar[str] = "engine"

    journal_path: Path = Path("data/engine/journal.db")
    venues: tuple[VenueSettings, ...] = Field(min_length=1)
    scanner: ScannerSettings | None = None
    limits: LimitSettings = LimitSettings()
    policy: PolicySettings = PolicySettings()

    @model_validator(mode="after")
    def _venue_names_are_unique(self) -> Self:
        names = [venue.name for venue in self.venues]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two venues are named {twice[0]}; each needs a name of its own")
        return self
