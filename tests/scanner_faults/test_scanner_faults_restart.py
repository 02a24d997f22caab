"""A scanner killed at rest and in mid-scan: its history is whole, and costs nothing twice."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from opensqt.market_maker.v1 import scanner_pb2
from tests.support.scan_faults_rig import (
    HISTORY,
    SUCCEEDED,
    ScannerLife,
    ScanRig,
    carries,
    scan_rig,
    scanned_well,
    until,
)

DAY_MS = 86_400_000
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venues(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ScanRig]:
    """Run the two venues whose history comes in bulk."""
    folder = tmp_path_factory.mktemp("restart")
    async with scan_rig(folder, ("binance", "binanceusdm")) as rig:
        yield rig


async def coverage(scanner: ScannerLife) -> dict[str, list[tuple[int, str]]]:
    """Return settlements and coverage by window of each opportunity: rows doubled or lost show."""
    return {
        name: [
            (window.settlement_count, window.coverage_ratio.value)
            for funding in (row.long_funding, row.short_funding)
            for window in funding.windows
        ]
        for name, row in (await scanner.published()).items()
    }


def kept_days(file: Path) -> float:
    """Return how many days of all symbols in one piece a history file holds, as others read it."""
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        found = database.execute("SELECT spans FROM histories WHERE symbol = ''").fetchall()
    edges = [edge for (spans,) in found for edge in np.frombuffer(spans, "<i8").tolist()]
    return (edges[1] - edges[0]) / DAY_MS if len(edges) == 2 else 0.0


async def test_history_outlives_a_kill(rig: ScanRig) -> None:
    """After SIGKILL the next life says that it has not looked yet, then reads only what is new."""
    async with rig.scanner() as scanner:
        before = await scanned_well(scanner)
        held = await coverage(scanner)

        async def is_kept() -> bool:
            return kept_days(scanner.history) >= 30

        # What was read less than two seconds ago may be lost with the process.
        await until(is_kept)
        await scanner.kill()
        await scanner.start()
        answer = await scanner.stub.ListOpportunities(scanner_pb2.ListOpportunitiesRequest())
        # An empty list with no scan behind it: nobody has looked, which is not "nothing found".
        assert not answer.opportunities
        assert not answer.HasField("scan")
        asked = await rig.counting(HISTORY)
        after = await scanned_well(scanner)
        assert await asked() <= 2
        assert carries(after) == carries(before)
        assert await coverage(scanner) == held


async def test_history_is_whole_after_a_kill_in_mid_scan(rig: ScanRig) -> None:
    """Killed while histories come in, the next life reads the rest: no row twice and no gap."""
    async with rig.scanner() as clean:
        expected = await scanned_well(clean)
        held = await coverage(clean)
    async with rig.scanner(workers=2) as scanner:
        asked = await rig.counting(HISTORY)
        await rig.break_calls({"type": "delay", "seconds": 0.1}, path=HISTORY)

        async def is_half_read() -> bool:
            return await asked() >= 4

        await scanner.begin()
        await until(is_half_read)
        await scanner.kill()
        await rig.control.delete("faults")
        await scanner.start()
        assert carries(await scanned_well(scanner)) == carries(expected)
        assert await coverage(scanner) == held


async def test_what_settled_while_it_was_dead_is_read(rig: ScanRig) -> None:
    """Hours of the market that no life saw are in its figures as if it had never been away."""
    async with rig.scanner() as scanner:
        await scanned_well(scanner)
        await scanner.kill()
        await rig.control.post("clock", {"advance_seconds": 9 * 3600})
        await scanner.start()
        late: dict[str, Any] = carries(await scanned_well(scanner))
        held = await coverage(scanner)
    async with rig.scanner() as fresh:
        scan = await fresh.scan()
        assert scan.state == SUCCEEDED
        assert late == carries(await fresh.published())
        assert held == await coverage(fresh)
