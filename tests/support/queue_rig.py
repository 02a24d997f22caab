"""Scanner processes that share a queue, on slow venues that note who asked for what."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opensqt.market_maker.v1 import exchange_pb2, scanner_pb2_grpc
from services.common.channels import open_channel
from services.common.errors import UnimplementedError
from tests.support.fake_exchange import FakeExchange, FakeListing, exchange_server, history
from tests.support.scanner_rig import Stub, until

SYMBOLS = tuple(f"C{number:03}USDT" for number in range(120))


@dataclass
class SlowExchange(FakeExchange):
    """A venue whose histories take `seconds` each; mutable, as the venue it comes from."""

    seconds: float = 0.05
    askers: Counter[str] = field(default_factory=Counter)
    readings: Counter[str] = field(default_factory=Counter)
    running: Counter[str] = field(default_factory=Counter)
    most_running: int = 0

    async def GetHistoricalFundingRates(  # noqa: N802 - gRPC fixes the name
        self, request: Any, context: Any
    ) -> exchange_pb2.GetHistoricalFundingRatesResponse:
        """Answer slowly, and note which process asked and how many at once."""
        if not request.symbol:
            raise UnimplementedError("history by symbol only")
        asker = context.peer()
        self.askers[asker] += 1
        self.readings[request.symbol] += 1
        self.running[asker] += 1
        self.most_running = max(self.most_running, self.running[asker])
        try:
            await asyncio.sleep(self.seconds)
            return await super().GetHistoricalFundingRates(request, context)
        finally:
            self.running[asker] -= 1


@dataclass(frozen=True, slots=True)
class Venues:
    """The two venues and the settings that lead to them."""

    spot: SlowExchange
    perpetual: SlowExchange
    tables: str


@dataclass(frozen=True, slots=True)
class ScannerProcess:
    """A scanner of its own process, and a client of it."""

    process: asyncio.subprocess.Process
    stub: Stub
    log: Path


@asynccontextmanager
async def venues(seconds: float = 0.05) -> AsyncIterator[Venues]:
    """Run a spot and a perpetual venue of 120 symbols, history by symbol only."""
    spot, perpetual = SlowExchange(perpetual=False), SlowExchange(perpetual=True, seconds=seconds)
    for symbol in SYMBOLS:
        spot.list(FakeListing(symbol))
        perpetual.list(FakeListing(symbol, rates=history("0.0005"), next_rate="0.0005"))
    table = '[[venues]]\nname = "{}"\nkind = "{}"\naddress = "{}"\n'
    async with exchange_server(spot) as first, exchange_server(perpetual) as second:
        tables = table.format("spotty", "spot", first.address)
        tables += table.format("perpy", "perpetual", second.address)
        yield Venues(spot, perpetual, tables)


@asynccontextmanager
async def scanner_process(
    folder: Path, name: str, tables: str, server: str, options: str = ""
) -> AsyncIterator[ScannerProcess]:
    """Run a scanner on a queue; yield it once it serves."""
    ready, config, log = folder / f"{name}.json", folder / f"{name}.toml", folder / f"{name}.log"
    config.write_text(
        f'ready_file = "{ready}"\nworkers = 8\n'
        f'[history]\npath = "{folder / name}.sqlite"\n'
        f'[nats]\nservers = ["{server}"]\nprefix = "test.queue"\nack_wait_seconds = 1.0\n'
        f"{options}\n{tables}"
    )
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.scanner", "--config", str(config), stderr=written
        )
    try:
        await until(lambda: ready.exists() or process.returncode is not None, seconds=90)
        assert process.returncode is None, log.read_text()
        async with open_channel(json.loads(ready.read_text())["grpc_address"]) as channel:
            yield ScannerProcess(process, scanner_pb2_grpc.ScannerServiceStub(channel), log)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
