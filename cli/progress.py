"""A scan's progress: a bar on a terminal, a line now and then in a file."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from opensqt.market_maker.v1 import scanner_pb2

LINE_SECONDS = 1.0
STANDING_SECONDS = 10.0
"""How often a count that stands is told again: as it does while a venue's rate limit is full."""


@contextmanager
def scan_progress(console: Console) -> Iterator[Callable[[scanner_pb2.Scan], None]]:
    """Yield what shows the state of a running scan whenever it is called with it."""
    if not console.is_terminal:
        yield _line_writer(console)
        return
    bar = Progress(
        TextColumn("   readings"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
    with bar:
        # The scanner counts its tasks only after it has listed the symbols.
        task = bar.add_task("scan", total=None)

        def follow(scan: scanner_pb2.Scan) -> None:
            bar.update(task, total=scan.task_count, completed=scan.ended_task_count)

        yield follow


def _line_writer(console: Console) -> Callable[[scanner_pb2.Scan], None]:
    written = time.monotonic()
    told = -1

    def follow(scan: scanner_pb2.Scan) -> None:
        nonlocal written, told
        pause = STANDING_SECONDS if scan.ended_task_count == told else LINE_SECONDS
        if scan.task_count and time.monotonic() - written >= pause:
            written = time.monotonic()
            told = scan.ended_task_count
            text = f"   {told} of {scan.task_count} readings so far"
            console.print(text, highlight=False)

    return follow
