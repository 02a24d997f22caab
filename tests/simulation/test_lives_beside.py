"""Lives beside the tests: none is begun too late, and lives that failed fail the tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from simulation.swarm_stages import engine_stage
from simulation.swarm_workers import Run, swarm
from tests.support.lives_beside import LivesBeside


class _Terminal:
    """What pytest tells at its end."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def section(self, title: str) -> None:
        """Take a headline."""
        self.lines.append(title)

    def write_line(self, line: str, **_colour: bool) -> None:
        """Take a line."""
        self.lines.append(line)


def _ended(beside: LivesBeside, code: pytest.ExitCode) -> tuple[Any, list[str]]:
    session: Any = SimpleNamespace(exitstatus=code)
    beside.pytest_sessionfinish(session, code)
    terminal = _Terminal()
    beside.pytest_terminal_summary(terminal)
    return session.exitstatus, terminal.lines


def test_no_life_begins_once_the_time_is_up() -> None:
    """All seeds are lived while there is time, none where there was none."""
    assert swarm(Run(engine_stage, 2, workers=1, within=60.0))[0].lives == 2
    assert swarm(Run(engine_stage, 2, workers=1, within=-1.0))[0].lives == 0


def test_lives_that_could_not_be_judged_fail_the_tests() -> None:
    """Tests that passed fail with their lives, of which all is told."""
    code, lines = _ended(LivesBeside(1, -1.0), pytest.ExitCode.OK)
    assert code is pytest.ExitCode.TESTS_FAILED
    assert "1 of 1 seeds were left: the time was up" in lines
    assert lines[-1] == "LIVES FAILED"


def test_lives_end_with_tests_that_were_interrupted() -> None:
    """An interrupted run waits for nothing and stays interrupted."""
    code, lines = _ended(LivesBeside(100_000, 3_600.0), pytest.ExitCode.INTERRUPTED)
    assert code is pytest.ExitCode.INTERRUPTED
    assert lines[-1] == "LIVES FAILED"
