"""What a run of kills has seen: counts, times and findings, and the lines that tell of them."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field


# Mutable: it counts as the run goes on.
@dataclass(slots=True)
class Tally:
    """Counts of one run; times are in seconds. `findings` are outcomes that must not be."""

    kills: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    strikes_together: int = 0
    entries: Counter[str] = field(default_factory=Counter)
    exits_asked: int = 0
    orders: Counter[str] = field(default_factory=Counter)
    partial_orders: int = 0
    unknown_orders: int = 0
    resolved: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    breaks_healed: int = 0
    halts: int = 0
    settles: list[float] = field(default_factory=list)
    restarts: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    alone: dict[str, list[float]] = field(default_factory=dict)
    """Starts while nothing else ran, from the kill until the service serves."""
    orphan_legs: int = 0
    duplicate_orders: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def killed(self) -> int:
        """How many processes were killed."""
        return self.kills.total()

    @property
    def is_sound(self) -> bool:
        """Whether nothing was found that must not be."""
        return not (self.findings or self.orphan_legs or self.duplicate_orders)

    def lines(self) -> list[str]:
        """Return the report."""
        return [
            f"kills             {self.killed}: {_counts(self.kills)}",
            f"  struck          {_counts(self.moments)}; {self.strikes_together} together",
            f"entries           {self.entries.total()}: {_counts(self.entries)}",
            f"exits asked       {self.exits_asked}",
            f"orders at venues  {self.orders.total()}: {_counts(self.orders)}, "
            f"{self.partial_orders} filled in part",
            f"unknown outcomes  {self.unknown_orders}, resolved: {_counts(self.resolved)}",
            f"refused entries   {_counts(self.refusals)}",
            f"breaks healed     {self.breaks_healed}; halts resumed {self.halts}",
            *(
                f"start {name:<22} {_times(took)}, alone"
                for name, took in sorted(self.alone.items())
            ),
            *(f"start {name:<22} {_times(took)}" for name, took in sorted(self.restarts.items())),
            f"settled after the last start  {_times(self.settles)}",
            f"orphan legs       {self.orphan_legs}",
            f"duplicate orders  {self.duplicate_orders}",
            f"other findings    {len(self.findings)}",
            *(f"  {finding}" for finding in self.findings),
        ]


def _counts(counts: Counter[str]) -> str:
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    return told or "none"


def _times(seconds: Sequence[float]) -> str:
    if not seconds:
        return "none"
    p50, most = statistics.median(seconds), max(seconds)
    return f"{len(seconds)} times, p50 {p50:.2f} s, max {most:.2f} s"
