"""The fault table: a row per fault, a column per venue, printed after the tests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fault_bench import VENUES, Cell, FaultBench, fault_bench

COLUMNS = (*VENUES, "wire")


@pytest.fixture
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FaultBench]:
    """Run a connector of the venue the test is for."""
    async with fault_bench(request.param, tmp_path) as running:
        yield running


@pytest.fixture
def cell(request: pytest.FixtureRequest, record_property: Any) -> Cell:
    """Return the cell of the table that the test stands for, from its mark `fault`."""
    mark = request.node.get_closest_marker("fault")
    parameters = getattr(request.node, "callspec", None)
    venue = "wire" if parameters is None else str(parameters.params.get("bench", "wire"))
    return Cell(mark.args[0], mark.args[1], venue, record_property)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that asks for a bench one of each venue, or of those its mark names."""
    mark = next(metafunc.definition.iter_markers("fault"), None)
    venues = () if mark is None else mark.kwargs.get("venues", VENUES)
    # A module whose faults are the wire's alone brings a bench of its own, and names no venues.
    if "bench" in metafunc.fixturenames and venues:
        metafunc.parametrize("bench", venues, indirect=True)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table of what passed, and how many cells did not."""
    cells: dict[tuple[int, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == "fault_cell":
                row, fault, venue, orders, filled = value
                held = cells[row, fault][venue]
                text = f"pass {orders}/{filled}"
                # Variants of one cell that end alike are one word.
                if text not in held:
                    held.append(text)
    if not cells:
        return
    write = terminalreporter.write_line
    terminalreporter.section("fault table (orders at the venue / quantity filled there)")
    write(f"{'row':>3}  {'fault':<52}" + "".join(f"{name:<18}" for name in COLUMNS))
    for (row, fault), found in sorted(cells.items()):
        texts = ("; ".join(found[name]) if name in found else "-" for name in COLUMNS)
        write(f"{row:>3}  {fault:<52}" + "".join(f"{text:<18}" for text in texts))
    failed = len(terminalreporter.stats.get("failed", []))
    failed += len(terminalreporter.stats.get("error", []))
    passed = sum(len(found) for found in cells.values())
    write(f"{passed} cells passed, {failed} tests failed, {len({row for row, _ in cells})} rows")
