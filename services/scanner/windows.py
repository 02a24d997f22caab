"""Statistics of windows that end at the last settlement: mean, annualised rate, coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.scanner.funding import FloatArray, IntArray

WINDOW_DAYS = (1, 3, 7, 30)
_HOURS_PER_YEAR = 8760.0
# Hours are sums of floats; a second of a window is no part missing.
_WHOLE = 1 - 1e-9
# Minutes between segments that are laid one after the other: more than any two times differ by.
_SEGMENT_STEP = 1 << 40


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
    minutes: IntArray, rates: FloatArray, hours: FloatArray, starts: IntArray, ends: IntArray
) -> list[tuple[WindowStatistics, ...]]:
    """Return, for each window length, one window for each segment of the flat arrays.

    Rows are sorted by time within a segment; the last row of a segment is inside all its windows.
    """
    numbers = np.arange(starts.size, dtype=np.int64)
    # Shifted apart, the rows of all segments are sorted as one, and one search cuts them all.
    shifted = minutes + np.repeat(numbers, ends - starts) * _SEGMENT_STEP
    last = minutes[ends - 1] + numbers * _SEGMENT_STEP
    # One more element, since an end of a sum must be an index.
    padded_rates, padded_hours = np.append(rates, 0.0), np.append(hours, 0.0)
    found = []
    for days in WINDOW_DAYS:
        # Windows end at the last settlement and not now, so that figures of one history do not
        # change with the hour they are computed in.
        first = np.searchsorted(shifted, last - days * 24 * 60, side="right")
        # Before the earliest row of its own segment lie only rows of the one before.
        bounds = np.column_stack((np.maximum(first, starts), ends)).ravel()
        total = np.add.reduceat(padded_rates, bounds)[::2]
        covered = np.add.reduceat(padded_hours, bounds)[::2]
        count = bounds[1::2] - bounds[::2]
        columns = (
            count.tolist(),
            # Adding zero turns a sum of -0.0 into 0.0.
            (total / count + 0).tolist(),
            (covered / (days * 24.0)).tolist(),
            (total / covered * _HOURS_PER_YEAR + 0).tolist(),
        )
        found.append(tuple(WindowStatistics(days, *row) for row in zip(*columns, strict=True)))
    return found
