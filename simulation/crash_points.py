"""Every crash point of a life: each step of each process, before it, after it, and while it waits.

A step is what a process does between two awaits, so these are all the states a SIGKILL can leave:
before step n nothing of it was done; after it all it sent is on its way, yet nothing came back;
during the wait that follows, part of what it sent has arrived. A second crash falls into the
recovery of one in ten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Final

from simulation.evidence import Violation

SECOND_CRASH_EVERY: Final = 10
_LONGEST_SECOND_STEP: Final = 60


class Moment(StrEnum):
    """Where in a step the process dies."""

    BEFORE = "before"
    AFTER = "after"
    DURING = "during"


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """One death: who, at which step of its first life (from 1), and where in it.

    With `second_step` the life that recovers from it dies too, at that step of its own.
    """

    process: str
    step: int
    moment: Moment
    second_step: int | None = None

    def __str__(self) -> str:
        """Return the form that `parse_point` reads."""
        second = "" if self.second_step is None else f"+{self.second_step}"
        return f"{self.process}:{self.step}:{self.moment.value}{second}"


@dataclass(frozen=True, slots=True)
class CrashResult:
    """What became of one death; `died` is false where the life ended before its step."""

    point: CrashPoint
    died: bool
    violations: tuple[Violation, ...] = ()
    error: str = ""


# Mutable: it adds up.
@dataclass(slots=True)
class CrashTally:
    """All deaths of one life, by process and moment."""

    runs: int = 0
    deaths: Counter[str] = field(default_factory=Counter)
    second_crashes: int = 0
    wrong: list[CrashResult] = field(default_factory=list)

    def add(self, result: CrashResult) -> None:
        """Count one death."""
        self.runs += 1
        if result.died:
            self.deaths[f"{result.point.process} {result.point.moment.value}"] += 1
            self.second_crashes += result.point.second_step is not None
        if result.violations or result.error:
            self.wrong.append(result)

    def merge(self, other: CrashTally) -> None:
        """Add what another process counted."""
        self.runs += other.runs
        self.deaths.update(other.deaths)
        self.second_crashes += other.second_crashes
        self.wrong += other.wrong


def enumerate_points(steps: Mapping[str, int], seed: int = 0) -> Iterator[CrashPoint]:
    """Return every crash point of a life in which each process ran so many steps.

    Which recoveries are cut short a second time, and where, follows from the seed.
    """
    random = Random(f"second crash {seed}")  # noqa: S311 - a run must repeat
    for process, count in sorted(steps.items()):
        for step in range(1, count + 1):
            for moment in Moment:
                second = None
                if random.randrange(SECOND_CRASH_EVERY) == 0:
                    second = random.randint(1, _LONGEST_SECOND_STEP)
                yield CrashPoint(process, step, moment, second)


def share_of(points: Iterable[CrashPoint], worker: int, workers: int) -> Iterator[CrashPoint]:
    """Return one worker's share of the points, the same for the same number of workers."""
    return (point for number, point in enumerate(points) if number % workers == worker)


def exhaust(points: Iterable[CrashPoint], die: Callable[[CrashPoint], CrashResult]) -> CrashTally:
    """Die at every point; `die` lives a fresh life each time. An error is counted as wrong."""
    tally = CrashTally()
    for point in points:
        try:
            result = die(point)
        except Exception as error:
            result = CrashResult(point, died=True, error=f"{type(error).__name__}: {error}")
        tally.add(result)
    return tally


def parse_point(text: str) -> CrashPoint:
    """Return the point that a report names; raises ValueError for another text."""
    process, step, rest = text.split(":")
    moment, _, second = rest.partition("+")
    return CrashPoint(process, int(step), Moment(moment), int(second) if second else None)
