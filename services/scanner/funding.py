"""From rows of funding history to intervals per row.

A rate settled at t accrued since the settlement before it, so the hours a row covers are the
spacing to its predecessor. Rows come in any order, with some milliseconds of jitter, sometimes
twice, and sometimes one is missing; the interval of an instrument changes now and then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

MINUTE_MS = 60_000
_HOUR_MINUTES = 60
# Venues settle on full hours and stamp it up to a second late; further off the stamp is believed.
_SNAP_MINUTES = 2
# The longest interval any venue uses; a wider last spacing says nothing about the interval now.
MAX_INTERVAL_HOURS = 24.0
_MAX_INTERVAL_MINUTES = 1440

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Settlements:
    """Sorted settlements of one perpetual: whole minutes since 1970 and the rates paid then."""

    minutes: IntArray
    rates: FloatArray


@dataclass(frozen=True, slots=True)
class FundingHistory:
    """Settlements with the hours each payment covered and the interval that holds now.

    `missing_rows` counts, row by row, the settlements that are missing before it: the row covers
    the interval of its neighbours only, so that coverage falls instead of the rate.
    """

    minutes: IntArray
    rates: FloatArray
    hours: FloatArray
    missing_rows: IntArray
    interval_hours: float


def settlements(
    times_ms: Sequence[int] | IntArray, rates: Sequence[float] | FloatArray
) -> Settlements:
    """Return rows sorted by time, each time once, the last row winning.

    Times are rounded to the minute and, within two minutes of a full hour, to that hour: the same
    settlement read twice, with another jitter, is one row. A rate of -0.0 becomes 0.0.
    """
    stamps = np.asarray(times_ms, dtype=np.int64)
    minutes = (stamps + MINUTE_MS // 2) // MINUTE_MS
    hours = (minutes + _HOUR_MINUTES // 2) // _HOUR_MINUTES * _HOUR_MINUTES
    minutes = np.where(np.abs(minutes - hours) <= _SNAP_MINUTES, hours, minutes)
    # Adding zero turns -0.0, which prints as a negative rate, into 0.0.
    values = np.asarray(rates, dtype=np.float64) + 0.0
    if np.any(minutes[1:] <= minutes[:-1]):
        # The sort is stable, so of repeated rows the one told last stands last: a correction wins.
        order = np.argsort(minutes, kind="stable")
        minutes, values = minutes[order], values[order]
        last_of_time = np.append(minutes[1:] != minutes[:-1], True)
        minutes, values = minutes[last_of_time], values[last_of_time]
    return Settlements(minutes, values)


def funding_history(rows: Settlements, venue_interval_hours: float | None) -> FundingHistory | None:
    """Return the history with hours per row, or None where the interval cannot be known.

    `venue_interval_hours` is the venue's word for the interval now; without it the last spacing
    stands. The first row, which has no predecessor, is given the spacing after it.
    """
    count = rows.minutes.size
    spacing = np.diff(rows.minutes)
    interval = _interval_now(spacing, venue_interval_hours)
    if interval is None or count == 0:
        return None
    if spacing.size and spacing[0] <= _MAX_INTERVAL_MINUTES and (spacing == spacing[0]).all():
        # Nearly all histories: one interval throughout, nothing to look for.
        hours = np.full(count, spacing[0] / _HOUR_MINUTES)
        return FundingHistory(rows.minutes, rows.rates, hours, np.zeros(count, np.int64), interval)
    wide = spacing / _HOUR_MINUTES
    covered = _without_holes(wide, interval, is_told=venue_interval_hours is not None)
    # The earliest row has no predecessor; the spacing after it is the best guess there is.
    first = covered[0] if covered.size else interval
    return FundingHistory(
        minutes=rows.minutes,
        rates=rows.rates,
        hours=np.concatenate((np.array([first]), covered)),
        missing_rows=np.concatenate((np.zeros(1, np.int64), _missing_rows(wide, covered))),
        interval_hours=interval,
    )


def recent(history: FundingHistory, after_minute: int) -> FundingHistory | None:
    """Return the rows later than `after_minute`, each with the hours it covered; None for none."""
    first = int(np.searchsorted(history.minutes, after_minute, side="right"))
    if first == history.minutes.size:
        return None
    return FundingHistory(
        minutes=history.minutes[first:],
        rates=history.rates[first:],
        hours=history.hours[first:],
        missing_rows=history.missing_rows[first:],
        interval_hours=history.interval_hours,
    )


def _interval_now(spacing: IntArray, venue_interval_hours: float | None) -> float | None:
    if venue_interval_hours is not None:
        return venue_interval_hours if 0 < venue_interval_hours <= MAX_INTERVAL_HOURS else None
    # One row, or days between the last two, say nothing; eight hours would be an invention.
    if spacing.size == 0 or spacing[-1] > _MAX_INTERVAL_MINUTES:
        return None
    return float(spacing[-1] / _HOUR_MINUTES)


def _missing_rows(spacing: FloatArray, covered: FloatArray) -> IntArray:
    # A spacing that was kept as it is has nothing missing in it.
    missing = np.rint(spacing / covered).astype(np.int64) - 1
    return np.where(covered < spacing, missing, 0)


def _without_holes(spacing: FloatArray, interval_now: float, *, is_told: bool) -> FloatArray:
    """Return the hours each spacing's row covered: holes count as wide as their wider neighbour.

    A hole is a spacing over the longest interval there is, or at least twice as wide as both
    neighbours: at a change of interval a spacing is never twice the wider of them. The first
    spacing has one neighbour only and is believed up to the longest interval; the last has the
    venue's word, if it was told, beside it. Holes side by side are told by the venue's word only.
    """
    covered = spacing.copy()
    for index in np.flatnonzero(spacing > MAX_INTERVAL_HOURS):
        covered[index] = _neighbouring_interval(spacing, int(index), interval_now)
    # Nobody having told the interval, 1, 2, 2, 1 h may be holes or an interval that was 2 h for a
    # while: it is taken for the second, and the caveat INTERVAL_CHANGED says so.
    if is_told:
        covered[_holes_side_by_side(spacing, interval_now)] = interval_now
    if spacing.size >= 2:
        after = np.append(covered[2:], interval_now if is_told else covered[-1])
        widest = np.maximum(covered[:-1], after)
        covered[1:] = np.where(covered[1:] >= 2 * widest, widest, covered[1:])
    return covered


def _holes_side_by_side(spacing: FloatArray, interval_now: float) -> BoolArray:
    """Return which spacings are holes by the interval that the venue told.

    A run of its multiples with the interval itself before and after it is no change of interval
    when it is over within a day, or when one of its spacings does not divide a day: an interval
    that holds settles at the same times every day.
    """
    wide = (spacing >= 2 * interval_now) & (np.fmod(spacing, interval_now) == 0)
    edges = np.flatnonzero(np.diff(wide, prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    is_interval = np.append(spacing == interval_now, True)
    # A run at the start has no row before it: it may be how the history began.
    between = (starts > 0) & is_interval[starts - 1] & is_interval[ends]
    hours = np.append(0.0, np.cumsum(spacing))
    odd = np.append(0, np.cumsum(np.fmod(MAX_INTERVAL_HOURS, spacing) != 0))
    is_brief = hours[ends] - hours[starts] <= MAX_INTERVAL_HOURS
    holes = between & (is_brief | (odd[ends] > odd[starts]))
    inside: BoolArray = np.zeros(spacing.size, dtype=np.bool_)
    for start, end in zip(starts[holes], ends[holes], strict=True):
        inside[start:end] = True
    return inside


def _neighbouring_interval(spacing: FloatArray, index: int, interval_now: float) -> float:
    """Return the wider of the nearest possible intervals before and after, else the one now."""
    possible = np.flatnonzero(spacing <= MAX_INTERVAL_HOURS)
    place = int(np.searchsorted(possible, index))
    near = [float(spacing[at]) for at in possible[max(0, place - 1) : place + 1]]
    return max(near, default=interval_now)
