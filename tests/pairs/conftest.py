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


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the rows of the tests that passed, and how many did not."""
    rows = [
        value
        for report in terminalreporter.stats.get("passed", [])
        for name, value in report.user_properties
        if name == "pair_row"
    ]
    if not rows:
        return
    write = terminalreporter.write_line
    terminalreporter.section("pairs (quantities in coins, by the venues' books)")
    write("".join(f"{head:<{width}}" for head, width in _HEADS))
    for row in sorted(rows):
        cells = zip(row, _HEADS, strict=True)
        write("".join(f"{text:<{width - 1}} " for text, (_, width) in cells))
    failed = len(terminalreporter.stats.get("failed", []))
    failed += len(terminalreporter.stats.get("error", []))
    write(f"{len(rows)} rows, {failed} tests failed; orders: lead, hedge, unwind, exit")
