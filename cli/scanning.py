"""Scans and opportunities through the scanner's API."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opensqt.market_maker.v1 import opportunity_pb2, scanner_pb2, scanner_pb2_grpc
from services.common.codec import decimal_to_proto

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from decimal import Decimal

POLL_SECONDS = 0.1
PAGE_SIZE = 500


@dataclass(frozen=True, slots=True)
class OpportunityFilter:
    """Which opportunities to ask for; `min_net_apr` is a fraction a year."""

    min_net_apr: Decimal | None = None
    symbols: tuple[str, ...] = ()


async def run_scan(
    scanner: scanner_pb2_grpc.ScannerServiceAsyncStub,
    request_id: str,
    on_progress: Callable[[scanner_pb2.Scan], None],
) -> scanner_pb2.Scan:
    """Start a scan (or join the one that runs) and follow it to its end.

    `on_progress` hears of every state read on the way.
    """
    request = scanner_pb2.StartScanRequest(request_id=request_id)
    # Answers at once: the scan is the scanner's and outlives this process.
    scan = (await scanner.StartScan(request)).scan
    on_progress(scan)
    while scan.state == scanner_pb2.SCAN_STATE_RUNNING:
        await asyncio.sleep(POLL_SECONDS)
        status = scanner_pb2.GetScanStatusRequest(scan_id=scan.scan_id)
        scan = (await scanner.GetScanStatus(status)).scan
        on_progress(scan)
    return scan


async def list_opportunities(
    scanner: scanner_pb2_grpc.ScannerServiceAsyncStub,
    wanted: OpportunityFilter,
    most: int,
) -> list[opportunity_pb2.Opportunity]:
    """Read the best `most` opportunities of the last scan, page by page."""
    rows: list[opportunity_pb2.Opportunity] = []
    token = ""
    while len(rows) < most:
        request = scanner_pb2.ListOpportunitiesRequest(
            page_size=min(PAGE_SIZE, most - len(rows)),
            page_token=token,
            min_net_apr=decimal_to_proto(wanted.min_net_apr),
            symbols=wanted.symbols,
        )
        page = await scanner.ListOpportunities(request)
        rows.extend(page.opportunities)
        token = page.next_page_token
        # Only an empty token is the end: a page may hold fewer rows than asked.
        if not token:
            break
    return rows


async def symbols_without(
    scanner: scanner_pb2_grpc.ScannerServiceAsyncStub, symbols: Iterable[str]
) -> list[str]:
    """Return those of which no opportunity stands, however small its carry."""
    return [
        symbol
        for symbol in symbols
        if not await list_opportunities(scanner, OpportunityFilter(symbols=(symbol,)), 1)
    ]


async def watch_opportunities(
    scanner: scanner_pb2_grpc.ScannerServiceAsyncStub, wanted: OpportunityFilter
) -> AsyncIterator[scanner_pb2.WatchOpportunitiesResponse]:
    """Follow the published opportunities until the caller stops or the stream ends."""
    # No resume token: whoever watches anew wants to see what stands now.
    request = scanner_pb2.WatchOpportunitiesRequest(
        min_net_apr=decimal_to_proto(wanted.min_net_apr), symbols=wanted.symbols
    )
    async for response in scanner.WatchOpportunities(request):
        yield response
