"""Rows of the table of what happened under a fault, printed when the tests have passed."""

from __future__ import annotations

from collections.abc import Callable

Tell = Callable[[str, object], None]
"""What pytest's `record_property` is."""
_WIDTH = 46


def tell_row(tell: Tell, group: str, what: str, happened: str) -> None:
    """Add a row to the table: the fault's group, what was done, what happened."""
    tell("told", f"{group:10s} {what:{_WIDTH}s} {happened}")
