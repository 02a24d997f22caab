"""A whole measurement as a command: an event loop as in the services, a folder, the report."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from benchmarks.report import Report

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def run_whole(
    name: str, subject: str, quick: str, measure: Callable[[Report, Path, bool], Awaitable[None]]
) -> int:
    """Measure, write the table, and return 1 when a bound is broken.

    `measure` gets the report to fill, a folder that goes away, and whether `--quick` was given.
    """
    parser = argparse.ArgumentParser(prog=name, description=f"Measure {subject}.")
    parser.add_argument("--quick", action="store_true", help=f"{quick}, to try it")
    chosen = parser.parse_args()
    report = Report()

    async def measured(folder: str) -> None:
        await measure(report, Path(folder), chosen.quick)

    with (
        tempfile.TemporaryDirectory(prefix=f"{name}-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(measured(folder))
    sys.stdout.write(report.text())
    return 0 if report.holds else 1
