"""The recorded market over the full public recordings, where they are at hand."""

from __future__ import annotations

import csv
import os
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.simulator.market.recorded import RecordedMarket
from services.simulator.market.source import Kind

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("OPENSQT_DATA", ROOT.parent / "shared" / "data"))
FUNDING_FILE = DATA / "funding" / "binance_usdm_fundingRate_539sym_to_20260320.csv"

pytestmark = [
    pytest.mark.recorded,
    pytest.mark.skipif(
        not FUNDING_FILE.exists(),
        reason="the recorded market data is absent: set OPENSQT_DATA to its directory",
    ),
]
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def market() -> RecordedMarket:
    """Give the market over all recordings."""
    return RecordedMarket(DATA)


def test_it_loads_in_under_three_seconds() -> None:
    """Loading reads what it must and leaves the rest for later."""
    before = time.process_time()
    RecordedMarket(DATA)
    assert time.process_time() - before < 3


def test_all_symbols_of_the_file_are_listed_at_their_intervals(market: RecordedMarket) -> None:
    """310 perpetuals: 233 at 4 h, 76 at 8 h, one at 1 h; most with a spot twin."""
    now = market.start
    assert now == datetime(2026, 3, 20, 3, 30, tzinfo=UTC)
    assert len(market.instruments(Kind.PERPETUAL, now)) == 310
    hours = Counter(interval // HOUR for interval in market.funding_intervals(now).values())
    assert hours == {4: 233, 8: 76, 1: 1}
    spot = {spec.symbol: spec.status for spec in market.instruments(Kind.SPOT, now)}
    assert Counter(spot.values()) == {"TRADING": 216, "BREAK": 15}
    assert spot["PEPEUSDT"] == "TRADING"


def test_every_recorded_settlement_is_served_as_recorded(market: RecordedMarket) -> None:
    """Times and rates of the whole file come back, 93 of them half an hour after the start."""
    with FUNDING_FILE.open(encoding="ascii", newline="") as file:
        recorded = {
            (row["symbol"], int(row["timestamp"]), float(row["funding_rate"]))
            for row in csv.DictReader(file)
        }
    now = market.start + HOUR
    rows = market.settlements(None, datetime(2025, 1, 1, tzinfo=UTC), None, 10**6, now)
    served = {(row.symbol, round(row.time.timestamp() * 1000), float(row.rate)) for row in rows}
    assert recorded <= served
    late = {row for row in recorded if row[1] > market.start.timestamp() * 1000}
    assert len(late) == 93
    # What is served beyond the record is the settlement of 04:00 that the others have none of.
    extra = served - recorded
    assert len(extra) == 310 - 93 - 76
    assert {at for _, at, _ in extra} == {round((market.start + HOUR / 2).timestamp() * 1000)}


def test_prices_of_all_symbols_are_sane_at_the_start(market: RecordedMarket) -> None:
    """Marks stay within half a percent of the index, books do not cross, lots are small money."""
    now = market.start
    for kind in Kind:
        for spec in market.instruments(kind, now):
            last = market.last_price(kind, spec.symbol, now)
            book = market.book(kind, spec.symbol, now, 20)
            if spec.status == "TRADING":
                assert len(book.bids) == len(book.asks) == 20
                assert book.bids[0].price <= last <= book.asks[0].price
                assert book.bids[0].price < book.asks[0].price
            assert spec.lot_size * last < 80
            assert spec.tick_size / last < 0.01
    for spec in market.instruments(Kind.PERPETUAL, now):
        ratio = market.mark_price(spec.symbol, now) / market.index_price(spec.symbol, now)
        assert abs(float(ratio) - 1) < 0.005
        assert market.open_interest(spec.symbol, now) > 0
        assert market.day_ticker(Kind.PERPETUAL, spec.symbol, now).quote_volume > 0
