"""Prints what the shards of the random kills have seen."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print a line for each shard that passed."""
    lines = [
        str(value)
        for report in terminalreporter.stats.get("passed", [])
        for name, value in report.user_properties
        if name == "kills"
    ]
    if lines:
        terminalreporter.section("random faults and kills: ledger against the venue's books")
        for line in sorted(lines):
            terminalreporter.write_line(line)
