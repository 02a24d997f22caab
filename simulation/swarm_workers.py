"""Seeds, plants and crash points over several processes; what each did comes back as a tally."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Final, TypeVar

from simulation.crash_points import CrashPoint, CrashTally, enumerate_points, exhaust
from simulation.invariants_service import runs_are_equal
from simulation.plants import planted
from simulation.plants_table import PLANTS
from simulation.report import PlantFinding, SwarmTally, first_rule
from simulation.swarm import LifeMaker, live

_CHUNK: Final = 25
_SHARES: Final = 16
_TWICE_EVERY: Final = 50
"""One life in so many is lived again: its trace must be the same."""

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True, slots=True)
class Lives:
    """How a worker makes lives: by the name of a stage, so that it can be sent to a process."""

    make: LifeMaker
    kinds: frozenset[str]


Stage = Callable[[], Lives]
"""Makes the lives of a kind of world; a function of a module, which a worker imports."""


@dataclass(frozen=True, slots=True)
class Run:
    """What to live: seeds from `first` on, over so many processes.

    With `within` no life begins after so many seconds.
    """

    stage: Stage
    seeds: int
    first: int = 0
    workers: int = 2
    within: float | None = None


def swarm(run: Run) -> tuple[SwarmTally, float]:
    """Live all seeds; return the tally and the seconds it took."""
    started = time.monotonic()
    chunks = [
        range(begin, min(begin + _CHUNK, run.first + run.seeds))
        for begin in range(run.first, run.first + run.seeds, _CHUNK)
    ]
    tally = SwarmTally()
    until = None if run.within is None else started + run.within
    for part in _over(partial(_live_chunk, run.stage, until), chunks, run.workers):
        tally.merge(part)
    return tally, time.monotonic() - started


def find_plants(
    places: Sequence[tuple[str, Sequence[Stage]]],
    seeds: int,
    workers: int,
    tell: Callable[[PlantFinding], None],
) -> list[PlantFinding]:
    """Look for each planted bug on its stages in turn, on each until its first violation.

    `tell` hears of each as it is found or given up: all of them take minutes.
    """
    found: dict[str, PlantFinding] = {}
    for finding in _over(partial(_find_plant, seeds), places, workers):
        found[finding.name] = finding
        tell(finding)
    return [found[name] for name, _ in places]


def die_everywhere(
    scripts: Sequence[str], most: int, workers: int, part: tuple[int, int] = (0, 1)
) -> tuple[CrashTally, float]:
    """Die at the crash points of these scripted lives, drawn where they are more than most.

    `part` is which of how many equal parts of them to run. Returns what became of them and the
    seconds it took.
    """
    # Here and not above: the help must not take the time that ccxt takes to load.
    from simulation.crash_lives import count_steps

    started = time.monotonic()
    points = [
        (script, point) for script in scripts for point in enumerate_points(count_steps(script))
    ]
    # Drawn, not every n-th: a stride would meet the same moment of each step.
    chosen = Random(most).sample(points, min(most, len(points)))  # noqa: S311 - must repeat
    chosen = chosen[part[0] :: part[1]]
    shares = [chosen[number::_SHARES] for number in range(_SHARES)]
    tally = CrashTally()
    for died in _over(_die_share, shares, workers):
        tally.merge(died)
    return tally, time.monotonic() - started


def _die_share(points: Sequence[tuple[str, CrashPoint]]) -> CrashTally:
    from simulation.crash_lives import die

    tally = CrashTally()
    for script, point in points:
        tally.merge(exhaust([point], partial(die, script)))
    return tally


def _over(work: Callable[[_In], _Out], parts: Sequence[_In], workers: int) -> Iterator[_Out]:
    if workers <= 1 or len(parts) <= 1:
        yield from map(work, parts)
        return
    # Spawned, not forked: a child must not share what the parent has planted or opened.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for done in as_completed([pool.submit(work, part) for part in parts]):
            yield done.result()


def _live_chunk(stage: Stage, until: float | None, seeds: range) -> SwarmTally:
    lives, tally = stage(), SwarmTally()
    for seed in seeds:
        # One clock for all processes of the machine.
        if until is not None and time.monotonic() > until:
            break
        report = live(seed, lives.make, lives.kinds)
        if seed % _TWICE_EVERY == 0:
            again = live(seed, lives.make, lives.kinds)
            found = runs_are_equal([report.trace_hash, again.trace_hash])
            report = replace(report, violations=(*report.violations, *found))
        tally.add(report)
    return tally


def _find_plant(seeds: int, place: tuple[str, Sequence[Stage]]) -> PlantFinding:
    name, stages = place
    plant = PLANTS[name]
    for stage in stages:
        lives = stage()
        with planted(plant):
            for seed in range(seeds):
                report = live(seed, lives.make, lives.kinds)
                if not report.is_sound:
                    rule = f"{first_rule([report])}, {stage.__name__}"
                    return PlantFinding(name, plant.part, seed, rule, seed + 1)
    return PlantFinding(name, plant.part, None, "", seeds * len(stages))
