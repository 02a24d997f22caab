"""Venues down, damaged rows, rate limits and bans: what is published is right or stays marked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from opensqt.market_maker.v1 import scanner_pb2
from tests.support.connector import RunningConnector, connector_part, connector_process
from tests.support.scan_faults_rig import (
    CANCELED,
    FAILED,
    HISTORY,
    PARTIAL,
    ScanRig,
    carries,
    scanned_well,
    until,
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

PREMIUM = "/fapi/v1/premiumIndex"


def venues_of(opportunity: Any) -> set[str]:
    """Return the venues of both legs."""
    return {opportunity.long_leg.exchange, opportunity.short_leg.exchange}


def pairs_of_one(rows: Mapping[str, Any], venue: str) -> tuple[str, set[str]]:
    """Return a symbol that has pairs on the venue, and the names of those pairs."""
    symbol = min(row.symbol for row in rows.values() if venue in venues_of(row))
    return symbol, {
        name for name, row in rows.items() if row.symbol == symbol and venue in venues_of(row)
    }


def funding_of(opportunity: Any, venue: str) -> Any:
    """Return the funding figures of the leg on the venue."""
    is_long = opportunity.long_leg.exchange == venue
    return opportunity.long_funding if is_long else opportunity.short_funding


def reasons_of(scan: scanner_pb2.Scan, venue: str, symbol: str) -> list[str]:
    """Return why a scan left an instrument out."""
    return [
        each.reason
        for each in scan.excluded_instruments
        if (each.instrument.exchange, each.instrument.symbol) == (venue, symbol)
    ]


@pytest.mark.parametrize(
    "action",
    [
        {"type": "drop_before"},
        {"type": "http_status", "status": 503, "body": "down"},
        {"type": "empty_body"},
    ],
    ids=["connection-closed", "503", "empty-body"],
)
async def test_one_venue_down_costs_its_own_pairs_only(
    rig: ScanRig, action: dict[str, Any]
) -> None:
    """Other pairs live on; its own keep their figures, and their expiry as it was; it is named."""
    async with rig.scanner(read_attempts=2) as scanner:
        before = await scanned_well(scanner)
        assert any("bybit-linear" in venues_of(row) for row in before.values())
        await rig.break_calls(action, venue="bybit-linear")
        scan = await scanner.scan()
        assert scan.state == PARTIAL
        assert scan.missing_parts
        assert all(part.startswith("bybit-linear") for part in scan.missing_parts)
        after = await scanner.published()
        assert carries(after) == carries(before)
        for name, row in after.items():
            if "bybit-linear" in venues_of(row):
                assert row == before[name]


async def test_all_venues_down_leave_the_list_as_it_was(rig: ScanRig) -> None:
    """A scan that saw nothing has failed, says what it lacks, and changes no line of the list."""
    async with rig.scanner(read_attempts=1) as scanner:
        before = await scanned_well(scanner)
        await rig.break_calls({"type": "drop_before"})
        scan = await scanner.scan()
        assert scan.state == FAILED
        assert scan.missing_parts
        assert await scanner.published() == before


async def test_connector_that_is_gone_is_a_venue_down(rig: ScanRig) -> None:
    """A connector that nobody answers for is named, and the other venues' pairs are published."""
    # Port 9 of loopback: nobody serves there.
    gone = RunningConnector("127.0.0.1:9", None)
    async with rig.with_connector("bybit-linear", gone), rig.scanner(read_attempts=1) as scanner:
        scan = await scanner.scan()
        rows = await scanner.published()
    assert scan.state == PARTIAL
    assert all(part.startswith("bybit-linear") for part in scan.missing_parts)
    assert rows
    assert all("bybit-linear" not in venues_of(row) for row in rows.values())


@pytest.mark.parametrize(
    ("path", "damage", "absent"),
    [
        (PREMIUM, {"lastFundingRate": "abc"}, "predicted_rate"),
        (PREMIUM, {"lastFundingRate": "1000000"}, ""),
        (PREMIUM, {"nextFundingTime": "soon"}, "next_funding_time"),
        ("/fapi/v1/ticker/bookTicker", {"askPrice": "-1"}, ""),
        ("/fapi/v1/ticker/24hr", {"quoteVolume": "NaN"}, ""),
    ],
    ids=["rate-text", "rate-huge", "time-text", "ask-negative", "volume-nan"],
)
async def test_one_malformed_symbol_damages_itself_only(
    rig: ScanRig, path: str, damage: dict[str, Any], absent: str
) -> None:
    """Its pairs go, named with a reason, or lack the damaged figure; all others are as before."""
    async with rig.scanner() as scanner:
        before = await scanned_well(scanner)
        victim, hit = pairs_of_one(before, "binanceusdm")
        rows = await rig.rows(path)
        damaged = [row | damage if row["symbol"] == victim else row for row in rows]
        body = {"type": "http_status", "status": 200, "body": json.dumps(damaged)}
        await rig.break_calls(body, path=path)
        scan = await scanner.scan()
        after = await scanner.published()
    assert after.keys() - hit == before.keys() - hit
    kept = [after[name] for name in hit & after.keys()]
    if absent:
        assert not any(funding_of(row, "binanceusdm").HasField(absent) for row in kept)
    else:
        assert not kept
    assert kept or reasons_of(scan, "binanceusdm", victim)


async def test_malformed_history_of_one_symbol_damages_itself_only(rig: ScanRig) -> None:
    """A settlement that is no number keeps its symbol out, by name, and nothing else."""
    async with rig.scanner() as clean:
        before = await scanned_well(clean)
    victim, hit = pairs_of_one(before, "bybit-linear")
    listing = {"symbol": victim, "fundingRate": "NaN", "fundingRateTimestamp": "1773993600000"}
    body = {"retCode": 0, "retMsg": "OK", "result": {"category": "linear", "list": [listing]}}
    reply = {"type": "http_status", "status": 200, "body": json.dumps(body)}
    await rig.break_calls(reply, path="/v5/market/funding/history", symbol=victim)
    async with rig.scanner() as scanner:
        scan = await scanner.scan()
        after = await scanner.published()
    assert after.keys() == before.keys() - hit
    assert reasons_of(scan, "bybit-linear", victim)


async def test_rate_limit_in_mid_scan_is_waited_out(rig: ScanRig) -> None:
    """A 429 on the way costs its Retry-After and one request more; the figures are the same."""
    async with rig.scanner() as clean:
        expected = await scanned_well(clean)
    async with rig.scanner() as scanner:
        await rig.break_calls(
            {"type": "rate_limit", "status": 429, "retry_after": 1}, path=HISTORY, nth=2
        )
        rows = await scanned_well(scanner)
    assert carries(rows) == carries(expected)


async def test_ban_in_mid_scan_is_told_and_takes_nothing_away(rig: ScanRig, tmp_path: Path) -> None:
    """A ban longer than a scan leaves what stands, marked by its age, and names what is missing."""
    part = connector_part("bybit-linear", rig.venue.address, tmp_path)
    # A connector of its own: it will remember the ban.
    async with (
        connector_process(part, tmp_path) as banned,
        rig.with_connector("bybit-linear", banned),
        rig.scanner(read_attempts=2) as scanner,
    ):
        before = await scanned_well(scanner)
        limit = {"type": "rate_limit", "status": 418, "retry_after": 600}
        await rig.break_calls(limit, path="/v5/market/tickers")
        scan = await scanner.scan()
        after = await scanner.published()
    assert scan.state == PARTIAL
    assert scan.missing_parts
    assert all(part.startswith("bybit-linear") for part in scan.missing_parts)
    assert carries(after) == carries(before)
    held = {name for name, row in before.items() if "bybit-linear" in venues_of(row)}
    assert held
    assert all(after[name] == before[name] for name in held)


async def test_cancel_in_mid_scan_ends_its_requests(rig: ScanRig) -> None:
    """A cancelled scan asks nothing more, the list stands, and the next scan has all workers."""
    async with rig.scanner(workers=2) as scanner:
        before = await scanned_well(scanner)
        await rig.break_calls({"type": "delay", "seconds": 0.3})
        asked = await rig.counting()

        async def is_under_way() -> bool:
            return await asked() >= 2

        scan_id = await scanner.begin()
        await until(is_under_way)
        request = scanner_pb2.CancelScanRequest(scan_id=scan_id)
        scan = (await scanner.stub.CancelScan(request)).scan
        assert scan.state == CANCELED
        assert await scanner.published() == before
        await rig.control.delete("faults")
        assert carries(await scanned_well(scanner)) == carries(before)
