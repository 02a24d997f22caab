"""What many seeds came to: counts, failing seeds and how to replay them, the plant table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from simulation.crash_points import CrashTally
from simulation.plants import Part
from simulation.swarm import LifeReport

_SHOWN_FAILURES = 5
_SHOWN_VIOLATIONS = 3
_NAME_WIDTH = 28


# Mutable: it adds up.
@dataclass(slots=True)
class SwarmTally:
    """Sums over lives; `failed` are the reports that were not sound, lowest seed first."""

    lives: int = 0
    orders: int = 0
    crashes: int = 0
    events: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    failed: list[LifeReport] = field(default_factory=list)

    def add(self, report: LifeReport) -> None:
        """Count one life."""
        self.lives += 1
        self.orders += report.order_count
        self.crashes += report.crash_count
        self.events += report.event_count
        self.faults.update(report.faults)
        if not report.is_sound:
            self.failed.append(report)

    def merge(self, other: SwarmTally) -> None:
        """Add what another process counted."""
        self.lives += other.lives
        self.orders += other.orders
        self.crashes += other.crashes
        self.events += other.events
        self.faults.update(other.faults)
        self.failed = sorted([*self.failed, *other.failed], key=lambda report: report.seed)


@dataclass(frozen=True, slots=True)
class PlantFinding:
    """Which seed found a plant, by which rule; `seed` None where none of `tried` did."""

    name: str
    part: Part
    seed: int | None
    rule: str
    tried: int


def swarm_lines(tally: SwarmTally, seconds: float, replay: str) -> list[str]:
    """Return the report of a swarm; `replay` is the command, with `{seed}` in it."""
    pace = tally.lives / seconds if seconds > 0 else 0.0
    lines = [
        f"{tally.lives} lifecycles in {seconds:.1f} s, {pace:.0f} a second: "
        f"{tally.orders} orders, {tally.faults.total()} faults, {tally.crashes} crashes, "
        f"{tally.events} events; {len(tally.failed)} with violations",
    ]
    lines += [f"  {name}: {count}" for name, count in sorted(tally.faults.items())]
    for report in tally.failed[:_SHOWN_FAILURES]:
        lines += failure_lines(report, replay)
    return lines


def failure_lines(report: LifeReport, replay: str) -> list[str]:
    """Return what was wrong with one seed and how to live it again."""
    lines = [f"seed {report.seed} failed; again with: {replay.format(seed=report.seed)}"]
    if report.error:
        lines.append(f"  the world broke: {report.error}")
    lines += [
        f"  {violation.rule} at {violation.at:.6f} s: {violation.text}"
        for violation in report.violations[:_SHOWN_VIOLATIONS]
    ]
    hidden = len(report.violations) - _SHOWN_VIOLATIONS
    return [*lines, f"  and {hidden} more"] if hidden > 0 else lines


def plant_line(finding: PlantFinding) -> str:
    """Return which seed found a planted bug, and by which rule."""
    found = f"NOT FOUND in {finding.tried} seeds"
    if finding.seed is not None:
        found = f"seed {finding.seed} ({finding.rule})"
    return f"{finding.name:<{_NAME_WIDTH}}  {finding.part.value:<9}  {found}"


def plant_lines(findings: Sequence[PlantFinding]) -> list[str]:
    """Return the table of planted bugs, with how many of them were found."""
    missed = sum(finding.seed is None for finding in findings)
    return [
        f"{'planted bug':<{_NAME_WIDTH}}  part       found by",
        *map(plant_line, findings),
        f"{len(findings) - missed} of {len(findings)} found",
    ]


def crash_lines(tally: CrashTally) -> list[str]:
    """Return the report of exhaustive crash points."""
    lines = [
        f"{tally.runs} crash points, {tally.second_crashes} with a second crash, "
        f"{len(tally.wrong)} wrong"
    ]
    lines += [f"  {name}: {count}" for name, count in sorted(tally.deaths.items())]
    for result in tally.wrong[:_SHOWN_FAILURES]:
        lines.append(f"wrong at {result.point}: {result.error}")
        lines += [f"  {one.rule}: {one.text}" for one in result.violations[:_SHOWN_VIOLATIONS]]
    return lines


def first_rule(reports: Iterable[LifeReport]) -> str:
    """Return the first rule that was broken, or the world's error."""
    for report in reports:
        if report.violations:
            return report.violations[0].rule
        if report.error:
            return report.error.partition(":")[0]
    return ""
