"""Prints at the end what tests have counted, for a reader who wants the figures behind a dot."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.lives_beside import LivesBeside

# Examples are the same in every run, and no pause of the machine fails one.
settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Know how many lives of the simulation go on beside the tests, and for how long."""
    parser.addoption("--lives", type=int, default=0, help="seeds lived beside the tests")
    parser.addoption("--lives-within", type=float, default=240.0, help="seconds for them")


def pytest_configure(config: pytest.Config) -> None:
    """Begin the lives that were asked for, once for all workers."""
    seeds = config.getoption("lives")
    if seeds and not hasattr(config, "workerinput"):
        beside = LivesBeside(seeds, config.getoption("lives_within"))
        config.pluginmanager.register(beside, "lives-beside")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the lines that passed tests have recorded under `told`."""
    lines = [
        str(value)
        for report in terminalreporter.stats.get("passed", [])
        for name, value in report.user_properties
        if name == "told"
    ]
    if lines:
        terminalreporter.section("counted by the tests")
        for line in sorted(set(lines)):
            terminalreporter.write_line(line)
