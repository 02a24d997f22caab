"""What a warm scan and a restarted scanner ask the venues: only what is new, and nothing twice."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from services.common.clock import SystemClock
from services.common.errors import (
    AuthError,
    RejectedError,
    RetryableError,
    UnimplementedError,
    UnreachableError,
)
from services.common.metrics import ServiceMetrics
from services.scanner.history_disk import DiskHistoryStore
from services.scanner.metrics import ScannerMetrics
from tests.support.fake_exchange import FakeExchange, FakeListing, history
from tests.support.scanner_rig import SUCCEEDED, markets, reasons, scanned, scanning


def market_of(count: int) -> tuple[FakeExchange, FakeExchange]:
    """Return two venues with so many symbols at 8 h, half of them paying too little."""
    spot, perpetual = FakeExchange(perpetual=False), FakeExchange(perpetual=True)
    for index in range(count):
        rate = f"0.000{index % 2}{index % 7 + 1}"
        symbol = f"X{index}USDT"
        spot.list(FakeListing(symbol))
        perpetual.list(FakeListing(symbol, history(rate, days=9), next_rate=rate))
    return spot, perpetual


def passes(perpetual: FakeExchange, hours: int) -> None:
    """Let time pass at the venue, with the settlements that come in it."""
    perpetual.now += timedelta(hours=hours)
    for listing in perpetual.listings.values():
        rate = listing.rates[0][1]
        listing.rates = history(
            rate, hours=listing.interval_hours, days=len(listing.rates) // 3, until=perpetual.now
        )


async def warm_calls(count: int, shortlist_count: int) -> int:
    """Return the calls of a scan one settlement after a cold one."""
    spot, perpetual = market_of(count)
    options = {"shortlist_count": shortlist_count, "history_days": 8, "max_opportunities": 1000}
    async with scanning(spot, perpetual, **options) as stub:
        assert (await scanned(stub)).state == SUCCEEDED
        passes(perpetual, 8)
        warm = await scanned(stub)
        assert (warm.state, warm.opportunity_count) == (SUCCEEDED, count // 2)
        return int(warm.venue_call_count)


async def test_calls_of_a_warm_scan_do_not_depend_on_the_number_of_symbols() -> None:
    """A constant and the shortlist: the same for 300 and for 600 symbols."""
    constant = await warm_calls(300, 0)
    # Symbols, tickers and fees of two venues, rates of one, one page of history.
    assert constant == 8
    small, large = await warm_calls(300, 5), await warm_calls(600, 5)
    assert small == large
    # Two rounds of five, each two books, candles and open interest, at most.
    assert constant < small <= constant + 2 * 5 * 4


async def test_restart_reads_only_what_is_new(tmp_path: Path) -> None:
    """A scanner that finds its file asks for no history until the next settlement."""
    spot, perpetual = markets()
    counts: list[int] = []
    for _ in range(3):
        before = perpetual.calls["GetHistoricalFundingRates"]
        failures = ScannerMetrics(ServiceMetrics("scanner")).history_write_failures
        async with (
            DiskHistoryStore(tmp_path / "history.db", SystemClock(), failures) as store,
            scanning(spot, perpetual, store=store) as stub,
        ):
            scan = await scanned(stub)
            assert (scan.state, scan.opportunity_count) == (SUCCEEDED, 1)
            assert store.settlements("perpy", "AAAUSDT").minutes.size in (91, 92)
        counts.append(perpetual.calls["GetHistoricalFundingRates"] - before)
        if len(counts) == 2:
            passes(perpetual, 8)
    # The first asks besides whether the venue has history in bulk.
    assert counts == [2, 0, 1]


async def test_clock_that_was_wrong_costs_no_history() -> None:
    """A venue a year ahead for one scan: back in time, only what has settled since is read."""
    spot, perpetual = market_of(30)
    async with scanning(spot, perpetual, shortlist_count=0, history_page_size=100) as stub:
        assert (await scanned(stub)).state == SUCCEEDED
        cold = perpetual.calls["GetHistoricalFundingRates"]
        perpetual.now += timedelta(days=365)
        await scanned(stub)
        wrong = perpetual.calls["GetHistoricalFundingRates"] - cold
        perpetual.now -= timedelta(days=365)
        passes(perpetual, 8)
        right = await scanned(stub)
        assert (right.state, right.opportunity_count) == (SUCCEEDED, 15)
        assert perpetual.calls["GetHistoricalFundingRates"] - cold - wrong == 1
        assert cold > 10


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (RejectedError("no such symbol"), 0),
        (UnreachableError("gone for now"), 1),
        (RetryableError("slow down"), 1),
        (AuthError("who are you?"), 1),
    ],
)
async def test_refused_symbol_is_not_asked_again_soon(error: Exception, calls: int) -> None:
    """What the venue refuses is believed for a while; what did not reach it is asked again."""
    spot, perpetual = markets()
    perpetual.faults["GetHistoricalFundingRates"] = [UnimplementedError("by symbol"), error]
    async with scanning(spot, perpetual, read_attempts=1) as stub:
        first = await scanned(stub)
        assert "funding history of AAAUSDT" in first.missing_parts[0]
        before = perpetual.calls["GetHistoricalFundingRates"]
        second = await scanned(stub)
        assert perpetual.calls["GetHistoricalFundingRates"] - before == calls
        assert (reasons(second).get(("perpy", "AAAUSDT")) == "HISTORY_MISSING") is (calls == 0)


async def test_symbol_without_history_is_asked_once() -> None:
    """It is left out by name, and a venue without bulk history is not asked for it each scan."""
    spot, perpetual = markets()
    perpetual.has_bulk_history = False
    perpetual.list(FakeListing("NEWUSDT", next_rate="0.001"))
    spot.list(FakeListing("NEWUSDT"))
    async with scanning(spot, perpetual) as stub:
        for _ in range(2):
            scan = await scanned(stub)
            assert (scan.state, scan.opportunity_count) == (SUCCEEDED, 1)
            assert reasons(scan)["perpy", "NEWUSDT"] == "HISTORY_MISSING"
            # Whether there is bulk history, AAAUSDT and NEWUSDT.
            assert perpetual.calls["GetHistoricalFundingRates"] == 3
            perpetual.now += timedelta(minutes=20)


async def test_history_too_dense_for_a_page_is_read_by_symbol() -> None:
    """A venue that cannot part one instant into pages is asked by symbol in the same scan."""
    spot, perpetual = market_of(30)
    dense = RejectedError("too many rows at one instant", reason="HISTORY_TOO_DENSE")
    async with scanning(spot, perpetual, shortlist_count=0, history_page_size=100) as stub:
        assert (await scanned(stub)).opportunity_count == 15
        passes(perpetual, 8)
        perpetual.faults["GetHistoricalFundingRates"] = [dense]
        scan = await scanned(stub)
        assert (scan.state, scan.opportunity_count, list(scan.missing_parts)) == (SUCCEEDED, 15, [])


async def test_what_was_asked_early_in_vain_is_not_missed() -> None:
    """A symbol of the last shortlist that is delisted since costs the scan nothing."""
    spot, perpetual = markets()
    async with scanning(spot, perpetual) as stub:
        first = await scanned(stub)
        assert first.opportunity_count
        for venue in (spot, perpetual):
            venue.listings.pop("AAAUSDT")
        second = await scanned(stub)
        assert (second.state, list(second.missing_parts)) == (SUCCEEDED, [])
        assert second.opportunity_count == first.opportunity_count - 1
