"""Statistics of windows that end at the last settlement: mean, annualised rate, coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.scanner.funding import FloatArray, IntArray

WINDOW_DAYS = (1, 3, 7, 30)
_HOURS_PER_YEAR = 8760.0
# Hours are sums of floats; a second of a window is no part missing.
_WHOLE = 1 - 1e-9


@dataclass(frozen=True, slots=True)
class WindowStatistics:
    """Rates with a settlement time in (last - days, last], each with all the hours it covered.

    `coverage_ratio` is the hours covered over the hours of the window: below 1 the window is
    partial. `annualized_rate` is the sum of the rates over the hours covered, times 8760.
    """

    days: int
    settlement_count: int
    mean_rate: float
    coverage_ratio: float
    annualized_rate: float

    @property
    def is_partial(self) -> bool:
        """Whether the settlements cover less than the window."""
        return self.coverage_ratio < _WHOLE


def window_statistics(
    days: int,
    minutes: IntArray,
    rates: FloatArray,
    hours: FloatArray,
    starts: IntArray,
    ends: IntArray,
) -> tuple[WindowStatistics, ...]:
    """Return one window for each segment of the flat arrays; the last row is always inside."""
    # Windows end at the last settlement and not now, so that figures of one history do not
    # change with the hour they are computed in.
    bound = minutes[ends - 1] - days * 24 * 60
    inside = minutes > np.repeat(bound, ends - starts)
    count = np.add.reduceat(inside.astype(np.int64), starts)
    total = np.add.reduceat(np.where(inside, rates, 0.0), starts)
    covered = np.add.reduceat(np.where(inside, hours, 0.0), starts)
    columns = (
        count.tolist(),
        (total / count).tolist(),
        (covered / (days * 24.0)).tolist(),
        (total / covered * _HOURS_PER_YEAR).tolist(),
    )
    return tuple(WindowStatistics(days, *row) for row in zip(*columns, strict=True))
