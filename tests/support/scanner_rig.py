"""A scanner on scripted venues, and what tests ask of it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from opensqt.market_maker.v1 import scanner_pb2, scanner_pb2_grpc
from services.common.channels import open_channel
from services.common.metrics import ServiceMetrics
from services.common.settings import VenueSettings
from services.scanner.bootstrap import scanner
from services.scanner.history_store import HistoryStore, MemoryHistoryStore
from services.scanner.settings import ScannerSettings
from tests.support.fake_exchange import (
    FakeExchange,
    FakeListing,
    exchange_server,
    history,
)

RUNNING = scanner_pb2.SCAN_STATE_RUNNING
SUCCEEDED = scanner_pb2.SCAN_STATE_SUCCEEDED
PARTIAL = scanner_pb2.SCAN_STATE_PARTIAL
FAILED = scanner_pb2.SCAN_STATE_FAILED
CANCELED = scanner_pb2.SCAN_STATE_CANCELED
Stub = Any


def markets() -> tuple[FakeExchange, FakeExchange]:
    """Return a spot and a perpetual venue with a good, a dull and a negative symbol."""
    spot, perpetual = FakeExchange(perpetual=False), FakeExchange(perpetual=True)
    for symbol, rate in (("AAAUSDT", "0.0005"), ("BBBUSDT", "0.00001"), ("CCCUSDT", "-0.0008")):
        spot.list(FakeListing(symbol))
        perpetual.list(FakeListing(symbol, rates=history(rate), next_rate=rate))
    return spot, perpetual


@asynccontextmanager
async def scanning(
    spot: FakeExchange, perpetual: FakeExchange, **options: Any
) -> AsyncIterator[Stub]:
    """Run both venues and a scanner; yield a client of the scanner."""
    async with exchange_server(spot) as first, exchange_server(perpetual) as second:
        venues = (
            VenueSettings(name="spotty", kind="spot", address=first.address),
            VenueSettings(name="perpy", kind="perpetual", address=second.address),
        )
        async with scanner_of(venues, **options) as stub:
            yield stub


@asynccontextmanager
async def scanner_of(
    venues: tuple[VenueSettings, ...], *, store: HistoryStore | None = None, **options: Any
) -> AsyncIterator[Stub]:
    """Run a scanner over venues, its histories in memory unless told; yield a client."""
    kept = MemoryHistoryStore() if store is None else store
    settings = ScannerSettings(venues=venues, **{"workers": 3, "queue_capacity": 4, **options})
    async with (
        scanner(settings, ServiceMetrics("scanner"), store=kept) as server,
        server,
        open_channel(server.address) as channel,
    ):
        yield scanner_pb2_grpc.ScannerServiceStub(channel)


async def started(stub: Stub) -> str:
    """Start a scan and return its id."""
    request = scanner_pb2.StartScanRequest(request_id=str(uuid.uuid4()))
    return str((await stub.StartScan(request)).scan.scan_id)


async def status(stub: Stub, scan_id: str = "") -> scanner_pb2.Scan:
    """Return a scan as it stands."""
    answer = await stub.GetScanStatus(scanner_pb2.GetScanStatusRequest(scan_id=scan_id))
    scan: scanner_pb2.Scan = answer.scan
    return scan


async def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait for a condition, plain or asynchronous, with a deadline."""
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if await result if asyncio.iscoroutine(result) else result:
                return
            await asyncio.sleep(0.01)


async def scanned(stub: Stub) -> scanner_pb2.Scan:
    """Run one scan to its end."""
    scan_id = await started(stub)

    async def is_over() -> bool:
        return (await status(stub, scan_id)).state != RUNNING

    await until(is_over)
    return await status(stub, scan_id)


async def listed(stub: Stub, **filters: Any) -> list[Any]:
    """List opportunities."""
    answer = await stub.ListOpportunities(scanner_pb2.ListOpportunitiesRequest(**filters))
    return list(answer.opportunities)


def reasons(scan: scanner_pb2.Scan) -> dict[tuple[str, str], str]:
    """Return reasons by (venue, symbol), joined where there are several."""
    found: dict[tuple[str, str], str] = {}
    for each in scan.excluded_instruments:
        key = (each.instrument.exchange, each.instrument.symbol)
        found[key] = f"{found[key]},{each.reason}" if key in found else each.reason
    return found


async def after_scan(stub: Stub) -> list[Any]:
    """Run one scan and list what it found."""
    await scanned(stub)
    return await listed(stub)
