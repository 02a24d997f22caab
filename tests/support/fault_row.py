"""What tests of faults on the whole system share: its options, and the rows of their table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cli.demo.stack import StackOptions
from tests.support.stack import stack_options

Tell = Callable[[str, object], None]
"""What pytest's `record_property` is."""
_WIDTH = 46


def tell_row(tell: Tell, group: str, what: str, happened: str) -> None:
    """Add a row to the table: the fault's group, what was done, what happened."""
    tell("told", f"{group:10s} {what:{_WIDTH}s} {happened}")


def fault_options() -> StackOptions:
    """Return the stack of the tests, with no wait before a symbol is entered again."""
    options = stack_options()
    engine = {**options.tables["engine"], "risk": {"symbol_cooldown": 0}}
    return replace(options, tables={**options.tables, "engine": engine})
