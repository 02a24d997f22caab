"""A connector and a simulator as processes, two callers with tokens, and a good caller's clock."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from opensqt.market_maker.v1 import exchange_pb2, exchange_pb2_grpc
from services.common.call_errors import from_call_error
from services.common.clock import SystemClock
from services.common.errors import OpensqtError
from services.engine.order_entry import OrderEntry, open_order_entry
from tests.support.connector import connector_part, connector_process, eventually
from tests.support.simulator import simulator_process

FLOODER, GOOD = "token-of-the-flooder-0123456789", "token-of-the-good-one-0123456789"


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs: the connector's address and process id, and a stub of the good caller."""

    address: str
    pid: int
    stub: Any

    def resident_mib(self) -> float:
        """Return the connector's resident memory in MiB; raises OSError when it is gone."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise ProcessLookupError(self.pid)


@contextlib.asynccontextmanager
async def wire_stage(folder: Path) -> AsyncIterator[Stage]:
    """Start both processes; the flooder may trade, the good caller is an operator."""
    tables = ["[log]", 'level = "warning"']
    for name, token, role in (("flooder", FLOODER, "operator"), ("good", GOOD, "operator")):
        path = folder / name
        path.write_text(token + "\n")
        tables += [
            "[[grpc.principals]]",
            f'name = "{name}"',
            f'roles = ["{role}"]',
            f'token_file = "{path}"',
        ]
    async with (
        simulator_process(folder) as simulator,
        connector_process(
            connector_part("binance", simulator.address, folder),
            folder,
            tables="\n".join(tables),
            output=folder / "connector.log",
        ) as connector,
        good_channel(connector.address, GOOD) as stub,
    ):
        assert connector.process is not None
        yield Stage(connector.address, connector.process.pid, stub)


@contextlib.asynccontextmanager
async def good_channel(address: str, token: str) -> AsyncIterator[Any]:
    """Yield a stub on a connection of its own that sends a token."""
    from pydantic import SecretStr

    from services.common.channels import open_channel

    async with open_channel(address, token=SecretStr(token)) as channel:
        yield exchange_pb2_grpc.ExchangeServiceStub(channel)


@contextlib.asynccontextmanager
async def order_entry(address: str, token: str) -> AsyncIterator[OrderEntry]:
    """Yield an open order-entry call on a connection of its own, as the engine holds one."""
    async with (
        good_channel(address, token) as stub,
        open_order_entry("venue", stub, SystemClock()) as entry,
    ):
        await eventually(lambda: _is_open(entry))
        yield entry


async def _is_open(entry: OrderEntry) -> bool:
    return entry.is_open


@dataclass(slots=True)
class Latencies:
    """Seconds of the calls that were served, and how many were not. Mutable: it collects."""

    seconds: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)

    def add(self, other: Latencies) -> None:
        """Take in what another collected."""
        self.seconds += other.seconds
        self.failed += other.failed

    def percentile(self, share: float) -> float:
        """Return the time in ms that this share of the calls stayed within."""
        ordered = sorted(self.seconds)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1_000

    async def measure(self, call: Callable[[], Awaitable[Any]]) -> None:
        """Make one call and note its time, or the code it failed with."""
        start = time.perf_counter()
        try:
            await call()
        except grpc.aio.AioRpcError as error:
            self.failed[f"{error.code().name} {from_call_error(error).reason}"] += 1
        except OpensqtError as error:
            self.failed[f"{error.code.name} {error.reason}"] += 1
        else:
            self.seconds.append(time.perf_counter() - start)


async def steady(
    call: Callable[[], Awaitable[Any]], work: Coroutine[Any, Any, Any], pause: float
) -> Any:
    """Make a good caller's calls, one at a time, until `work` is done; return both."""
    latencies = Latencies()
    task = asyncio.get_running_loop().create_task(work)
    while not task.done():
        await latencies.measure(call)
        await asyncio.sleep(pause)
    return await task, latencies


def symbol_info(stub: Any) -> Callable[[], Awaitable[Any]]:
    """Return the good caller's call: a read that needs the connector alone."""
    request = exchange_pb2.GetSymbolInfoRequest(symbol="BTCUSDT")
    return lambda: stub.GetSymbolInfo(request, timeout=10)


async def run_json(module: str, plan: dict[str, Any]) -> Any:
    """Run a module of this package with a plan and return what it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"tests.support.{module}", json.dumps(plan)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return json.loads(said)
