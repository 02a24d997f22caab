"""What a seed draws, how seeds are lived and told of, and the planted bugs that a small rig shows.

The whole system has its own, longer run: `make sim`.
"""

from __future__ import annotations

import importlib
import pickle
from collections import Counter
from random import Random

import pytest

from simulation.evidence import Violation
from simulation.plants import Part, planted
from simulation.plants_table import PLANTS
from simulation.report import PlantFinding, SwarmTally, plant_lines, swarm_lines
from simulation.swarm import FaultMix, LifeReport, Plan, SpinningError, draw_plan, live, mix_of
from simulation.swarm_faults import BY_NAME, KINDS, Target
from tests.support.rig_life import KINDS as RIG_KINDS
from tests.support.rig_life import RigLife

SOUND_SEEDS = range(40)
SEARCHED_SEEDS = 60
QUICK = (
    "unknown_taken_for_filled",
    "hedge_by_request",
    "exit_by_wallet",
    "exit_not_reduce_only",
    "journal_not_awaited",
    "retry_on_error",
    "no_fence",
    "no_probe_after_a_restart",
    "hedge_while_in_doubt",
    "price_off_the_tick",
)
"""Bugs that the first seeds show; the others are looked for by `make sim-plants`."""


def test_a_seed_draws_the_same_life_each_time() -> None:
    """Plan and faults follow from the seed alone, and differ between seeds."""
    assert draw_plan(5) == draw_plan(5)
    assert draw_plan(5).shares.keys() <= set(BY_NAME)
    first, second = mix_of(draw_plan(5)), mix_of(draw_plan(5))
    assert first.random.random() == second.random.random()
    assert len({str(draw_plan(seed)) for seed in range(30)}) > 25


def test_a_world_that_learns_a_kind_keeps_its_other_draws() -> None:
    """Kinds that a world cannot do are left out without moving what the seed draws else."""
    whole, part = draw_plan(3), draw_plan(3, RIG_KINDS)
    assert part.deeds == whole.deeds
    assert part.shares == {k: v for k, v in whole.shares.items() if k in RIG_KINDS}


def test_faults_strike_their_target_until_healed() -> None:
    """A share of one strikes each call of its target, none of another, and none once healed."""
    mix = FaultMix(Random(1), {"executes_late": 1.0})
    drawn = mix.strike(Target.ORDER)
    assert drawn is not None
    assert drawn.kind.low <= drawn.figure <= drawn.kind.high
    assert mix.strike(Target.READ) is None
    mix.heal()
    assert mix.strike(Target.ORDER) is None
    assert mix.counts == Counter(executes_late=1)


def test_kinds_name_rows_of_the_fault_matrix() -> None:
    """Each kind stands for rows 1 to 52, has a name of its own and sound bounds."""
    assert len(BY_NAME) == len(KINDS)
    for kind in KINDS:
        assert kind.rows
        assert all(1 <= row <= 52 for row in kind.rows)
        assert kind.low <= kind.high


def test_lives_of_a_sound_engine_are_sound() -> None:
    """Seeded lives with faults and crashes break no rule."""
    reports = [live(seed, RigLife, RIG_KINDS) for seed in SOUND_SEEDS]
    assert [report for report in reports if not report.is_sound] == []
    assert sum(report.order_count for report in reports) > len(reports)
    assert sum(report.crash_count for report in reports) > 0


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_is_found(name: str) -> None:
    """Some seed shows the bug, and the engine is sound again afterwards."""
    with planted(PLANTS[name]):
        reports = (live(seed, RigLife, RIG_KINDS) for seed in range(SEARCHED_SEEDS))
        found = next((report for report in reports if not report.is_sound), None)
    assert found is not None
    assert live(found.seed, RigLife, RIG_KINDS).is_sound


def test_every_plant_has_its_place() -> None:
    """Each bug replaces a function that is there, and puts it back; there are at least thirty."""
    assert len(PLANTS) >= 30
    for plant in PLANTS.values():
        module, _, path = plant.place.partition(":")
        sound = _at(module, path)
        with planted(plant):
            assert _at(module, path) is not sound
        assert _at(module, path) is sound
        assert plant.breaks
    assert {plant.part for plant in PLANTS.values()} == set(Part)


class Spinner:
    """A life that breaks or goes round in circles."""

    def __init__(self, plan: Plan, mix: FaultMix) -> None:
        del mix
        self._seed = plan.seed

    def run(self) -> LifeReport:
        """Fail as the seed says."""
        if self._seed == 1:
            raise SpinningError("round and round")
        raise ValueError("broken")


@pytest.mark.parametrize(("seed", "error"), [(0, "ValueError: broken"), (1, "SpinningError: ")])
def test_a_world_that_breaks_is_told_of_with_its_seed(seed: int, error: str) -> None:
    """An error of a life is in its report, which is not sound."""
    report = live(seed, Spinner)
    assert report.error.startswith(error)
    assert (report.seed, report.is_sound) == (seed, False)


def test_a_failing_seed_is_told_with_its_replay() -> None:
    """The report counts lives, orders, faults and crashes, and says how to live a seed again."""
    tally, other = SwarmTally(), SwarmTally()
    tally.add(LifeReport(7, (Violation("I8", "naked", 3.5),), {"reply_lost": 2}, 4, 1, 90))
    other.add(LifeReport(3, (), {}, 2, 0, 10))
    tally.merge(other)
    text = "\n".join(swarm_lines(tally, 2.0, "again {seed}"))
    assert "2 lifecycles in 2.0 s, 1 a second: 6 orders, 2 faults, 1 crashes" in text
    assert "seed 7 failed; again with: again 7" in text
    assert "I8 at 3.500000 s: naked" in text


def test_the_plant_table_names_seed_and_rule() -> None:
    """Found bugs have a seed and a rule, missed ones are named as such."""
    found = PlantFinding("no_fence", Part.ENGINE, 12, "I4", 13)
    missed = PlantFinding("ledger_forgets", Part.CONNECTOR, None, "", 50)
    # Workers send their findings to the process that tells of them.
    lines = plant_lines(pickle.loads(pickle.dumps([found, missed])))  # noqa: S301 - made here
    assert "seed 12 (I4)" in lines[1]
    assert "NOT FOUND in 50 seeds" in lines[2]
    assert lines[-1] == "1 of 2 found"


def _at(module: str, path: str) -> object:
    owner: object = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    return vars(owner)[name]
