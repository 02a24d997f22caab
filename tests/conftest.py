"""Prints at the end what tests have counted, for a reader who wants the figures behind a dot."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings

# Examples are the same in every run, and no pause of the machine fails one.
settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")


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
