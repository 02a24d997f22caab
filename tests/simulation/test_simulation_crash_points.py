"""Crash points: all of them, the same for the same seed, and told of when one is wrong."""

from __future__ import annotations

import pytest

from simulation.crash_points import (
    CrashPoint,
    CrashResult,
    CrashTally,
    Moment,
    enumerate_points,
    exhaust,
    parse_point,
    share_of,
)
from simulation.evidence import Violation
from simulation.report import crash_lines


def test_every_step_has_three_moments() -> None:
    """Each step of each process is there before, during and after, one in ten with a second."""
    points = list(enumerate_points({"engine": 100, "binance": 50}))
    assert len(points) == 450
    assert len({(p.process, p.step, p.moment) for p in points}) == 450
    seconds = [p for p in points if p.second_step is not None]
    assert 20 < len(seconds) < 80
    assert points == list(enumerate_points({"engine": 100, "binance": 50}))
    assert points != list(enumerate_points({"engine": 100, "binance": 50}, seed=1))


def test_workers_share_all_points() -> None:
    """The shares of all workers are the points, each once."""
    points = list(enumerate_points({"engine": 5}))
    shares = [list(share_of(points, worker, 2)) for worker in range(2)]
    assert sorted(map(str, shares[0] + shares[1])) == sorted(map(str, points))


@pytest.mark.parametrize("text", ["engine:12:before", "binance:3:during+7"])
def test_a_point_is_read_back(text: str) -> None:
    """What a report names can be died at again."""
    assert str(parse_point(text)) == text


def test_wrong_deaths_and_errors_are_counted() -> None:
    """A violation, an error and a life that ended early are told apart."""

    def die(point: CrashPoint) -> CrashResult:
        match point.step:
            case 1:
                return CrashResult(point, died=True)
            case 2:
                return CrashResult(point, died=True, violations=(Violation("I8", "naked"),))
            case 3:
                return CrashResult(point, died=False)
        raise ValueError("broken")

    points = [CrashPoint("engine", step, Moment.BEFORE) for step in range(1, 5)]
    tally = CrashTally()
    tally.merge(exhaust(points, die))
    assert (tally.runs, tally.deaths.total(), len(tally.wrong)) == (4, 3, 2)
    text = "\n".join(crash_lines(tally))
    assert "4 crash points, 0 with a second crash, 2 wrong" in text
    assert "wrong at engine:4:before: ValueError: broken" in text
    assert "I8: naked" in text
