"""The scanner with real connectors on the simulator: hundreds of symbols, cold and warm."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from opensqt.market_maker.v1 import scanner_pb2, scanner_pb2_grpc
from services.common.channels import open_channel
from services.common.metrics import ServiceMetrics
from services.common.settings import VenueSettings
from services.connector.settings import ConnectorPart
from services.scanner.bootstrap import scanner
from services.scanner.history_store import MemoryHistoryStore
from services.scanner.settings import ScannerSettings
from tests.support.connector import connector_part, connector_process
from tests.support.plain_funding import plain_statistics
from tests.support.simulator import simulator_process

RUNNING = scanner_pb2.SCAN_STATE_RUNNING
SUCCEEDED = scanner_pb2.SCAN_STATE_SUCCEEDED
ROOT = Path(__file__).resolve().parents[2]
VENUES = (("binance", "spot"), ("binanceusdm", "perpetual"))
# Starting three processes and a cold scan on a busy machine.
pytestmark = pytest.mark.timeout(300)


def _part(code: str, venue: str, folder: Path) -> ConnectorPart:
    # A cold scan keeps all processes busy: a request may wait for long before the venue reads it.
    return connector_part(code, venue, folder, recv_window_ms=20_000)


@asynccontextmanager
async def running_scanner(
    folder: Path, market: Sequence[str], **options: Any
) -> AsyncIterator[tuple[Any, str]]:
    """Run simulator and connectors as processes and a scanner here; yield its client and the
    venue.
    """
    async with (
        simulator_process(folder, ("[market]", *market)) as venue,
        connector_process(_part("binance", venue.address, folder), folder) as spot,
        connector_process(_part("binanceusdm", venue.address, folder), folder) as perpetual,
    ):
        venues = tuple(
            VenueSettings(
                name=name, kind=kind, address=connector.address, call_timeout=timedelta(seconds=30)
            )
            for (name, kind), connector in zip(VENUES, (spot, perpetual), strict=True)
        )
        settings = ScannerSettings(venues=venues, **options)
        async with (
            scanner(settings, ServiceMetrics("scanner"), store=MemoryHistoryStore()) as server,
            server,
            open_channel(server.address) as channel,
        ):
            yield scanner_pb2_grpc.ScannerServiceStub(channel), venue.address


async def scanned(stub: Any) -> scanner_pb2.Scan:
    """Run one scan to its end."""
    request = scanner_pb2.StartScanRequest(request_id=str(uuid.uuid4()))
    scan: scanner_pb2.Scan = (await stub.StartScan(request)).scan
    async with asyncio.timeout(100):
        while scan.state == RUNNING:
            await asyncio.sleep(0.05)
            told = scanner_pb2.GetScanStatusRequest(scan_id=scan.scan_id)
            scan = (await stub.GetScanStatus(told)).scan
    return scan


def left_out(scan: scanner_pb2.Scan) -> set[str]:
    """Return the perpetuals that a scan names a reason for."""
    return {
        each.instrument.symbol
        for each in scan.excluded_instruments
        if each.instrument.exchange == "binanceusdm"
    }


async def settled(venue: str, symbol: str, start_ms: int) -> list[tuple[int, Decimal]]:
    """Return a perpetual's settlements straight from the venue's own REST interface."""
    query = {"symbol": symbol, "startTime": str(start_ms), "limit": "1000"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{venue}/fapi/v1/fundingRate", params=query) as response,
    ):
        return [
            (int(row["fundingTime"]), Decimal(row["fundingRate"])) for row in await response.json()
        ]


async def test_three_hundred_generated_symbols_are_scanned_cold_and_warm(tmp_path: Path) -> None:
    """A cold scan covers them all; a warm one costs a constant plus the shortlist; figures are
    true.
    """
    options = {"shortlist_count": 5}
    async with running_scanner(tmp_path, ("symbol_count = 320",), **options) as (stub, venue):
        cold = await scanned(stub)
        assert (cold.state, list(cold.missing_parts)) == (SUCCEEDED, [])
        assert cold.symbol_count > 200
        assert cold.symbol_count + len(left_out(cold)) >= 300
        assert cold.opportunity_count > 0
        assert cold.venue_call_count < 120
        warm = await scanned(stub)
        assert warm.symbol_count + len(left_out(warm)) >= 300
        # Eight calls of bulk, one or two of history; twice at most the shortlist's two books, fee,
        # candles and open interest.
        assert warm.venue_call_count <= 10 + 2 * 5 * 5
        answer = await stub.ListOpportunities(scanner_pb2.ListOpportunitiesRequest(page_size=5))
        assert len(answer.opportunities) == 5
        for each in answer.opportunities:
            await _is_true(venue, each)
            # Both books of real connectors were walked, to the end or to where it stops to pay.
            assert Decimal(each.capacity_notional.value) > Decimal(each.cost_notional.value) > 0
            assert {"long_slippage", "short_slippage"} <= each.costs.keys()


async def _is_true(venue: str, opportunity: Any) -> None:
    """Compute the carry of an opportunity again, plainly, from what the venue itself tells."""
    is_short = opportunity.HasField("short_funding")
    funding = opportunity.short_funding if is_short else opportunity.long_funding
    end = funding.last_settlement_time.seconds * 1000
    rows = await settled(venue, opportunity.symbol, end - 9 * 86_400_000)
    expected = plain_statistics([row for row in rows if row[0] <= end + 60_000])
    assert expected is not None
    sign = 1 if is_short else -1
    assert float(opportunity.gross_apr.value) == pytest.approx(
        sign * float(expected["apr_7d"] or 0), rel=1e-9
    )
    assert funding.interval.seconds == int(expected["interval_h"] or 0) * 3600


@pytest.mark.recorded
async def test_all_recorded_symbols_are_scanned(tmp_path: Path) -> None:
    """On the recorded histories at least 300 perpetuals are looked at and each is accounted for."""
    data = Path(os.environ.get("OPENSQT_DATA", ROOT.parent / "shared" / "data"))
    if not (data / "reference_metrics.csv").is_file():
        pytest.skip(f"no recorded market data at {data}; set OPENSQT_DATA")
    async with running_scanner(tmp_path, (f'data = "{data}"',)) as (stub, _):
        scan = await scanned(stub)
        answer = await stub.ListOpportunities(scanner_pb2.ListOpportunitiesRequest(page_size=500))
    assert scan.state == SUCCEEDED
    assert scan.symbol_count > 100
    published = {each.symbol for each in answer.opportunities}
    assert published
    assert len(published | left_out(scan)) >= 300
