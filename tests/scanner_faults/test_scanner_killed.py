"""A scanner killed in mid-flight of a cold scan: its history is intact, only the rest is read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from opensqt.market_maker.v1 import scanner_pb2_grpc
from services.common.channels import open_channel
from services.scanner.history_file import HistoryFile
from services.scanner.history_store import HeldHistory
from services.scanner.plan import HOUR_MS
from tests.support.fake_exchange import FakeExchange, FakeListing, exchange_server, history
from tests.support.scanner_rig import SUCCEEDED, Stub, scanned, started, until

READS = "GetHistoricalFundingRates"
SYMBOL_COUNT = 40
SETTINGS = """
ready_file = "{folder}/ready.json"
history_page_size = 80
shortlist_count = 0
[history]
path = "{folder}/history.db"
[[venues]]
name = "spotty"
kind = "spot"
address = "{spot}"
[[venues]]
name = "perpy"
kind = "perpetual"
address = "{perpetual}"
"""


@asynccontextmanager
async def running(config: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, Stub]]:
    """Run the service as a process; yield it with a client, and end what is left of it."""
    ready = config.with_name("ready.json")
    ready.unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.scanner", "--config", str(config)
    )
    try:
        await until(ready.exists, seconds=60)
        async with open_channel(json.loads(ready.read_text())["grpc_address"]) as channel:
            yield process, scanner_pb2_grpc.ScannerServiceStub(channel)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def row_count(path: Path) -> int:
    """Return how many histories a file in use holds, as another process sees it."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM histories").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def held_at(path: Path) -> dict[str, HeldHistory]:
    """Return what a file holds, by symbol."""
    file = HistoryFile(path)
    held = {each.symbol: each for each in file.open()}
    file.close()
    return held


def market(*, has_bulk: bool) -> tuple[FakeExchange, FakeExchange]:
    """Return two venues with symbols that all earn, the second with or without bulk history."""
    spot, perpetual = FakeExchange(perpetual=False), FakeExchange(perpetual=True)
    for index in range(SYMBOL_COUNT):
        symbol = f"X{index}USDT"
        spot.list(FakeListing(symbol))
        perpetual.list(FakeListing(symbol, history("0.0003"), next_rate="0.0003"))
    perpetual.has_bulk_history = has_bulk
    return spot, perpetual


def hang_after(perpetual: FakeExchange, count: int, gate: asyncio.Event) -> None:
    """Let readings of history hang from a number on, so that the scan is in mid-flight."""

    def count_reads(method: str) -> None:
        if method == READS and perpetual.calls[READS] >= count:
            perpetual.gates[READS] = gate

    perpetual.on_call = count_reads


@pytest.mark.timeout(300)
@pytest.mark.parametrize("has_bulk", [True, False])
async def test_killed_scanner_goes_on_with_the_history_it_had(
    tmp_path: Path, has_bulk: bool
) -> None:
    """No row twice, no gap, and what was on the disk is not read again."""
    spot, perpetual = market(has_bulk=has_bulk)
    async with exchange_server(spot) as first, exchange_server(perpetual) as second:
        config, path = tmp_path / "scanner.toml", tmp_path / "history.db"
        config.write_text(
            SETTINGS.format(folder=tmp_path, spot=first.address, perpetual=second.address)
        )
        gate = asyncio.Event()
        hang_after(perpetual, 30, gate)
        async with running(config) as (process, stub):
            await started(stub)
            await until(lambda: asyncio.to_thread(row_count, path), seconds=60)
            process.kill()
            await process.wait()
        gate.set()
        perpetual.on_call = None
        held, first_reads = held_at(path), perpetual.calls[READS]
        async with running(config) as (_, stub):
            scan = await scanned(stub)
            assert (scan.state, scan.symbol_count) == (SUCCEEDED, SYMBOL_COUNT)
        second_reads = perpetual.calls[READS] - first_reads
        again = held_at(path)
    if has_bulk:
        hours = sum(span.end_ms - span.start_ms for span in held[""].spans) / HOUR_MS
        # A page has two settlements of all symbols; each gap may end in a page that is not full.
        assert hours >= 100
        assert second_reads <= 46 - hours / 16 + len(held[""].spans) + 1
    else:
        whole = sum(1 for each in held.values() if each.rows.minutes.size == 91)
        assert whole >= 5
        # Refused in bulk once more, then two pages of each symbol that was not held whole.
        assert second_reads <= 1 + 2 * (SYMBOL_COUNT - whole)
    expected = sorted(round(time / 60_000) for time, _ in perpetual.listings["X0USDT"].rates)[-91:]
    for symbol in perpetual.listings:
        assert again[symbol].rows.minutes.tolist() == expected
