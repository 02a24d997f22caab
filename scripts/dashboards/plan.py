"""What a dashboard is made of, free of Grafana: rows of panels, each with its questions."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

GRID_WIDTH = 24
"""Columns of Grafana's grid; the widths of panels in one line add up to no more."""


class Kind(StrEnum):
    """How a panel shows its series."""

    LINES = "timeseries"
    NUMBER = "stat"
    BARS = "bargauge"
    STATES = "state-timeline"
    TABLE = "table"


class Tone(StrEnum):
    """Colours by what they tell."""

    GOOD = "green"
    PLAIN = "text"
    WATCH = "orange"
    BAD = "red"


@dataclass(frozen=True, slots=True)
class Query:
    """One question in PromQL; `exemplar` also asks for single events with their position's id."""

    expr: str
    legend: str = ""
    exemplar: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """From `value` on (None: from the least) the panel has this tone."""

    value: float | None
    tone: Tone


@dataclass(frozen=True, slots=True)
class Word:
    """A value that is shown as a word."""

    value: str
    text: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel; `text` says what it shows and when to worry. `unit` is Grafana's name of it."""

    title: str
    text: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = Kind.LINES
    width: int = 8
    height: int = 8
    steps: tuple[Step, ...] = ()
    words: tuple[Word, ...] = ()
    stacked: bool = False
    decimals: int | None = None
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and the panels below it."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of a dashboard: the values of `label` over the series of `metric`."""

    name: str
    title: str
    metric: str
    label: str


@dataclass(frozen=True, slots=True)
class DashboardPlan:
    """One dashboard; its file and its address are named by `slug`."""

    slug: str
    title: str
    text: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = field(default=())
    span: str = "now-6h"

    @property
    def uid(self) -> str:
        """Return the name under which Grafana keeps it, the same on every machine."""
        return f"opensqt-{self.slug}"
