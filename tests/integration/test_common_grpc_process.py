"""A service as a process: ready file, exporter, signals, drain, exit codes."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.common.channels import open_channel
from tests.support.echo_service import Number, method, raw, unary

ROOT = Path(__file__).parents[2]
WAIT = 60.0
Process = asyncio.subprocess.Process


@asynccontextmanager
async def echo_process(config: Path) -> AsyncIterator[Process]:
    """Run the echo process; kill it when the test leaves it alive."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.echo_process",
        "--config",
        str(config),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ready(path: Path) -> dict[str, Any]:
    """Return the ready file once it is there."""
    await until(path.exists)
    document: dict[str, Any] = json.loads(await asyncio.to_thread(path.read_text))
    return document


async def until(is_met: Callable[[], bool]) -> None:
    """Wait until a condition outside this process is met; fail after the deadline."""
    async with asyncio.timeout(WAIT):
        while not is_met():  # noqa: ASYNC110 - another process changes it, no event reaches us
            await asyncio.sleep(0.02)


def configured(folder: Path, drain_seconds: float) -> tuple[Path, Path]:
    """Write a configuration and return it with the path of the ready file it names."""
    config, ready_file = folder / "echo.toml", folder / "ready.json"
    config.write_text(f'ready_file = "{ready_file}"\n[grpc]\ndrain_seconds = {drain_seconds}\n')
    return config, ready_file


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_the_call_in_flight_and_exits_with_0(
    tmp_path: Path, number: signal.Signals
) -> None:
    """The ready file tells the addresses, the bounded drain cuts the call, the file goes away."""
    config, ready_file = configured(tmp_path, 0.3)
    async with echo_process(config) as process:
        document = await ready(ready_file)
        assert (document["service"], document["pid"]) == ("echo", process.pid)
        async with open_channel(document["grpc_address"]) as channel:
            stream = raw(channel).unary_stream(method("Many"))(
                Number(value="1").SerializeToString()
            )
            await stream.read()
            slow = unary(channel, "Slow")(Number(value="1"))
            await unary(channel, "One")(Number(value="1"))
            scraped = await asyncio.to_thread(_scrape, document["metrics_address"])
            process.send_signal(number)
            with pytest.raises(grpc.aio.AioRpcError):
                await slow
        async with asyncio.timeout(WAIT):
            _, log = await process.communicate()
    assert 'opensqt_echo_grpc_requests_total{code="OK"' in scraped
    assert process.returncode == 0
    assert not ready_file.exists()
    lines = [json.loads(line) for line in log.decode().splitlines()]
    stopped = [line for line in lines if line["event"] == "service_stopped"]
    assert [line["calls_cut"] for line in stopped] == [1]


async def test_a_second_signal_ends_a_long_drain(tmp_path: Path) -> None:
    """An operator who signals twice does not wait for the grace period; the exit code says so."""
    config, ready_file = configured(tmp_path, 300)
    async with echo_process(config) as process:
        document = await ready(ready_file)
        async with open_channel(document["grpc_address"]) as channel:
            slow = unary(channel, "Slow")(Number(value="1"), wait_for_ready=True)
            await unary(channel, "One")(Number(value="1"))
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(WAIT):
                await until(lambda: not ready_file.exists())
                process.send_signal(signal.SIGTERM)
                with pytest.raises(grpc.aio.AioRpcError):
                    await slow
                await process.communicate()
    assert process.returncode == 1


async def test_a_taken_port_ends_the_process_with_one_clear_line(tmp_path: Path) -> None:
    """Exit code 1 and a problem in the log, no traceback."""
    config, ready_file = configured(tmp_path, 0)
    async with echo_process(config):
        port = (await ready(ready_file))["grpc_address"].rpartition(":")[2]
        other = tmp_path / "other.toml"
        other.write_text(f"[grpc]\nport = {port}\n")
        async with echo_process(other) as second, asyncio.timeout(WAIT):
            _, log = await second.communicate()
    assert second.returncode == 1
    assert "is the port taken?" in log.decode()
    assert "Traceback" not in log.decode()


async def test_bad_settings_end_the_process_with_2(tmp_path: Path) -> None:
    """All problems on stderr, no traceback, status 2."""
    config = tmp_path / "echo.toml"
    config.write_text('[grpc]\nhost = "0.0.0.0"\n[log]\nlevel = "loud"\n')
    async with echo_process(config) as process, asyncio.timeout(WAIT):
        _, text = await process.communicate()
    assert process.returncode == 2
    assert "grpc: listening on 0.0.0.0 needs token_file and tls" in text.decode()
    assert "log.level:" in text.decode()
    assert "Traceback" not in text.decode()


def _scrape(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as reply:
        body: bytes = reply.read()
    return body.decode()
