"""A venue whose own clock jumps: nothing that was published is taken back for it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.common.clock import SystemClock
from services.common.codec import to_millis
from services.common.metrics import ServiceMetrics
from services.common.settings import VenueSettings
from services.scanner.history_disk import DiskHistoryStore
from services.scanner.metrics import ScannerMetrics
from tests.support.connector import patient_part, running_connector
from tests.support.fake_exchange import NOW, FakeExchange, FakeListing, history
from tests.support.scanner_rig import FAILED, SUCCEEDED, listed, scanned, scanner_of, scanning
from tests.support.simulator import Control, running_simulator, simulator_settings


@pytest.mark.parametrize("jump", [timedelta(days=3), timedelta(days=-3)])
async def test_venue_clock_that_jumps_empties_no_list(jump: timedelta) -> None:
    """The scan that meets it says what is wrong and keeps the list; the next scan is right."""
    spot, perpetual = FakeExchange(perpetual=False), FakeExchange(perpetual=True)
    for symbol in ("AAAUSDT", "BBBUSDT", "CCCUSDT"):
        spot.list(FakeListing(symbol))
        perpetual.list(FakeListing(symbol, rates=history("0.0005"), next_rate="0.0005"))
    async with scanning(spot, perpetual) as stub:
        assert (await scanned(stub)).state == SUCCEEDED
        perpetual.now = NOW + jump
        wrong = await scanned(stub)
        assert wrong.state == FAILED
        assert any("its clock or its history is wrong" in part for part in wrong.missing_parts)
        assert len(await listed(stub)) == 3
        # Back again and nine hours later, what has settled since is read as if nothing had been.
        perpetual.now = NOW + timedelta(hours=9)
        for listing in perpetual.listings.values():
            listing.rates.append((to_millis(NOW + timedelta(hours=4, minutes=30)), "0.0007"))
        assert (await scanned(stub)).state == SUCCEEDED
        found = await listed(stub)
        assert [each.short_funding.last_settlement_time.seconds for each in found] == [
            int((NOW + timedelta(hours=4, minutes=30)).timestamp())
        ] * 3


@pytest.mark.parametrize("kept_ahead", [timedelta(minutes=50), timedelta(days=3)])
async def test_only_what_neither_clock_can_have_seen_is_forgotten(kept_ahead: timedelta) -> None:
    """Settlements that are still to come by the venue's clock and by ours are another venue's."""
    spot, perpetual = FakeExchange(perpetual=False), FakeExchange(perpetual=True)
    now = datetime.now(UTC)
    for symbol in ("AAAUSDT", "BBBUSDT", "CCCUSDT"):
        spot.list(FakeListing(symbol))
        perpetual.list(FakeListing(symbol, next_rate="0.0005"))
    pages: list[int] = []
    async with scanning(spot, perpetual, shortlist_count=0, history_page_size=100) as stub:
        for present in (now + kept_ahead, now):
            perpetual.now = present
            for listing in perpetual.listings.values():
                listing.rates = history("0.0005", hours=1, until=present)
            before = perpetual.calls["GetHistoricalFundingRates"]
            scan = await scanned(stub)
            assert (scan.state, scan.opportunity_count) == (SUCCEEDED, 3), scan.missing_parts
            pages.append(perpetual.calls["GetHistoricalFundingRates"] - before)
    # An hour more at the begin of the month is one page.
    assert (pages[1] > 1) is (kept_ahead > timedelta(hours=1))


async def test_a_simulator_that_was_started_again_is_scanned_again(tmp_path: Path) -> None:
    """Its time had been turned ahead; what the scanner's file has of that is read anew."""
    market = {"symbol_count": 12, "seed": 7}
    failures = ScannerMetrics(ServiceMetrics("scanner")).history_write_failures
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncExitStack())
        simulator = await first.enter_async_context(
            running_simulator(simulator_settings(market=market))
        )
        port = int(simulator.address.rpartition(":")[2])
        venues = [
            VenueSettings(name=code, kind=kind, address=connector.address)
            for code, kind in (("binance", "spot"), ("binanceusdm", "perpetual"))
            for connector in [
                await stack.enter_async_context(
                    running_connector(patient_part(code, simulator.address, tmp_path))
                )
            ]
        ]

        async def scan_once() -> int:
            async with (
                DiskHistoryStore(tmp_path / "history.db", SystemClock(), failures) as store,
                scanner_of(tuple(venues), store=store, shortlist_count=0) as stub,
            ):
                scan = await scanned(stub)
                assert (scan.state, list(scan.missing_parts)) == (SUCCEEDED, [])
                return int(scan.symbol_count)

        await Control(simulator.address).post("clock", {"advance_seconds": 3 * 86_400})
        ahead = await scan_once()
        await first.aclose()
        await stack.enter_async_context(
            running_simulator(simulator_settings(market=market, http={"port": port}))
        )
        assert await scan_once() == ahead > 0
