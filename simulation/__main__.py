"""Simulate: `python -m simulation --seeds N`, one seed again, planted bugs, or crash points."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from simulation.plants_table import PLANTS
from simulation.report import crash_lines, failure_lines, plant_line, plant_lines, swarm_lines
from simulation.swarm import LifeReport, draw_plan, live
from simulation.swarm_stages import stages_of, system_stage
from simulation.swarm_workers import Run, die_everywhere, find_plants, swarm

_SCRIPTS = (
    "clean",
    "partial",
    "lead_reply_lost",
    "hedge_reply_lost",
    "hedge_refused",
    "late_lead",
)
_REPLAY = "python -m simulation --replay {seed}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for and return the exit code: 1 where anything was wrong."""
    asked = _parser().parse_args(arguments)
    if asked.replay is not None:
        return _replay(asked.replay)
    run = Run(system_stage, asked.seeds, asked.first, asked.workers, asked.within)
    if asked.plants is not None:
        names = asked.plants or list(PLANTS)
        places = [(name, stages_of(PLANTS[name].part)) for name in names]
        findings = find_plants(
            places, asked.seeds, asked.workers, lambda finding: _tell([plant_line(finding)])
        )
        _tell(["", *plant_lines(findings)])
        return int(any(finding.seed is None for finding in findings))
    if asked.crashes is not None:
        return _die(asked)
    tally, seconds = swarm(run)
    _tell(swarm_lines(tally, seconds, _REPLAY))
    if tally.lives < run.seeds:
        _tell([f"{run.seeds - tally.lives} of {run.seeds} seeds were left: the time was up"])
    # What had no time to be judged is not sound.
    return int(bool(tally.failed) or not tally.lives)


def _die(asked: argparse.Namespace) -> int:
    tally, seconds = die_everywhere(asked.scripts, asked.crashes, asked.workers, asked.part)
    _tell([*crash_lines(tally), f"in {seconds:.1f} s"])
    return int(bool(tally.wrong))


def _replay(seed: int) -> int:
    lives = system_stage()
    report: LifeReport = live(seed, lives.make, lives.kinds)
    _tell([f"{draw_plan(seed, lives.kinds)}", f"trace {report.trace_hash}"])
    _tell(["sound"] if report.is_sound else failure_lines(report, _REPLAY))
    return int(not report.is_sound)


def _tell(lines: Sequence[str]) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    # What runs for minutes is watched, or written to a file that is.
    sys.stdout.flush()


def _part(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    return int(number), int(count)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="lives, one for each seed")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes that share the seeds"
    )
    parser.add_argument(
        "--within", type=float, metavar="SECONDS", help="begin no life after so many seconds"
    )
    parser.add_argument("--replay", type=int, help="live one seed again and tell all of it")
    parser.add_argument(
        "--plants", nargs="*", metavar="NAME", help="look for these planted bugs, or for all"
    )
    parser.add_argument(
        "--crashes", type=int, metavar="MOST", help="die at every step of a lifecycle instead"
    )
    parser.add_argument(
        "--part",
        type=_part,
        default=(0, 1),
        metavar="K/N",
        help="of the crash points the K-th of N equal parts, from 0",
    )
    parser.add_argument(
        "--scripts", nargs="+", default=_SCRIPTS, choices=_SCRIPTS, help="lifecycles to die in"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
