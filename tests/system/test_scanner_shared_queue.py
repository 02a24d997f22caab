"""Scanners of several processes on one NATS server: killed workers, a restarted server."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from opensqt.market_maker.v1 import scanner_pb2
from tests.support.nats_server import PROGRAM, nats_server
from tests.support.queue_rig import SYMBOLS, ScannerProcess, scanner_process, venues
from tests.support.scanner_rig import RUNNING, SUCCEEDED, listed, started, status, until

Told = Callable[[str, object], None]
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(PROGRAM is None, reason="needs nats-server (Debian package nats-server)"),
    pytest.mark.timeout(300),
]


async def ended(scanner: ScannerProcess, scan_id: str) -> scanner_pb2.Scan:
    """Wait for the end of a scan."""

    async def is_over() -> bool:
        return (await status(scanner.stub, scan_id)).state != RUNNING

    await until(is_over, seconds=60)
    return await status(scanner.stub, scan_id)


async def assert_every_symbol_once(scanner: ScannerProcess, scan: scanner_pb2.Scan) -> None:
    """Hold a scan to a whole one: no reading missing, no symbol lost, none twice."""
    assert scan.state == SUCCEEDED, list(scan.missing_parts)
    # The one that fails asks for all histories at once, which this venue has not.
    assert (scan.symbol_count, scan.failed_task_count) == (len(SYMBOLS), 1)
    assert scan.ended_task_count == scan.task_count
    found = await listed(scanner.stub, page_size=1000)
    assert Counter(each.symbol for each in found) == Counter(SYMBOLS)


async def test_a_killed_scanner_costs_a_shared_scan_nothing(
    tmp_path: Path, record_property: Told
) -> None:
    """Two processes share a scan of 120 symbols; one dies by SIGKILL; every symbol comes once."""
    async with (
        nats_server(tmp_path / "nats") as server,
        venues() as market,
        scanner_process(tmp_path, "first", market.tables, server.address) as first,
        scanner_process(tmp_path, "second", market.tables, server.address) as second,
    ):
        begun = time.monotonic()
        scan_id = await started(first.stub)
        await until(lambda: len(market.perpetual.askers) == 2)
        await until(lambda: market.perpetual.askers.total() >= 40)
        second.process.kill()
        await second.process.wait()
        shared = dict(market.perpetual.askers)
        scan = await ended(first, scan_id)
        seconds = time.monotonic() - begun
        await assert_every_symbol_once(first, scan)
        again = market.perpetual.askers.total() - len(SYMBOLS)
        assert market.perpetual.readings.keys() == set(SYMBOLS)
        assert again >= 1
        told = f"{scan.task_count} tasks, {again} done again, {seconds:.1f} s"
        counts = " + ".join(str(count) for count in sorted(shared.values()))
        record_property("told", f"shared scan, one killed after {counts} readings: {told}")


async def test_a_restarted_server_gives_out_what_it_had(
    tmp_path: Path, record_property: Told
) -> None:
    """The server dies by SIGKILL in mid-scan and comes back: the scan waits, and is whole."""
    async with (
        nats_server(tmp_path / "nats") as server,
        venues() as market,
        scanner_process(tmp_path, "first", market.tables, server.address) as first,
        scanner_process(tmp_path, "second", market.tables, server.address),
    ):
        begun = time.monotonic()
        scan_id = await started(first.stub)
        await until(lambda: market.perpetual.askers.total() >= 40)
        await server.kill()
        await asyncio.sleep(1)
        assert (await status(first.stub, scan_id)).state == RUNNING
        await server.start()
        scan = await ended(first, scan_id)
        await assert_every_symbol_once(first, scan)
        again = market.perpetual.askers.total() - len(SYMBOLS)
        seconds = time.monotonic() - begun
        record_property(
            "told", f"server killed and restarted in mid-scan: {again} done again, {seconds:.1f} s"
        )
