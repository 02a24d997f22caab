"""Means, hit rates and confidence intervals of what the methods of a backtest earned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from services.scanner.backtest_walk import Method, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.scanner.funding import FloatArray

_DAY_MINUTES = 1440
_DRAWS = 4000
_TAILS = (2.5, 97.5)
# Of fewer dates a bootstrap draws the same few means over and over and looks surer than it is.
MIN_INDEPENDENT_DATES = 5


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class MethodFigures:
    """One method at one horizon. Returns are fractions of the notional of all places, not a year.

    `gross`, `net` and `median_net` are over all dates, a day apart, whose days held overlap.
    `independent_net` and `behind_score` (how much more the score earned, date by date) are over the
    dates of which no two overlap; None where those are too few. `net_by_half` splits the dates in
    two; `net_of_position` is the mean over the positions held instead of the places.
    """

    method: Method
    horizon_days: int
    date_count: int
    independent_date_count: int
    mean_position_count: float
    gross: float
    net: float
    median_net: float
    net_of_position: float | None
    gross_hit_ratio: float | None
    net_hit_ratio: float | None
    net_by_half: tuple[float, float]
    covered_ratio: float
    independent_net: Interval | None
    behind_score: Interval | None


def method_figures(outcomes: Sequence[Outcome], seed: int) -> tuple[MethodFigures, ...]:
    """Return the figures of every horizon and method among the outcomes, in order of horizon.

    `seed` fixes the draws of the bootstrap.
    """
    groups: dict[tuple[int, Method], list[Outcome]] = {}
    for each in outcomes:
        groups.setdefault((each.horizon_days, each.method), []).append(each)
    return tuple(
        _figures(groups[days, method], groups[days, Method.SCORE], seed)
        for days, method in sorted(groups, key=lambda key: (key[0], list(Method).index(key[1])))
    )


def independent(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes, sorted by date, whose days held do not overlap."""
    if not outcomes:
        return []
    span = outcomes[0].horizon_days * _DAY_MINUTES
    return [each for each in outcomes if (each.minute - outcomes[0].minute) % span == 0]


def bootstrap(values: FloatArray, seed: int) -> Interval | None:
    """Return the mean of independent values and the interval that 95 % of resampled means are in.

    None for fewer than MIN_INDEPENDENT_DATES values.
    """
    if values.size < MIN_INDEPENDENT_DATES:
        return None
    drawn = np.random.default_rng(seed).integers(0, values.size, (_DRAWS, values.size))
    low, high = np.percentile(values[drawn].mean(axis=1), _TAILS)
    return Interval(float(values.mean()), float(low), float(high))


def _figures(held: Sequence[Outcome], score: Sequence[Outcome], seed: int) -> MethodFigures:
    net = np.array([each.net for each in held])
    apart = np.array([each.net for each in independent(held)])
    lead = np.array([each.net for each in independent(score)]) - apart
    positions = sum(each.position_count for each in held)
    # Summed back from places to positions: the mean over dates would count a date with one
    # position as much as one with ten.
    total = sum(each.net * each.place_count for each in held)
    half = len(held) // 2
    return MethodFigures(
        method=held[0].method,
        horizon_days=held[0].horizon_days,
        date_count=len(held),
        independent_date_count=apart.size,
        mean_position_count=positions / len(held),
        gross=float(np.mean([each.gross for each in held])),
        net=float(net.mean()),
        median_net=float(np.median(net)),
        net_of_position=total / positions if positions else None,
        gross_hit_ratio=_ratio(sum(each.gross_hit_count for each in held), positions),
        net_hit_ratio=_ratio(sum(each.net_hit_count for each in held), positions),
        net_by_half=(_mean(net[:half]), _mean(net[half:])),
        covered_ratio=float(np.mean([each.covered_ratio for each in held])),
        independent_net=bootstrap(apart, seed),
        behind_score=None if held[0].method is Method.SCORE else bootstrap(lead, seed),
    )


def _ratio(count: int, total: int) -> float | None:
    return count / total if total else None


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if values.size else 0.0
