"""The quality score: one formula, every factor of it in the result.

`score = product over factors of factor ** (weight / sum of weights)`: a weighted geometric mean of
factors in [0, 1], so that no strength makes up for a factor of zero. docs/quality-score.md explains
each factor and works an example.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.scanner.joint_regime import paying_hours

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.scanner.analytics import FundingStatistics
    from services.scanner.rules import ScoreRules


@dataclass(frozen=True, slots=True)
class FundingLeg:
    """Statistics of a perpetual leg; `direction` is +1 where it is short (receives positive
    rates), -1 long.
    """

    statistics: FundingStatistics
    direction: int

    @property
    def favour_ratio(self) -> float:
        """Share of settlements that paid this leg."""
        statistics = self.statistics
        return statistics.positive_ratio if self.direction > 0 else statistics.negative_ratio

    @property
    def is_favoured(self) -> bool:
        """Whether the regime now pays this leg."""
        return self.statistics.regime_sign == self.direction


@dataclass(frozen=True, slots=True)
class ScoreInput:
    """What the score stands on, besides the funding legs; `regime_hours` of the pair."""

    net_apr: float
    regime_hours: float
    quote_volume: float
    basis_ratio: float | None


def window_carry(legs: Sequence[FundingLeg], days: int) -> float:
    """Return the pair's carry a year over the window of `days`, signed from the position's side."""
    return sum(leg.direction * leg.statistics.window(days).annualized_rate for leg in legs)


def naive_carry(legs: Sequence[FundingLeg]) -> float:
    """Return what the carry would be if every interval were eight hours; for comparison only."""
    return sum(leg.direction * leg.statistics.naive_annualized_rate for leg in legs)


def favourable_regime_hours(legs: Sequence[FundingLeg]) -> float:
    """Return the age of the regime that pays the position; 0 when it is not paid now.

    That of one perpetual is its own; of two it is the run in which their difference pays.
    """
    by_direction = {leg.direction: leg.statistics for leg in legs}
    if len(by_direction) == 2:
        return paying_hours(by_direction[-1].history, by_direction[1].history)
    return legs[0].statistics.regime_hours if legs[0].is_favoured else 0.0


def score_factors(
    legs: Sequence[FundingLeg], given: ScoreInput, rules: ScoreRules
) -> Mapping[str, float]:
    """Return every factor of the score by name, each in [0, 1]."""
    days = [window.days for window in legs[0].statistics.windows]
    agreeing = sum(1 for each in days if window_carry(legs, each) > 0)
    # Nobody knows the basis: neither good nor bad.
    basis = abs(given.basis_ratio) if given.basis_ratio is not None else rules.basis_half_ratio
    return {
        "carry": _saturate(given.net_apr, rules.carry_half_apr),
        "stability": _stability(legs),
        "consistency": sum(leg.favour_ratio for leg in legs) / len(legs),
        "persistence": _saturate(given.regime_hours, rules.persistence_half_hours),
        "agreement": agreeing / len(days),
        "coverage": min(1.0, *(leg.statistics.window(max(days)).coverage_ratio for leg in legs)),
        "liquidity": _saturate(given.quote_volume, rules.liquidity_half_volume),
        "basis": rules.basis_half_ratio / (rules.basis_half_ratio + basis),
    }


def quality_score(factors: Mapping[str, float], rules: ScoreRules) -> float:
    """Return the weighted geometric mean of the factors, in [0, 1]; a weight of zero leaves one
    out.
    """
    weights = {name: rules.weights.get(name, 0.0) for name in factors}
    total = sum(weights.values())
    if total <= 0:
        return 0.0
    logs = 0.0
    for name, factor in factors.items():
        if weights[name] > 0:
            # The logarithm of zero is the point of a geometric mean: such a pair scores zero.
            if factor <= 0:
                return 0.0
            logs += weights[name] * math.log(min(factor, 1.0))
    return math.exp(logs / total)


def _saturate(value: float, half: float) -> float:
    """Map [0, infinity) to [0, 1) with one half at `half`; below zero is zero."""
    return value / (value + half) if value > 0 else 0.0


def _stability(legs: Sequence[FundingLeg]) -> float:
    """Mean carry over itself plus the deviation of a settlement, both a year; 0 when the mean is
    against us.
    """
    mean = sum(leg.direction * leg.statistics.annualized_rate for leg in legs)
    deviation = math.hypot(*(leg.statistics.annualized_deviation for leg in legs))
    return mean / (mean + deviation) if mean > 0 else 0.0
