"""Settings of the strategy: table `[strategy]` of the engine."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, model_validator

from services.common.settings import SettingsPart
from services.engine.strategy_policy import StrategyPolicy
from services.engine.strategy_words import StrategyMode

_POLICY = StrategyPolicy()
_OURS = frozenset({"mode", "max_offer_age", "stream_silence"})
Ratio = Annotated[Decimal, Field(ge=0, le=1)]
Apr = Annotated[Decimal, Field(gt=-10, lt=100)]
Notional = Annotated[Decimal, Field(gt=0)]
Patience = Annotated[timedelta, Field(ge=timedelta(0), le=timedelta(days=30))]


class StrategySettings(SettingsPart):
    """Who takes opportunities, and when; see services.engine.strategy_policy for what each means.

    `max_offer_age` bounds the age of an opportunity by the engine's own clock; `stream_silence` is
    how long the scanner's stream may bring nothing before it counts as lost.
    """

    mode: StrategyMode = StrategyMode.MANUAL
    max_offer_age: timedelta = Field(default=timedelta(minutes=15), gt=timedelta(0))
    # The scanner's heartbeat comes every ten seconds.
    stream_silence: timedelta = Field(default=timedelta(seconds=25), ge=timedelta(seconds=1))
    enter_net_apr: Apr = _POLICY.enter_net_apr
    exit_gross_apr: Apr = _POLICY.exit_gross_apr
    refused_caveats: frozenset[str] = _POLICY.refused_caveats
    max_basis_ratio: Ratio = _POLICY.max_basis_ratio
    target_notional: Notional = _POLICY.target_notional
    min_notional: Notional = _POLICY.min_notional
    capacity_share: Annotated[Decimal, Field(gt=0, le=1)] = _POLICY.capacity_share
    max_venue_notional: Notional = _POLICY.max_venue_notional
    max_symbol_notional: Notional = _POLICY.max_symbol_notional
    max_total_notional: Notional = _POLICY.max_total_notional
    max_positions: int = Field(default=_POLICY.max_positions, ge=1, le=1000)
    symbol_cooldown: Patience = _POLICY.symbol_cooldown
    refusal_cooldown: Patience = _POLICY.refusal_cooldown
    flip_patience: Patience = _POLICY.flip_patience
    gone_patience: Patience = _POLICY.gone_patience
    rotation_gain: Decimal | None = Field(default=_POLICY.rotation_gain, ge=1, le=1000)
    reduce_band: Ratio = _POLICY.reduce_band
    decide_interval: timedelta = Field(
        default=_POLICY.decide_interval, ge=timedelta(milliseconds=100), le=timedelta(minutes=10)
    )
    repeat_interval: Patience = _POLICY.repeat_interval

    @model_validator(mode="after")
    def _leaves_later_than_it_enters(self) -> Self:
        # Equal bounds would enter and leave with every tick around them.
        if self.exit_gross_apr >= self.enter_net_apr:
            raise ValueError("exit_gross_apr is not below enter_net_apr")
        if self.min_notional > self.target_notional:
            raise ValueError("min_notional is above target_notional")
        return self

    def policy(self) -> StrategyPolicy:
        """Return it as the core takes it."""
        return StrategyPolicy(**self.model_dump(exclude=set(_OURS)))
