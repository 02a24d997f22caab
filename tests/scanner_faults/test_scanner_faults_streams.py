"""Streams between scans that break or fall silent: what stands is fresh, or marked and goes."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from services.common.codec import from_timestamp
from tests.support.scan_faults_rig import ScanRig, scan_rig, scanned_well, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

STALE = "STREAM_STALE"
QUICK: dict[str, Any] = {
    "lifetime_seconds": 12,
    "live": {
        "count": 5,
        "refresh_seconds": 0.2,
        "book_seconds": 0.5,
        "silence_seconds": 5,
        "max_backoff_seconds": 0.5,
    },
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venues(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ScanRig]:
    """Run the two venues of one pair of legs."""
    folder = tmp_path_factory.mktemp("streams")
    async with scan_rig(folder, ("binance", "binanceusdm")) as rig:
        yield rig


def latest_end(rows: Mapping[str, Any]) -> datetime:
    """Return when the last of them expires."""
    return max(from_timestamp(row.expire_time) for row in rows.values())


async def test_streams_cut_at_the_venue_are_taken_up_again(rig: ScanRig) -> None:
    """After a gap the best stay listed beyond the scan's own lifetime, with younger figures."""
    async with rig.scanner(**QUICK) as scanner:
        first = await scanned_well(scanner)
        expiry = latest_end(first)
        await rig.control.post("streams/cut")

        async def is_younger_than_the_scan_allows() -> bool:
            rows = (await scanner.published()).values()
            return any(
                from_timestamp(row.observe_time) > expiry and STALE not in row.caveats
                for row in rows
            )

        await until(is_younger_than_the_scan_allows, seconds=60)


async def test_venue_that_falls_silent_is_marked_and_its_pairs_expire(rig: ScanRig) -> None:
    """A connector that hangs tells nothing: its pairs are marked, never prolonged, and gone."""
    process = rig.connectors["binanceusdm"].process
    assert process is not None
    async with rig.scanner(**QUICK) as scanner:
        first = await scanned_well(scanner)
        os.kill(process.pid, signal.SIGSTOP)
        try:

            async def is_marked() -> bool:
                rows = await scanner.published()
                return any(STALE in row.caveats for row in rows.values())

            async def is_gone() -> bool:
                rows = await scanner.published()
                if rows:
                    ends.append(latest_end(rows))
                return not rows

            await until(is_marked)
            ends = [latest_end(await scanner.published())]
            await until(is_gone)
            # Both clocks are read one after the other, some microseconds apart.
            assert max(ends) - ends[0] < timedelta(milliseconds=50)
        finally:
            os.kill(process.pid, signal.SIGCONT)
        back = await scanned_well(scanner)
        assert back.keys() == first.keys()

        async def is_unmarked() -> bool:
            rows = await scanner.published()
            return bool(rows) and not any(STALE in row.caveats for row in rows.values())

        # Streams are opened again after their pause; with their first word the mark goes.
        await until(is_unmarked)
