"""The processes of a scan under measurement: venues, their connectors, and a scanner."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import grpc

from benchmarks.processes import Started, started
from benchmarks.stage import Stage
from benchmarks.witnessed_venue import Answer, read_answers
from opensqt.market_maker.v1 import scanner_pb2, scanner_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

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


class ScanStage(Stage):
    """Venues and connectors that live as long as the block; scanners come and go on them.

    Each family of venues has a simulator of its own, as it has an address and limits of its own.
    """

    def __init__(self, folder: Path, symbol_count: int, venues: Mapping[str, str]) -> None:
        super().__init__(folder)
        self._symbol_count = symbol_count
        self._kinds = venues
        self._simulators: dict[str, Started] = {}
        self.connectors: dict[str, Started] = {}

    async def _start_all(self) -> None:
        for family in dict.fromkeys(_FAMILIES[venue] for venue in self._kinds):
            self._simulators[family] = await self._start(
                "benchmarks.witnessed_venue",
                family,
                *("--record", str(self._record(family)), "--symbols", str(self._symbol_count)),
                *("--response-seconds", str(RESPONSE_SECONDS)),
            )
        for venue in self._kinds:
            address = self._simulators[_FAMILIES[venue]].address
            self.connectors[venue] = await self._start_connector(venue, address)

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
