"""Simulated venues, connectors and scanners as processes, for faults in the midst of scans."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from cli.demo.processes import ServiceProcess
from cli.demo.toml_text import to_toml
from opensqt.market_maker.v1 import scanner_pb2, scanner_pb2_grpc
from services.common.channels import open_channel
from tests.support.connector import RunningConnector, connector_part, connector_process
from tests.support.simulator import Control, SimulatorProcess, simulator_process

KINDS = {"binance": "spot", "binanceusdm": "perpetual", "bybit-linear": "perpetual"}
HISTORY = "/fapi/v1/fundingRate"
RUNNING = scanner_pb2.SCAN_STATE_RUNNING
SUCCEEDED = scanner_pb2.SCAN_STATE_SUCCEEDED
PARTIAL = scanner_pb2.SCAN_STATE_PARTIAL
FAILED = scanner_pb2.SCAN_STATE_FAILED
CANCELED = scanner_pb2.SCAN_STATE_CANCELED
_READY_SECONDS = 90.0


def _market() -> tuple[str, ...]:
    """Return a small market of the present hour, just behind its settlements.

    Bybit stamps its rows with the wire's clock, so a market of another day has no history there;
    and none may settle while a test compares two scans.
    """
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    start = hour - timedelta(minutes=55)
    return ("[market]", "symbol_count = 18", "seed = 7", f'start = "{start.isoformat()}"')


@dataclass(slots=True)
class ScannerLife:
    """A scanner process that can be killed and started again on the same files.

    Mutable: a restart has a new client.
    """

    process: ServiceProcess
    history: Path
    stub: Any = None
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self) -> None:
        """Start the process and open a client of it."""
        await self.process.start()
        ready = await self.process.wait_ready(_READY_SECONDS)
        channel = await self._stack.enter_async_context(open_channel(ready["grpc_address"]))
        self.stub = scanner_pb2_grpc.ScannerServiceStub(channel)

    async def kill(self) -> None:
        """End the process with SIGKILL."""
        await self._stack.aclose()
        self.process.kill()
        await self.process.wait_ended()

    async def stop(self) -> None:
        """End the process in order, if it still runs."""
        await self._stack.aclose()
        await self.process.stop()

    async def begin(self) -> str:
        """Start a scan and return its id."""
        request = scanner_pb2.StartScanRequest(request_id=str(uuid.uuid4()))
        return str((await self.stub.StartScan(request)).scan.scan_id)

    async def ended(self, scan_id: str) -> scanner_pb2.Scan:
        """Return a scan once it has ended."""
        asked = scanner_pb2.GetScanStatusRequest(scan_id=scan_id)
        async with asyncio.timeout(60):
            while True:
                scan: scanner_pb2.Scan = (await self.stub.GetScanStatus(asked)).scan
                if scan.state != RUNNING:
                    return scan
                await asyncio.sleep(0.02)

    async def scan(self) -> scanner_pb2.Scan:
        """Run one scan to its end."""
        return await self.ended(await self.begin())

    async def published(self) -> dict[str, Any]:
        """Return what is listed, by the name of the opportunity."""
        answer = await self.stub.ListOpportunities(
            scanner_pb2.ListOpportunitiesRequest(page_size=500)
        )
        return {each.opportunity_id: each for each in answer.opportunities}


class ScanRig:
    """A simulator with a connector for each venue; scanners come and go."""

    def __init__(
        self, folder: Path, venue: SimulatorProcess, connectors: Mapping[str, RunningConnector]
    ) -> None:
        self.folder = folder
        self.venue = venue
        self.control = Control(venue.address)
        self.connectors = dict(connectors)

    @contextlib.asynccontextmanager
    async def scanner(self, **options: Any) -> AsyncIterator[ScannerLife]:
        """Run a scanner that has read nothing yet; `options` are settings of it."""
        name = uuid.uuid4().hex
        config, ready = self.folder / f"{name}.toml", self.folder / f"{name}.ready"
        history = self.folder / f"{name}.history"
        settings = {
            "ready_file": ready,
            "history": {"path": history},
            "shortlist_count": 5,
            # Between scans nothing moves, unless a test is about just that.
            "live": {"count": 0},
            **options,
            "venues": [
                {
                    "name": venue,
                    "kind": KINDS[venue],
                    "address": connector.address,
                    "call_timeout": 30.0,
                }
                for venue, connector in self.connectors.items()
            ],
        }
        config.write_text(to_toml(settings))
        log = self.folder / f"{name}.log"
        process = ServiceProcess(name, "services.scanner", config, ready, log)
        life = ScannerLife(process, history)
        await life.start()
        try:
            yield life
        finally:
            await life.stop()

    @contextlib.asynccontextmanager
    async def with_connector(self, venue: str, connector: RunningConnector) -> AsyncIterator[None]:
        """Let scanners that start within the block call another connector of the venue."""
        kept = self.connectors[venue]
        self.connectors[venue] = connector
        try:
            yield
        finally:
            self.connectors[venue] = kept

    async def break_calls(self, action: Mapping[str, Any], **match: Any) -> None:
        """Arm a fault at the venue, beside those that are armed."""
        rule = {"id": uuid.uuid4().hex, "match": match, "action": action}
        await self.control.post("faults", [rule])

    async def counting(self, path: str | None = None) -> Callable[[], Awaitable[int]]:
        """Return what tells how many requests came since now, of one path or of all."""
        name = uuid.uuid4().hex
        match = {} if path is None else {"path": path}
        # A delay of nothing changes nothing, and is counted.
        action = {"type": "delay", "seconds": 0}
        await self.control.post("faults", [{"id": name, "match": match, "action": action}])

        async def count() -> int:
            rows = await self.control.get("faults")
            return next(int(row["matched"]) for row in rows if row["rule"]["id"] == name)

        return count

    async def rows(self, path: str) -> Any:
        """Return what the venue itself answers to a public request."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{self.venue.address}{path}") as answer,
        ):
            return json.loads(await answer.text())


@contextlib.asynccontextmanager
async def scan_rig(folder: Path, venues: tuple[str, ...] = tuple(KINDS)) -> AsyncIterator[ScanRig]:
    """Run a simulator and connectors of `venues` while the block lasts."""
    async with AsyncExitStack() as stack:
        venue = await stack.enter_async_context(simulator_process(folder, _market()))
        async with asyncio.TaskGroup() as group:
            starts = {
                code: group.create_task(_connector(stack, code, venue.address, folder))
                for code in venues
            }
        yield ScanRig(folder, venue, {code: each.result() for code, each in starts.items()})


async def _connector(
    stack: AsyncExitStack, code: str, venue: str, folder: Path
) -> RunningConnector:
    part = connector_part(code, venue, folder, recv_window_ms=5000)
    return await stack.enter_async_context(connector_process(part, folder))


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Wait for a condition with a deadline."""
    async with asyncio.timeout(seconds):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)


def carries(rows: Mapping[str, Any]) -> dict[str, str]:
    """Return the gross carry of each opportunity as published."""
    return {name: row.gross_apr.value for name, row in rows.items()}


async def scanned_well(scanner: ScannerLife) -> dict[str, Any]:
    """Run a scan that must succeed, and return what it published.

    A busy machine may be at it for longer than its figures live; the next one has them warm.
    """
    for _ in range(3):
        scan = await scanner.scan()
        assert (scan.state, list(scan.missing_parts)) == (SUCCEEDED, [])
        if rows := await scanner.published():
            return rows
    raise AssertionError("three scans published nothing")
