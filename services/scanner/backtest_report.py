"""A backtest's figures as text for people and as plain values for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from services.scanner.backtest_figures import MIN_INDEPENDENT_DATES
from services.scanner.backtest_walk import date_text
from services.scanner.funding import MAX_INTERVAL_HOURS, funding_history

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.scanner.backtest_data import Recording
    from services.scanner.backtest_figures import Interval, MethodFigures
    from services.scanner.backtest_walk import BacktestPlan, Walk

NEUTRAL_FACTORS = ("liquidity", "basis")
_HEADINGS = (
    "method", "dates", "held", "gross", "net", "median", "net a position", "hit rate",
    "1st half", "2nd half", "apart", "net, dates apart", "score's lead, dates apart",
)  # fmt: skip
_BASIS_POINTS = 10_000


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """What a walk over one recording told, and what to keep in mind when reading it."""

    recording: str
    files: tuple[str, ...]
    instrument_count: int
    first_date: str
    last_date: str
    mean_pair_count: float
    figures: tuple[MethodFigures, ...]
    caveats: tuple[str, ...]


def result_of(
    recording: Recording, walk: Walk, figures: Sequence[MethodFigures], plan: BacktestPlan
) -> BacktestResult:
    """Put together what is reported of one recording that had at least one date."""
    minutes = [each.minute for each in walk.outcomes]
    return BacktestResult(
        recording=recording.name,
        files=recording.files,
        instrument_count=len(recording.histories),
        first_date=date_text(min(minutes)),
        last_date=date_text(max(minutes)),
        mean_pair_count=sum(walk.pair_counts) / len(walk.pair_counts),
        figures=tuple(figures),
        caveats=_caveats(recording, figures, plan),
    )


def plain_result(result: BacktestResult) -> dict[str, Any]:
    """Return the result as values that JSON can hold; returns are fractions of notional."""
    return asdict(result)


def plain_plan(plan: BacktestPlan) -> dict[str, Any]:
    """Return what the walk stood on: places, horizons, costs, weights, factors without a record."""
    costs, given = plan.rules.costs, plan.assumptions
    return {
        "top": plan.top,
        "horizon_days": list(plan.horizon_days),
        "perpetual_fee_ratio": str(given.perpetual_fee_ratio),
        "spot_fee_ratio": str(given.spot_fee_ratio),
        "half_spread_ratio": str(given.half_spread_ratio),
        "borrow_apr": None if costs.default_borrow_apr is None else str(costs.default_borrow_apr),
        "window_days": plan.rules.window_days,
        "weights": dict(plan.rules.score.weights),
        "neutral_factors": list(NEUTRAL_FACTORS),
    }


def result_lines(result: BacktestResult) -> list[str]:
    """Return the report of one recording: a table for each horizon, then the caveats."""
    lines = [
        f"Recording {result.recording}: {result.instrument_count} perpetuals, ranked daily from "
        f"{result.first_date} to {result.last_date}, {result.mean_pair_count:.0f} pairs "
        "judged on average"
    ]
    for days in sorted({each.horizon_days for each in result.figures}):
        lines += ["", f"  held for {days} d, basis points of the notional of all places"]
        rows = [_cells(each) for each in result.figures if each.horizon_days == days]
        lines += _aligned([_HEADINGS, *rows])
    return [*lines, "", *(f"  - {each}" for each in result.caveats), ""]


def _cells(figures: MethodFigures) -> tuple[str, ...]:
    return (
        figures.method.value,
        str(figures.date_count),
        f"{figures.mean_position_count:.1f}",
        _points(figures.gross),
        _points(figures.net),
        _points(figures.median_net),
        _points(figures.net_of_position),
        "-" if figures.net_hit_ratio is None else f"{figures.net_hit_ratio:.0%}",
        _points(figures.net_by_half[0]),
        _points(figures.net_by_half[1]),
        str(figures.independent_date_count),
        _range(figures.independent_net),
        _range(figures.behind_score),
    )


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value * _BASIS_POINTS:.1f}"


def _range(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    mean, low, high = (_points(each) for each in (interval.mean, interval.low, interval.high))
    return f"{mean} ({low} to {high})"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + row[0].ljust(widths[0]) + "".join(
            "  " + cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)
        )
        for row in rows
    ]  # fmt: skip


def _caveats(
    recording: Recording, figures: Sequence[MethodFigures], plan: BacktestPlan
) -> tuple[str, ...]:
    """Say what the recording and the stand-ins leave open."""
    few = sorted(
        {
            each.horizon_days
            for each in figures
            if each.independent_date_count < MIN_INDEPENDENT_DATES
        }
    )
    told = [
        f"not recorded, the same for every pair: {', '.join(NEUTRAL_FACTORS)} (these factors move "
        "no rank), half-spread and fees; what the basis gained or lost is not counted",
        "current_rate ranks by the last settled rate: predicted rates are not recorded",
        _spot_caveat(plan),
        "survivorship: a perpetual delisted before the capture is not in the files",
        _gaps(recording),
        f"settlements are on record for {min(each.covered_ratio for each in figures):.1%} of the "
        "hours held or more; what is not on record is counted as zero",
    ]
    if plan.rules.costs.default_borrow_apr is None:
        told.append("no short spot leg: its borrow rate is not recorded and none was given")
    if few:
        horizons = ", ".join(f"{days} d" for days in few)
        told.append(f"too few dates apart for an interval at {horizons}: an anecdote")
    return tuple(told)


def _spot_caveat(plan: BacktestPlan) -> str:
    venues = ", ".join(plan.assumptions.spot_venues)
    listed = plan.assumptions.spot_symbols
    if listed is None:
        return f"a spot market is taken to exist for every perpetual of {venues}"
    return f"spot legs on {venues} for the {len(listed)} symbols of the list that was given"


def _gaps(recording: Recording) -> str:
    last = recording.last_minute
    ended = late = holes = 0
    for rows in recording.histories.values():
        ended += bool(last - int(rows.minutes[-1]) > 2 * MAX_INTERVAL_HOURS * 60)
        late += bool(int(rows.minutes[0]) - recording.first_minute > 2 * MAX_INTERVAL_HOURS * 60)
        history = funding_history(rows, None)
        holes += 0 if history is None else int(history.missing_rows.sum())
    return (
        f"{late} histories begin after the first, {ended} end before the last; {holes} holes "
        "between settlements"
    )
