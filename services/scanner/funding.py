"""From rows of funding history to intervals per row.

A rate settled at t accrued since the settlement before it, so the hours a row covers are the
spacing to its predecessor. Rows come in any order, with some milliseconds of jitter, sometimes
twice, and sometimes one is missing; the interval of an instrument changes now and then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

MINUTE_MS = 60_000
# The longest interval any venue uses; a wider last spacing says nothing about the interval now.
MAX_INTERVAL_HOURS = 24.0

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Settlements:
    """Sorted settlements of one perpetual: whole minutes since 1970 and the rates paid then."""

    minutes: IntArray
    rates: FloatArray


@dataclass(frozen=True, slots=True)
class FundingHistory:
    """Settlements with the hours each payment covered and the interval that holds now.

    `missing_row_count` counts spacings that are holes in the rows: their row covers the interval of
    its neighbours only, so that coverage falls instead of the rate.
    """

    minutes: IntArray
    rates: FloatArray
    hours: FloatArray
    interval_hours: float
    missing_row_count: int


def settlements(
    times_ms: Sequence[int] | IntArray, rates: Sequence[float] | FloatArray
) -> Settlements:
    """Return rows sorted by time, rounded to the minute (jitter), each time once, the last row
    winning.
    """
    stamps = np.asarray(times_ms, dtype=np.int64)
    # Venues stamp a settlement some milliseconds late, each time otherwise: unrounded, the same
    # settlement read twice would be two rows.
    minutes = (stamps + MINUTE_MS // 2) // MINUTE_MS
    values = np.asarray(rates, dtype=np.float64)
    order = np.argsort(minutes, kind="stable")
    minutes, values = minutes[order], values[order]
    if minutes.size:
        # The sort is stable, so of repeated rows the one told last stands last: a correction wins.
        last_of_time = np.append(minutes[1:] != minutes[:-1], True)
        minutes, values = minutes[last_of_time], values[last_of_time]
    return Settlements(minutes, values)


def funding_history(rows: Settlements, venue_interval_hours: float | None) -> FundingHistory | None:
    """Return the history with hours per row, or None where the interval cannot be known.

    `venue_interval_hours` is the venue's word for the interval now; without it the last spacing
    stands. The first row, which has no predecessor, is given the spacing after it.
    """
    spacing = np.diff(rows.minutes) / 60.0
    interval = _interval_now(spacing, venue_interval_hours)
    if interval is None or rows.minutes.size == 0:
        return None
    covered, hole_count = _without_holes(spacing, venue_interval_hours)
    # The earliest row has no predecessor; the spacing after it is the best guess there is.
    first = covered[0] if covered.size else interval
    hours = np.concatenate((np.array([first]), covered))
    return FundingHistory(rows.minutes, rows.rates, hours, interval, hole_count)


def recent(history: FundingHistory, after_minute: int) -> FundingHistory | None:
    """Return the rows later than `after_minute`, each with the hours it covered; None for none."""
    first = int(np.searchsorted(history.minutes, after_minute, side="right"))
    if first == history.minutes.size:
        return None
    return replace(
        history,
        minutes=history.minutes[first:],
        rates=history.rates[first:],
        hours=history.hours[first:],
    )


def interval_change_count(history: FundingHistory) -> int:
    """Count how often the interval changed between successive rows."""
    spacing = history.hours[1:]
    return int(np.count_nonzero(spacing[1:] != spacing[:-1]))


def _interval_now(spacing: FloatArray, venue_interval_hours: float | None) -> float | None:
    if venue_interval_hours is not None:
        return venue_interval_hours if 0 < venue_interval_hours <= MAX_INTERVAL_HOURS else None
    # One row, or days between the last two, say nothing; eight hours would be an invention.
    if spacing.size == 0 or spacing[-1] > MAX_INTERVAL_HOURS:
        return None
    return float(spacing[-1])


def _without_holes(
    spacing: FloatArray, venue_interval_hours: float | None
) -> tuple[FloatArray, int]:
    """Replace spacings at least twice as wide as both neighbours by the wider neighbour.

    At a change of interval a spacing is never twice the wider of its neighbours. The first spacing
    has one neighbour only and is taken as it is; the last has the venue's word, if any, beside it.
    """
    if spacing.size < 2:
        return spacing, 0
    after = np.append(
        spacing[2:], spacing[-1] if venue_interval_hours is None else venue_interval_hours
    )
    widest = np.maximum(spacing[:-1], after)
    is_hole = spacing[1:] >= 2 * widest
    covered = spacing.copy()
    covered[1:][is_hole] = widest[is_hole]
    return covered, int(np.count_nonzero(is_hole))
