"""How long the difference between two perpetuals has paid.

Two legs of one coin mostly share their regime: what the position earns is their difference, and
that may turn daily while both rates have been positive for a month.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from services.scanner.funding import recent

if TYPE_CHECKING:
    from services.scanner.funding import FloatArray, FundingHistory, IntArray

# By the hour; less is rounding: a rate of 0.0001 in eight hours is one of 0.0000125 in one.
_LEAST_DIFFERENCE = 1e-12
_TAIL_MINUTES = 3 * 1440
_LONG_AGO = np.iinfo(np.int64).min


def paying_hours(long_leg: FundingHistory, short_leg: FundingHistory) -> float:
    """Return for how many hours, back from the latest settlement of either leg, the rate by the
    hour of the short leg has been above that of the long one; 0 when it is not now.

    Until a leg settles again its last rate stands. Hours that no row of a leg covers (it has not
    settled since, or rows are missing) end no run and are not counted.
    """
    count = min(long_leg.minutes.size, short_leg.minutes.size)
    if np.array_equal(long_leg.minutes[-count:], short_leg.minutes[-count:]):
        # Two venues with one interval, at a fraction of the general way's cost.
        first = _run_start(_hourly(short_leg)[-count:] - _hourly(long_leg)[-count:])
        hours = np.minimum(long_leg.hours[-count:], short_leg.hours[-count:])
        return float(hours[first:].sum())
    latest = int(max(long_leg.minutes[-1], short_leg.minutes[-1]))
    # Most differences have turned within days: the whole month is looked at only for the others.
    long_tail, short_tail = (recent(leg, latest - _TAIL_MINUTES) for leg in (long_leg, short_leg))
    if long_tail is not None and short_tail is not None:
        found, is_inside = _trailing_run(long_tail, short_tail)
        if is_inside:
            return found
    return _trailing_run(long_leg, short_leg)[0]


def _trailing_run(long_leg: FundingHistory, short_leg: FundingHistory) -> tuple[float, bool]:
    """Return the hours of the run, and whether it began after the first of these rows."""
    # Between two settlements of either leg both rates by the hour stand still. A time that both
    # settle at stands twice in a row, without hours in between.
    ends = np.sort(np.concatenate((long_leg.minutes, short_leg.minutes)), kind="stable")
    long_rows, short_rows = _rows_at(long_leg, ends), _rows_at(short_leg, ends)
    first = _run_start(_hourly(short_leg)[short_rows] - _hourly(long_leg)[long_rows])
    if first == ends.size:
        return 0.0, True
    begins = np.append(ends[first - 1] if first else _LONG_AGO, ends[first:-1])
    legs = ((long_leg, long_rows[first:]), (short_leg, short_rows[first:]))
    return float(_shared_hours(begins, ends[first:], *legs).sum()), first > 0


def _run_start(differences: FloatArray) -> int:
    against = np.flatnonzero(differences <= _LEAST_DIFFERENCE)
    return int(against[-1]) + 1 if against.size else 0


def _shared_hours(
    begins: IntArray, ends: IntArray, *legs: tuple[FundingHistory, IntArray]
) -> FloatArray:
    """Return how much of each piece of time is covered by the rows of all legs."""
    first, last = begins.astype(np.float64), ends.astype(np.float64)
    for history, rows in legs:
        settled = history.minutes[rows]
        first = np.maximum(first, settled - history.hours[rows] * 60)
        last = np.minimum(last, settled)
    shared: FloatArray = np.maximum(last - first, 0.0) / 60
    return shared


def _hourly(history: FundingHistory) -> FloatArray:
    return history.rates / history.hours


def _rows_at(history: FundingHistory, ends: IntArray) -> IntArray:
    """Return the row that settles at or after each of the times, the last one for later times."""
    return np.minimum(np.searchsorted(history.minutes, ends), history.minutes.size - 1)
