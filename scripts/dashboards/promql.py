"""The few forms of PromQL that the dashboards ask in, and the limits that colour the answers."""

from __future__ import annotations

from scripts.dashboards.plan import Query, Step, Tone, Word

WINDOW = "$window"
"""Chosen at the top: entries are rare, so a quantile over minutes would mostly be of nothing."""


def quantile(
    metric: str, share: float, *, by: tuple[str, ...] = (), where: str = "", window: str = WINDOW
) -> str:
    """Return the quantile `share` of a histogram over the window, for each value of `by`."""
    labels = ", ".join(("le", *by))
    return (
        f"histogram_quantile({share}, "
        f"sum by ({labels}) (rate({metric}_bucket{_braces(where)}[{window}])))"
    )


def quantiles(
    metric: str, *, by: tuple[str, ...] = (), where: str = "", exemplar: bool = False
) -> tuple[Query, ...]:
    """Return the median and the slowest hundredth; exemplars stand at the latter."""
    name = " ".join(f"{{{{{label}}}}}" for label in by)
    return (
        Query(quantile(metric, 0.5, by=by, where=where), f"median {name}".strip()),
        Query(quantile(metric, 0.99, by=by, where=where), f"99 % {name}".strip(), exemplar),
    )


def per_second(metric: str, *, by: tuple[str, ...] = (), where: str = "") -> str:
    """Return how fast a counter grows, for each value of `by`."""
    grouping = f" by ({', '.join(by)})" if by else ""
    return f"sum{grouping} (rate({metric}{_braces(where)}[$__rate_interval]))"


def growth(metric: str, *, by: tuple[str, ...] = (), where: str = "", window: str = WINDOW) -> str:
    """Return by how much a counter grew over the window, for each value of `by`.

    A counter with labels has no series before its first event, which increase() cannot see: where
    the series was born within the window, its first value is part of the growth.
    """
    grouping = f" by ({', '.join(by)})" if by else ""
    series = f"{metric}{_braces(where)}"
    grown = f"increase({series}[{window}])"
    born = f"min_over_time({series}[{window}]) unless {series} offset {window}"
    return f"sum{grouping} (({grown} + ({born})) or {grown})"


def rise(metric: str, *, where: str = "", window: str = "1m") -> str:
    """Return by how much a counter rose within `window`, where it did.

    Without increase(), which guesses fractions beyond the samples: a mark is for each whole event.
    """
    now = f"sum({metric}{_braces(where)})"
    before = f"sum({metric}{_braces(where)} offset {window})"
    return f"{now} - ({before} or vector(0)) > 0"


def or_zero(expr: str) -> str:
    """Return the expression, and 0 where nothing of it was counted yet."""
    return f"({expr}) or vector(0)"


def alarming_above(watch: float, bad: float) -> tuple[Step, ...]:
    """Return tones for what should be small."""
    return (Step(None, Tone.GOOD), Step(watch, Tone.WATCH), Step(bad, Tone.BAD))


def alarming_below(bad: float, watch: float) -> tuple[Step, ...]:
    """Return tones for what should be large."""
    return (Step(None, Tone.BAD), Step(bad, Tone.WATCH), Step(watch, Tone.GOOD))


UP_OR_DOWN = (Word("0", "down", Tone.BAD), Word("1", "up", Tone.GOOD))
NO_OR_YES_BAD = (Word("0", "no", Tone.GOOD), Word("1", "yes", Tone.BAD))
NO_BAD_OR_YES = (Word("0", "no", Tone.BAD), Word("1", "yes", Tone.GOOD))
SIGNED = (Step(None, Tone.BAD), Step(0, Tone.GOOD))
ANY_IS_BAD = (Step(None, Tone.GOOD), Step(1, Tone.BAD))


def _braces(where: str) -> str:
    return f"{{{where}}}" if where else ""
