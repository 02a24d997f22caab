"""Between scans: published numbers follow the streams of their legs, or are marked and expire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from opensqt.market_maker.v1 import scanner_pb2
from services.common.codec import from_timestamp
from tests.support.fake_exchange import FakeListing, history
from tests.support.scanner_rig import Stub, after_scan, listed, scanned, scanning, until
from tests.support.streaming_exchange import are_open, streaming_markets

QUICK = {"refresh_seconds": 0.02, "silence_seconds": 0.6, "book_seconds": 0.1}


async def upsert_where(watch: Any, wanted: Callable[[Any], bool]) -> Any:
    """Read a watch stream up to an opportunity that is wanted."""
    async with asyncio.timeout(60):
        while True:
            event = await watch.read()
            if event.WhichOneof("event") == "upsert" and wanted(event.upsert):
                return event.upsert


async def removal(watch: Any) -> str:
    """Read a watch stream up to a removal."""
    async with asyncio.timeout(60):
        while True:
            event = await watch.read()
            if event.WhichOneof("event") == "removed_opportunity_id":
                return str(event.removed_opportunity_id)


async def watched(stub: Stub) -> Any:
    """Watch all opportunities, from now on: what there is already has been read."""
    watch: Any = stub.WatchOpportunities(scanner_pb2.WatchOpportunitiesRequest())
    async with asyncio.timeout(60):
        while (await watch.read()).WhichOneof("event") != "caught_up":
            pass
    return watch


def current(opportunity: Any) -> Decimal:
    """Return the carry at the rates of the coming settlements."""
    return Decimal(opportunity.current_apr.value)


async def test_rates_and_prices_between_scans_change_what_is_published() -> None:
    """A new rate and new prices of one leg are told at once, younger and with a new revision."""
    spot, perpetual = streaming_markets()
    async with scanning(spot, perpetual, live=QUICK) as stub:
        (first,) = await after_scan(stub)
        watch = await watched(stub)
        await until(are_open(spot, perpetual))
        perpetual.move("AAAUSDT", next_rate="0.0007")
        faster = await upsert_where(watch, lambda each: current(each) == Decimal("0.7665"))
        assert current(first) == Decimal("0.5475")
        assert faster.revision > first.revision
        assert faster.net_apr == first.net_apr
        assert Decimal(faster.short_funding.predicted_rate.value) == Decimal("0.0007")
        perpetual.move("AAAUSDT", bid="100.99", ask="101.01")
        above = await upsert_where(
            watch, lambda each: Decimal(each.basis_ratio.value) == Decimal("0.01")
        )
        assert Decimal(above.score_factors["basis"].value) == Decimal("0.5")
        assert Decimal(above.quality_score.value) < Decimal(first.quality_score.value)
        assert above.scan_id == first.scan_id
        # What a scan alone asks for stays.
        assert above.short_funding.price_volatility == first.short_funding.price_volatility
        watch.cancel()


async def test_what_is_published_stays_as_young_as_its_streams() -> None:
    """Streams that go on keep an opportunity far beyond the lifetime of the scan's figures."""
    spot, perpetual = streaming_markets()
    live = {**QUICK, "silence_seconds": 5}
    async with scanning(spot, perpetual, lifetime_seconds=1, live=live) as stub:
        (first,) = await after_scan(stub)
        expiry = from_timestamp(first.expire_time)

        async def is_younger_than_the_scan_allows() -> bool:
            for exchange in (spot, perpetual):
                exchange.move("AAAUSDT")
            (row,) = await listed(stub)
            assert row.caveats == first.caveats
            return from_timestamp(row.observe_time) > expiry

        await until(is_younger_than_the_scan_allows)
        assert perpetual.calls["GetFundingRates"] == 1


async def test_a_silent_stream_marks_its_opportunity_and_lets_it_expire() -> None:
    """Nobody's silence prolongs a number: it is marked, grows old, and is removed."""
    spot, perpetual = streaming_markets()
    async with scanning(spot, perpetual, lifetime_seconds=2, live=QUICK) as stub:
        (first,) = await after_scan(stub)
        watch = await watched(stub)
        await until(are_open(spot, perpetual))
        perpetual.is_mute = True
        perpetual.cut()
        marked = await upsert_where(watch, lambda each: "STREAM_STALE" in each.caveats)
        assert marked.net_apr == first.net_apr
        assert await removal(watch) == first.opportunity_id
        assert await listed(stub) == []
        watch.cancel()


async def test_streams_resume_after_a_gap_and_the_mark_goes() -> None:
    """A stream that was cut is opened again, and its snapshot makes the numbers whole."""
    spot, perpetual = streaming_markets()
    async with scanning(spot, perpetual, live=QUICK) as stub:
        await scanned(stub)
        watch = await watched(stub)
        await until(are_open(spot, perpetual))
        perpetual.is_mute = True
        perpetual.cut()
        await upsert_where(watch, lambda each: "STREAM_STALE" in each.caveats)
        perpetual.is_mute = False
        perpetual.move("AAAUSDT", next_rate="0.0006")
        whole = await upsert_where(watch, lambda each: "STREAM_STALE" not in each.caveats)
        assert current(whole) == Decimal("0.657")
        assert perpetual.opened.count(("rates", frozenset())) >= 2
        watch.cancel()


async def test_a_pair_that_no_longer_pays_is_withdrawn_until_it_does() -> None:
    """A spread that eats the carry removes the opportunity; once it narrows it is back."""
    spot, perpetual = streaming_markets()
    async with scanning(spot, perpetual, live=QUICK) as stub:
        (first,) = await after_scan(stub)
        watch = await watched(stub)
        await until(are_open(spot, perpetual))
        perpetual.move("AAAUSDT", bid="90", ask="110")
        assert await removal(watch) == first.opportunity_id
        perpetual.move("AAAUSDT", bid="99.99", ask="100.01")
        back = await upsert_where(watch, lambda each: True)
        assert back.opportunity_id == first.opportunity_id
        assert back.revision > first.revision
        watch.cancel()


async def test_unsound_rows_are_not_taken() -> None:
    """A crossed book, a rate beyond belief and junk change nothing; sound rows after them count."""
    spot, perpetual = streaming_markets()
    async with scanning(spot, perpetual, live={**QUICK, "silence_seconds": 5}) as stub:
        (first,) = await after_scan(stub)
        watch = await watched(stub)
        await until(are_open(spot, perpetual))
        for changes in (
            {"bid": "120", "ask": "100"},
            {"bid": "0", "ask": "0"},
            {"bid": "many"},
            {"next_rate": "0.9"},
            {"next_rate": "NaN"},
        ):
            perpetual.move("AAAUSDT", stay=False, **changes)
        perpetual.move("AAAUSDT", next_rate="0.0008")
        changed = await upsert_where(watch, lambda each: current(each) != current(first))
        assert current(changed) == Decimal("0.876")
        assert changed.basis_ratio == first.basis_ratio
        watch.cancel()


async def test_streams_follow_the_shortlist() -> None:
    """What a later scan ranks is followed, and what it left is let go."""
    spot, perpetual = streaming_markets()
    perpetual.list(FakeListing("EEEUSDT", rates=history("0.001"), next_rate="0.001"))
    spot.list(FakeListing("EEEUSDT", volume="1"))
    async with scanning(spot, perpetual, live={**QUICK, "count": 1}) as stub:
        await scanned(stub)
        await until(lambda: ("prices", frozenset({"AAAUSDT"})) in spot.opened)
        spot.list(FakeListing("EEEUSDT"))
        await scanned(stub)
        only = frozenset({"EEEUSDT"})
        await until(
            lambda: [each.symbols for each in spot.readers if each.stream == "prices"] == [only]
        )


async def test_a_venue_without_streams_costs_its_opportunities_a_mark_only() -> None:
    """Where nothing can be streamed the numbers of the scan stand, marked, for their lifetime."""
    spot, perpetual = streaming_markets()
    for name in ("SubscribePrice", "SubscribeFundingRate"):
        setattr(perpetual, name, None)
    async with scanning(spot, perpetual, live=QUICK) as stub:
        (first,) = await after_scan(stub)
        watch = await watched(stub)
        marked = await upsert_where(watch, lambda each: "STREAM_STALE" in each.caveats)
        assert marked.net_apr == first.net_apr
        watch.cancel()
