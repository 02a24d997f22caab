"""The plot of a backtest: net return by method and horizon, and how it added up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

from services.scanner.backtest_figures import independent
from services.scanner.backtest_walk import Method, date_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from services.scanner.backtest_figures import MethodFigures
    from services.scanner.backtest_report import BacktestResult
    from services.scanner.backtest_walk import Outcome, Walk

# matplotlib's axes are untyped where they come as arrays.
Axes = Any
_COLOURS = {
    Method.SCORE: "#0b5394",
    Method.CURRENT_RATE: "#e69138",
    Method.NAIVE_APR: "#cc0000",
    Method.NET_APR: "#38761d",
    Method.EVERY_PAIR: "#888888",
}
_POINTS = 10_000


def write_plot(path: Path, told: Sequence[tuple[BacktestResult, Walk]]) -> None:
    """Draw one row of two panels for each recording into a PNG or SVG file, by its suffix.

    Raises OSError when the file cannot be written.
    """
    figure, rows = plt.subplots(
        len(told), 2, figsize=(13, 4.5 * len(told)), squeeze=False, layout="constrained"
    )
    for (result, walk), (left, right) in zip(told, rows, strict=True):
        _bars(left, result)
        _sums(right, walk.outcomes)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _bars(axes: Axes, result: BacktestResult) -> None:
    """Mean net return over all dates, side by side for each horizon."""
    horizons = sorted({each.horizon_days for each in result.figures})
    width = 0.8 / len(Method)
    for index, method in enumerate(Method):
        held = [each for each in result.figures if each.method is method]
        places = [horizons.index(each.horizon_days) + index * width for each in held]
        heights = [each.net * _POINTS for each in held]
        axes.bar(places, heights, width, color=_COLOURS[method], label=method.value)
        for place, each in zip(places, held, strict=True):
            _whisker(axes, place, each)
    axes.set_xticks([at + 0.4 - width / 2 for at in range(len(horizons))])
    axes.set_xticklabels([f"{days} d" for days in horizons])
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_ylabel("net, bp of notional (95 % over dates apart)")
    axes.set_title(f"{result.recording}: {result.first_date} to {result.last_date}")
    axes.legend(fontsize=8)


def _whisker(axes: Axes, place: float, figures: MethodFigures) -> None:
    interval = figures.independent_net
    if interval is not None:
        bounds = [interval.low * _POINTS, interval.high * _POINTS]
        axes.plot([place, place], bounds, color="black", linewidth=1)


def _sums(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    """Net return of the middle horizon, added up over dates that do not overlap."""
    horizons = sorted({each.horizon_days for each in outcomes})
    days = horizons[len(horizons) // 2]
    for method in Method:
        held = [each for each in outcomes if each.method is method and each.horizon_days == days]
        total, sums = 0.0, []
        apart = independent(held)
        for each in apart:
            total += each.net * _POINTS
            sums.append(total)
        axes.plot(range(len(sums)), sums, color=_COLOURS[method], label=method.value)
        step = max(1, len(apart) // 6)
        axes.set_xticks(range(0, len(apart), step))
        axes.set_xticklabels([date_text(each.minute) for each in apart[::step]], fontsize=7)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_ylabel("net, bp, added up")
    axes.set_title(f"entered anew every {days} d")
