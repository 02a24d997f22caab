"""The table of pairs: a row per entry and exit, printed after the tests."""

from __future__ import annotations

from typing import Any

_HEADS = (
    ("pair (long x short)", 27),
    ("symbol", 10),
    ("lead", 6),
    ("asked", 13),
    ("lead filled", 13),
    ("net", 15),
    ("hedged", 13),
    ("residual", 11),
    ("larger lot", 11),
    ("dust", 10),
    ("orders", 14),
    ("left", 10),
    ("end", 6),
)


_SEEN_HEADS = (
    ("what happened", 30),
    ("pair (long x short)", 27),
    ("symbol", 10),
    ("orders", 14),
    ("dust", 12),
    ("end", 6),
)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the rows of the tests that passed, and how many did not."""
    shown = _table(terminalreporter, "pair_row", "pairs, each order filled in part", _HEADS)
    shown += _table(terminalreporter, "pair_seen", "what entries and exits met", _SEEN_HEADS)
    if shown:
        failed = len(terminalreporter.stats.get("failed", []))
        failed += len(terminalreporter.stats.get("error", []))
        line = f"{shown} rows, {failed} tests failed; orders: lead, hedge, unwind, exit; in coins"
        terminalreporter.write_line(line)


def _table(reporter: Any, kind: str, title: str, heads: tuple[tuple[str, int], ...]) -> int:
    rows = [
        value
        for report in reporter.stats.get("passed", [])
        for name, value in report.user_properties
        if name == kind
    ]
    if rows:
        reporter.section(f"{title}, by the venues' books")
        reporter.write_line("".join(f"{head:<{width}}" for head, width in heads))
    for row in sorted(rows):
        cells = zip(row, heads, strict=True)
        reporter.write_line("".join(f"{text:<{width - 1}} " for text, (_, width) in cells))
    return len(rows)
