"""The table of a run, its bounds, and its one line of JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.timing import Sample


@dataclass(frozen=True, slots=True)
class Bound:
    """A figure that must not pass a limit."""

    name: str
    value: float
    limit: float

    @property
    def holds(self) -> bool:
        """Whether the figure is within its limit."""
        return self.value <= self.limit


# Not frozen: rows are added as they are measured.
@dataclass(slots=True)
class Report:
    """Lines for people and figures for machines, of the same measurements."""

    lines: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    bounds: list[Bound] = field(default_factory=list)

    def title(self, text: str) -> None:
        """Begin a part of the table."""
        self.lines += ["", f"{text:<58} {'p50 ms':>8} {'p99 ms':>8} {'per s':>8}"]

    def sample(self, key: str, text: str, sample: Sample) -> None:
        """Add a row of times."""
        median, p99 = sample.median * 1000, sample.p99 * 1000
        self.lines.append(f"  {text:<56} {median:>8.2f} {p99:>8.2f} {sample.rate:>8.0f}")
        self.figures[f"{key}_p50_ms"] = round(median, 3)
        self.figures[f"{key}_p99_ms"] = round(p99, 3)
        self.figures[f"{key}_per_second"] = round(sample.rate, 1)

    def figure(self, key: str, text: str, value: float, limit: float | None = None) -> None:
        """Add a single figure, with its bound when it has one."""
        tail = ""
        if limit is not None:
            bound = Bound(key, value, limit)
            self.bounds.append(bound)
            tail = f"  at most {limit:g}: {'holds' if bound.holds else 'BROKEN'}"
        self.lines.append(f"  {text:<56} {value:>8.2f}{tail}")
        self.figures[key] = round(value, 3)

    @property
    def holds(self) -> bool:
        """Whether every bound holds."""
        return all(bound.holds for bound in self.bounds)

    def text(self) -> str:
        """Return the table, and in its last line everything as JSON."""
        last = json.dumps({"holds": self.holds, **self.figures})
        return "\n".join([*self.lines, "", last, ""])
