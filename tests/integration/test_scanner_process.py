"""The scanner as a process: start, ready file, shutdown with open streams, bad settings."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from opensqt.market_maker.v1 import scanner_pb2, scanner_pb2_grpc
from services.common.call_errors import translated
from services.common.channels import open_channel
from services.common.errors import UnreachableError
from tests.support.fake_exchange import exchange_server
from tests.support.scanner_rig import Stub, markets, scanned, until

VENUE = '[[venues]]\nname = "{name}"\nkind = "{kind}"\naddress = "{address}"\n'


async def start(config: Path) -> asyncio.subprocess.Process:
    """Start the service on a settings file."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.scanner",
        "--config",
        str(config),
        env=dict(os.environ),
        stderr=asyncio.subprocess.PIPE,
    )


async def test_process_serves_and_stops_in_order(tmp_path: Path) -> None:
    """It tells where it serves, scans, ends watchers with UNAVAILABLE on SIGTERM and exits with
    0.
    """
    ready, config = tmp_path / "ready.json", tmp_path / "scanner.toml"
    spot, perpetual = markets()
    async with exchange_server(spot) as first, exchange_server(perpetual) as second:
        config.write_text(
            f'ready_file = "{ready}"\nhistory.path = "{tmp_path / "history.db"}"\n'
            + VENUE.format(name="spotty", kind="spot", address=first.address)
            + VENUE.format(name="perpy", kind="perpetual", address=second.address)
        )
        process = await start(config)
        try:
            await until(ready.exists, seconds=60)
            told = json.loads(ready.read_text())
            assert (told["service"], told["pid"]) == ("scanner", process.pid)
            async with open_channel(told["grpc_address"]) as channel:
                stub: Stub = scanner_pb2_grpc.ScannerServiceStub(channel)
                assert (await scanned(stub)).state == scanner_pb2.SCAN_STATE_SUCCEEDED
                watch = stub.WatchOpportunities(scanner_pb2.WatchOpportunitiesRequest())
                assert (await watch.read()).upsert.symbol == "AAAUSDT"
                assert (await watch.read()).HasField("caught_up")
                process.send_signal(signal.SIGTERM)
                with pytest.raises(UnreachableError), translated():
                    await watch.read()
            async with asyncio.timeout(60):
                assert await process.wait() == 0
            assert not ready.exists()
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def test_bad_settings_are_told_all_at_once(tmp_path: Path) -> None:
    """A settings file with several mistakes names each of them and exits with 2."""
    config = tmp_path / "scanner.toml"
    config.write_text(
        "workers = 0\nscan_intervall_seconds = 5\n"
        + VENUE.format(name="spotty", kind="spot", address="nowhere")
    )
    process = await start(config)
    _, stderr = await process.communicate()
    assert process.returncode == 2
    for part in (b"workers", b"did you mean scan_interval_seconds?", b"venues[0].address"):
        assert part in stderr
