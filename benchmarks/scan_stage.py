"""The processes of a scan under measurement: venues, their connectors, and a scanner."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Self

import grpc

from benchmarks.processes import Started, started
from benchmarks.witnessed_venue import API_KEY, API_SECRET, Answer, read_answers
from cli.demo.toml_text import to_toml
from opensqt.market_maker.v1 import scanner_pb2, scanner_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path
    from types import TracebackType

RESPONSE_SECONDS: Final = 0.05
"""What a request to a venue takes on its way and there."""
BINANCE: Final = {"binance": "spot", "binanceusdm": "perpetual"}
THREE_VENUES: Final = {**BINANCE, "bybit-linear": "perpetual"}
_SCAN_SECONDS: Final = 300.0
# Seldom, since every question takes time from the scanner under measurement.
_POLL_SECONDS: Final = 0.1
_FAMILIES: Final = {"binance": "binance", "binanceusdm": "binance", "bybit-linear": "bybit"}


@dataclass(frozen=True, slots=True)
class ScanFigures:
    """One scan: the scanner's own word for its time and calls, and what the processes used."""

    seconds: float
    symbols: int
    opportunities: int
    connector_calls: int
    answers: tuple[Answer, ...]
    scanner_cpu: float
    connector_cpu: float
    venue_cpu: float
    scanner_bytes: int

    @property
    def venue_calls(self) -> Counter[str]:
        """Requests to the venues by path."""
        return Counter(answer.path for answer in self.answers)


class ScanStage:
    """Venues and connectors that live as long as the block; scanners come and go on them.

    Each family of venues has a simulator of its own, as it has an address and limits of its own.
    """

    def __init__(self, folder: Path, symbol_count: int, venues: Mapping[str, str]) -> None:
        self._folder = folder / uuid.uuid4().hex
        self._folder.mkdir()
        self._bytecode = folder / "bytecode"
        self._symbol_count = symbol_count
        self._kinds = venues
        self._stack = AsyncExitStack()
        self._simulators: dict[str, Started] = {}
        self.connectors: dict[str, Started] = {}

    async def __aenter__(self) -> Self:
        """Start venues and connectors."""
        try:
            for family in dict.fromkeys(_FAMILIES[venue] for venue in self._kinds):
                self._simulators[family] = await self._start_venue(family)
            for venue in self._kinds:
                self.connectors[venue] = await self._start_connector(venue)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """End all processes."""
        await self._stack.aclose()

    @asynccontextmanager
    async def scanner(self, **options: Any) -> AsyncIterator[RunningScanner]:
        """Run a scanner that has read nothing yet; `options` are settings of it."""
        name = uuid.uuid4().hex
        ready = self._folder / f"{name}.ready"
        settings = {
            "ready_file": ready,
            "log": {"level": "warning"},
            # Its own file: a scanner that found another's history would not be cold.
            "history": {"path": self._folder / f"{name}.history"},
            **options,
            "venues": [
                {
                    "name": venue,
                    "kind": kind,
                    "address": self.connectors[venue].address,
                    "call_timeout": timedelta(seconds=60).total_seconds(),
                }
                for venue, kind in self._kinds.items()
            ],
        }
        arguments = self._configure(name, settings)
        async with (
            started("services.scanner", arguments, ready, self._bytecode) as process,
            grpc.aio.insecure_channel(process.address) as channel,
        ):
            stub = scanner_pb2_grpc.ScannerServiceStub(channel)
            yield RunningScanner(self, process, stub)

    def answers(self, since: Mapping[str, int]) -> tuple[Answer, ...]:
        """Return what the venues answered to scans since `marks` were taken."""
        found = [
            answer
            for family, start in since.items()
            for answer in read_answers(self._record(family), start)
        ]
        return tuple(answer for answer in found if answer.is_of_scan)

    def marks(self) -> dict[str, int]:
        """Return how far the records of the venues go now."""
        return {family: self._record(family).stat().st_size for family in self._simulators}

    def connector_cpu(self) -> float:
        """Return CPU seconds that the connectors have used."""
        return sum(each.cpu_seconds() for each in self.connectors.values())

    def venue_cpu(self) -> float:
        """Return CPU seconds that the simulated venues have used."""
        return sum(each.cpu_seconds() for each in self._simulators.values())

    def _record(self, family: str) -> Path:
        return self._folder / f"{family}.record"

    async def _start_venue(self, family: str) -> Started:
        ready = self._folder / f"{family}.ready"
        arguments = [
            *("--ready", str(ready), "--record", str(self._record(family))),
            *("--symbols", str(self._symbol_count), "--response-seconds", f"{RESPONSE_SECONDS}"),
        ]
        return await self._enter("benchmarks.witnessed_venue", arguments, ready)

    async def _start_connector(self, venue: str) -> Started:
        ready = self._folder / f"{venue}.ready"
        part = {
            "exchange": venue,
            "base_url": f"http://{self._simulators[_FAMILIES[venue]].address}",
            "api_key": API_KEY,
            "api_secret": API_SECRET,
            "ledger_path": self._folder / f"{venue}.ledger",
        }
        settings = {"ready_file": ready, "log": {"level": "error"}, "connector": part}
        return await self._enter("services.connector", self._configure(venue, settings), ready)

    async def _enter(self, module: str, arguments: list[str], ready: Path) -> Started:
        return await self._stack.enter_async_context(
            started(module, arguments, ready, self._bytecode)
        )

    def _configure(self, name: str, settings: Mapping[str, Any]) -> list[str]:
        config = self._folder / f"{name}.toml"
        config.write_text(to_toml(settings), encoding="utf-8")
        return ["--config", str(config)]


class RunningScanner:
    """A scanner process and a client of it."""

    def __init__(
        self,
        stage: ScanStage,
        process: Started,
        stub: scanner_pb2_grpc.ScannerServiceAsyncStub,
    ) -> None:
        self._stage = stage
        self._process = process
        self._stub = stub

    async def scan(self) -> ScanFigures:
        """Run one scan to its end; RuntimeError unless it succeeded with nothing missing."""
        stage, marks = self._stage, self._stage.marks()
        own, theirs, venues = (
            self._process.cpu_seconds(),
            stage.connector_cpu(),
            stage.venue_cpu(),
        )
        scan = await self._run()
        if scan.state != scanner_pb2.SCAN_STATE_SUCCEEDED or scan.missing_parts:
            raise RuntimeError(f"the scan lacks something: {list(scan.missing_parts)[:5]}")
        return ScanFigures(
            seconds=scan.elapsed.ToTimedelta().total_seconds(),
            symbols=scan.symbol_count,
            opportunities=scan.opportunity_count,
            connector_calls=scan.venue_call_count,
            answers=stage.answers(marks),
            scanner_cpu=self._process.cpu_seconds() - own,
            connector_cpu=stage.connector_cpu() - theirs,
            venue_cpu=stage.venue_cpu() - venues,
            scanner_bytes=self._process.resident_bytes(),
        )

    async def _run(self) -> scanner_pb2.Scan:
        request = scanner_pb2.StartScanRequest(request_id=str(uuid.uuid4()))
        scan = (await self._stub.StartScan(request)).scan
        asked = scanner_pb2.GetScanStatusRequest(scan_id=scan.scan_id)
        async with asyncio.timeout(_SCAN_SECONDS):
            while scan.state == scanner_pb2.SCAN_STATE_RUNNING:
                await asyncio.sleep(_POLL_SECONDS)
                scan = (await self._stub.GetScanStatus(asked)).scan
        return scan
