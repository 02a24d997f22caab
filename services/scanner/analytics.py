"""Statistics of funding histories, vectorised over many perpetuals at once.

Histories are laid end to end in flat arrays and reduced by segment, so the cost is a constant
number of numpy calls plus the rows. Rates are fractions a settlement; every annualised figure is
simple, not compounded: sum of rates over hours covered, times 8760, which stays right when the
interval changed. A rate of exactly zero counts in every denominator, has a sign of its own in a
regime, and is skipped by `sign_flip_count`. Rates are finite: who reads them sees to that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from services.scanner.funding import FloatArray, FundingHistory, IntArray
from services.scanner.windows import WindowStatistics, window_statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

HOURS_PER_YEAR = 8760.0
# Settlements a year if every interval were eight hours: the error this module exists to avoid.
NAIVE_SETTLEMENTS_PER_YEAR = 1095.0
SLOPE_ROWS = 10
# Histories worked on at once: columns of a month of hourly rows stay within a core's own cache.
_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class FundingStatistics:
    """Statistics of one perpetual; `None` where there are too few rows to tell.

    `deviation` is that of a settlement, `annualized_deviation` that of the rate by the hour, taken
    a year. `last_covered_hours` is what the last settlement covered, which is not `interval_hours`
    when the interval has just changed. `history` has the rows that all of it was computed from.
    """

    settlement_count: int
    first_minute: int
    last_minute: int
    interval_hours: float
    last_covered_hours: float
    interval_change_count: int
    missing_row_count: int
    mean_rate: float
    deviation: float
    sample_deviation: float | None
    min_rate: float
    max_rate: float
    positive_ratio: float
    negative_ratio: float
    zero_count: int
    longest_zero_run: int
    sign_flip_count: int
    strict_sign_flip_count: int
    regime_sign: int
    regime_count: int
    regime_hours: float
    slope: float | None
    slope_per_hour: float | None
    covered_hours: float
    annualized_rate: float
    annualized_deviation: float
    annualized_mean_rate: float
    naive_annualized_rate: float
    windows: tuple[WindowStatistics, ...]
    history: FundingHistory = field(repr=False, compare=False)

    @property
    def stability_score(self) -> float:
        """Size of the mean over itself plus the deviation: 1 never varies, 0 is noise around
        zero.
        """
        total = abs(self.mean_rate) + self.deviation
        return abs(self.mean_rate) / total if total > 0 else 0.0

    def window(self, days: int) -> WindowStatistics:
        """Return the statistics of the window of `days`; KeyError for a window that is not kept."""
        for candidate in self.windows:
            if candidate.days == days:
                return candidate
        raise KeyError(days)


@dataclass(frozen=True, slots=True)
class _Table:
    """Histories end to end; `starts` and `ends` bound each segment, `segment` numbers each row."""

    minutes: IntArray
    rates: FloatArray
    hours: FloatArray
    missing_rows: IntArray
    starts: IntArray
    ends: IntArray
    segment: IntArray

    def total(self, values: FloatArray) -> FloatArray:
        """Sum `values` (one a row) by segment."""
        return np.add.reduceat(values, self.starts)


def analyse(histories: Sequence[FundingHistory]) -> tuple[FundingStatistics, ...]:
    """Return the statistics of each history, in order; every history has at least one row."""
    pieces = (histories[first : first + _AT_ONCE] for first in range(0, len(histories), _AT_ONCE))
    return tuple(statistics for piece in pieces for statistics in _analyse_piece(piece))


def _analyse_piece(histories: Sequence[FundingHistory]) -> tuple[FundingStatistics, ...]:
    table = _table(histories)
    count = table.ends - table.starts
    mean = table.total(table.rates) / count
    # Deviations from the mean, not the difference of squares: rates of 1e-5 would cancel out.
    squares = table.total((table.rates - mean[table.segment]) ** 2)
    signs = np.sign(table.rates)
    flips, strict_flips = _sign_flips(table, signs)
    regime_sign, regime_count, regime_hours = _regimes(table, signs)
    slope, slope_per_hour = _slopes(table)
    covered = table.total(table.hours)
    hourly = table.total(table.rates) / covered
    intervals = np.array([history.interval_hours for history in histories])
    with np.errstate(invalid="ignore", divide="ignore"):
        sample = np.sqrt(squares / (count - 1))
    columns = {
        "settlement_count": count,
        "first_minute": table.minutes[table.starts],
        "last_minute": table.minutes[table.ends - 1],
        "interval_hours": intervals,
        "last_covered_hours": table.hours[table.ends - 1],
        "interval_change_count": _changes(table.hours, table.segment, table.starts.size),
        "missing_row_count": np.add.reduceat(table.missing_rows, table.starts),
        "mean_rate": mean,
        "deviation": np.sqrt(squares / count),
        "sample_deviation": sample,
        "min_rate": np.minimum.reduceat(table.rates, table.starts),
        "max_rate": np.maximum.reduceat(table.rates, table.starts),
        "positive_ratio": table.total((signs > 0).astype(np.float64)) / count,
        "negative_ratio": table.total((signs < 0).astype(np.float64)) / count,
        "zero_count": np.add.reduceat((signs == 0).astype(np.int64), table.starts),
        "longest_zero_run": _longest_zero_runs(table, signs),
        "sign_flip_count": flips,
        "strict_sign_flip_count": strict_flips,
        "regime_sign": regime_sign.astype(np.int64),
        "regime_count": regime_count,
        "regime_hours": regime_hours,
        "slope": slope,
        "slope_per_hour": slope_per_hour,
        "covered_hours": covered,
        "annualized_rate": hourly * HOURS_PER_YEAR,
        "annualized_deviation": _hourly_deviation(table, hourly, covered) * HOURS_PER_YEAR,
        "annualized_mean_rate": mean * HOURS_PER_YEAR / intervals,
        "naive_annualized_rate": mean * NAIVE_SETTLEMENTS_PER_YEAR,
    }
    windows = window_statistics(table.minutes, table.rates, table.hours, table.starts, table.ends)
    return _rows(columns, windows, histories)


def _table(histories: Sequence[FundingHistory]) -> _Table:
    counts = np.array([history.minutes.size for history in histories], dtype=np.int64)
    ends = np.cumsum(counts)
    return _Table(
        minutes=np.concatenate([history.minutes for history in histories]),
        rates=np.concatenate([history.rates for history in histories]),
        hours=np.concatenate([history.hours for history in histories]),
        missing_rows=np.concatenate([history.missing_rows for history in histories]),
        starts=ends - counts,
        ends=ends,
        segment=np.repeat(np.arange(len(histories), dtype=np.int64), counts),
    )


def _rows(
    columns: dict[str, object],
    windows: list[tuple[WindowStatistics, ...]],
    histories: Sequence[FundingHistory],
) -> tuple[FundingStatistics, ...]:
    """Turn columns into one record a perpetual; NaN, the mark of too few rows, becomes None."""
    # Adding zero turns a sum of -0.0, which prints as a negative figure, into 0.0.
    lists = [(np.asarray(column) + 0).tolist() for column in columns.values()]
    records = []
    kept_windows = zip(*windows, strict=True)
    for values, kept, history in zip(
        zip(*lists, strict=True), kept_windows, histories, strict=True
    ):
        named = dict(zip(columns, values, strict=True))
        for optional in ("sample_deviation", "slope", "slope_per_hour"):
            if named[optional] != named[optional]:
                named[optional] = None
        records.append(FundingStatistics(**named, windows=kept, history=history))
    return tuple(records)


def _hourly_deviation(table: _Table, hourly: FloatArray, covered: FloatArray) -> FloatArray:
    """Return the deviation of rates an hour, weighted by hours: a change of interval is none."""
    off = table.rates / table.hours - hourly[table.segment]
    deviation: FloatArray = np.sqrt(table.total(off * off * table.hours) / covered)
    return deviation


def _sign_flips(table: _Table, signs: FloatArray) -> tuple[IntArray, IntArray]:
    """Count changes of sign between successive non-zero rates, and between any successive rates."""
    size = table.starts.size
    # Zeros are dropped first, so that plus, zero, plus is no flip and plus, zero, minus is one.
    nonzero = np.flatnonzero(signs)
    return (
        _changes(signs[nonzero], table.segment[nonzero], size),
        _changes(signs, table.segment, size),
    )


def _changes(values: FloatArray, segment: IntArray, size: int) -> IntArray:
    # The last row of one history and the first of the next are neighbours by accident only.
    changed = (values[1:] != values[:-1]) & (segment[1:] == segment[:-1])
    return np.bincount(segment[1:][changed], minlength=size).astype(np.int64)


def _regimes(table: _Table, signs: FloatArray) -> tuple[FloatArray, IntArray, FloatArray]:
    """Return sign, rows and hours of each trailing run of rates that share the sign of the last."""
    last_sign = signs[table.ends - 1]
    position = np.arange(signs.size)
    differs = np.where(signs != last_sign[table.segment], position, -1)
    start = np.maximum(np.maximum.reduceat(differs, table.starts) + 1, table.starts)
    inside = position >= start[table.segment]
    return last_sign, table.ends - start, table.total(np.where(inside, table.hours, 0.0))


def _longest_zero_runs(table: _Table, signs: FloatArray) -> IntArray:
    position = np.arange(signs.size)
    # Running position of the last rate that was not zero; the start of a segment counts as one,
    # else a run would reach back into the history before.
    last_nonzero = np.maximum.accumulate(np.where(signs != 0, position, -1))
    run = position - np.maximum(last_nonzero, table.starts[table.segment] - 1)
    longest: IntArray = np.maximum.reduceat(run, table.starts)
    return longest


def _slopes(table: _Table) -> tuple[FloatArray, FloatArray]:
    """Least-squares slope of the last rows against their number and against hours; NaN for one
    row.
    """
    columns = np.arange(SLOPE_ROWS)
    index = table.ends[:, None] - SLOPE_ROWS + columns
    weight = (index >= table.starts[:, None]).astype(np.float64)
    # Short histories have fewer rows than the window; the weight keeps the filled-in ones out.
    index = np.maximum(index, table.starts[:, None])
    rates = table.rates[index]
    hours = (table.minutes[index] - table.minutes[table.ends - 1][:, None]) / 60.0
    numbers = np.broadcast_to(columns.astype(np.float64), index.shape)
    return _least_squares(numbers, rates, weight), _least_squares(hours, rates, weight)


def _least_squares(x: FloatArray, y: FloatArray, weight: FloatArray) -> FloatArray:
    count = weight.sum(axis=1, keepdims=True)
    x_off = (x - (weight * x).sum(axis=1, keepdims=True) / count) * weight
    y_off = (y - (weight * y).sum(axis=1, keepdims=True) / count) * weight
    with np.errstate(invalid="ignore", divide="ignore"):
        slope: FloatArray = (x_off * y_off).sum(axis=1) / (x_off * x_off).sum(axis=1)
    return slope
