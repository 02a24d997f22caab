"""The scanner over real gRPC against scripted venues: what it finds, and what faults cost."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal

from opensqt.market_maker.v1 import instrument_pb2, scanner_pb2_grpc
from services.common.channels import open_channel
from services.common.errors import (
    RejectedError,
    RetryableError,
    UnreachableError,
)
from services.common.metrics import ServiceMetrics
from services.common.settings import VenueSettings
from services.scanner.bootstrap import scanner
from services.scanner.history_store import MemoryHistoryStore
from services.scanner.settings import ScannerSettings
from tests.support.fake_exchange import (
    NOW,
    FakeExchange,
    FakeListing,
    exchange_server,
    history,
)
from tests.support.scanner_rig import (
    FAILED,
    PARTIAL,
    SUCCEEDED,
    Stub,
    after_scan,
    listed,
    markets,
    reasons,
    scanned,
    scanner_of,
    scanning,
)


async def test_scan_publishes_what_earns_with_every_figure() -> None:
    """A steady positive rate is published as long spot, short perpetual, with its costs."""
    async with scanning(*markets()) as stub:
        scan = await scanned(stub)
        assert (scan.state, scan.symbol_count, list(scan.missing_parts)) == (SUCCEEDED, 1, [])
        (found,) = await listed(stub)
        assert found.symbol == "AAAUSDT"
        assert (found.long_leg.exchange, found.short_leg.exchange) == ("spotty", "perpy")
        assert found.long_leg.kind == instrument_pb2.INSTRUMENT_KIND_SPOT
        # 0.0005 every 8 h is 54.75 % a year; fees 4 * 0.0004, half-spreads 4 * 0.0001.
        assert Decimal(found.gross_apr.value) == Decimal("0.5475")
        assert Decimal(found.round_trip_cost_ratio.value) == Decimal("0.0020")
        costs = sum(Decimal(cost.value) for cost in found.costs.values())
        assert costs == Decimal(found.round_trip_cost_ratio.value)
        assert sorted(found.costs) == [
            "long_half_spread",
            "long_slippage",
            "long_taker_fee",
            "short_half_spread",
            "short_slippage",
            "short_taker_fee",
        ]
        assert found.expected_holding_time.seconds == 30 * 86400
        net = Decimal("0.5475") - Decimal("0.0020") * 8760 / 720
        assert abs(Decimal(found.net_apr.value) - net) < Decimal("1e-15")
        assert abs(Decimal(found.break_even_hours.value) - 32) < Decimal("1e-9")
        assert not found.HasField("long_funding")
        assert [each.settlement_count for each in found.short_funding.windows] == [3, 9, 21, 90]
        assert found.short_funding.interval.seconds == 8 * 3600
        assert found.short_funding.price_volatility.value.startswith("0.00988")
        assert Decimal(found.short_funding.open_interest_to_volume.value) == Decimal("0.5")
        assert found.expire_time.ToDatetime() > found.observe_time.ToDatetime()
        assert scan.ended_task_count == scan.task_count > 0
        assert reasons(scan)["perpy", "BBBUSDT"] == "CARRY_LOW"


async def test_short_spot_needs_lending_and_pays_borrow() -> None:
    """A negative rate is earned by shorting spot, only where the venue lends and told its rate."""
    spot, perpetual = markets()
    async with scanning(spot, perpetual) as stub:
        assert "CCCUSDT" not in {each.symbol for each in await after_scan(stub)}
        assert spot.calls["GetBorrowRates"] == 0
        spot.listings["CCCUSDT"].margin_allowed = True
        scan = await scanned(stub)
        assert reasons(scan)["spotty", "CCCUSDT"] == "BORROW_UNKNOWN"
        spot.borrow_aprs["CCC"] = "0.1"
        scan = await scanned(stub)
        found = {each.symbol: each for each in await listed(stub)}["CCCUSDT"]
        assert found.short_leg.exchange == "spotty"
        assert Decimal(found.gross_apr.value) == Decimal("0.876")
        assert Decimal(found.borrow_apr.value) == Decimal("0.1")


async def test_two_perpetual_venues_are_paired_in_the_direction_that_earns() -> None:
    """Between perpetuals the dearer rate is shorted and the cheaper one is held long."""
    first, second = FakeExchange(perpetual=True), FakeExchange(perpetual=True)
    first.list(FakeListing("AAAUSDT", rates=history("0.0001", hours=4), interval_hours=4))
    second.list(FakeListing("AAAUSDT", rates=history("0.0009"), interval_hours=8))
    async with exchange_server(first) as one, exchange_server(second) as two:
        venues = (
            VenueSettings(name="one", kind="perpetual", address=one.address),
            VenueSettings(name="two", kind="perpetual", address=two.address),
        )
        async with scanner_of(venues) as stub:
            (found,) = await after_scan(stub)
    assert (found.long_leg.exchange, found.short_leg.exchange) == ("one", "two")
    # 9 bp every 8 h against 1 bp every 4 h: 0.9855 - 0.219.
    assert abs(Decimal(found.gross_apr.value) - Decimal("0.7665")) < Decimal("1e-11")
    assert found.HasField("long_funding")
    assert found.HasField("short_funding")


async def test_excluded_instruments_come_with_their_reason() -> None:
    """Dead, short, stuck, wild, lone, illiquid, suspended and ended instruments are named as
    such.
    """
    spot, perpetual = markets()
    cases = {
        "DEADUSDT": FakeListing("DEADUSDT", history(until=NOW - timedelta(hours=30))),
        "NEWUSDT": FakeListing("NEWUSDT", history(days=2)),
        "ZEROUSDT": FakeListing("ZEROUSDT", history("0")),
        "WILDUSDT": FakeListing("WILDUSDT", history("0.2")),
        "LONEUSDT": FakeListing("LONEUSDT", history()),
        "THINUSDT": FakeListing("THINUSDT", history(), volume="10"),
        "PAUSUSDT": FakeListing("PAUSUSDT", history(), status=instrument_pb2.TRADING_STATUS_BREAK),
        "ENDSUSDT": FakeListing("ENDSUSDT", history(), status=instrument_pb2.TRADING_STATUS_ENDED),
        "WIDEUSDT": FakeListing("WIDEUSDT", history(), bid="90", ask="110"),
        "BOOKUSDT": FakeListing("BOOKUSDT", history(), bid="0", ask="0"),
        "NONEUSDT": FakeListing("NONEUSDT"),
    }
    for symbol, listing in cases.items():
        perpetual.list(listing)
        if symbol != "LONEUSDT":
            spot.list(FakeListing(symbol))
    async with scanning(spot, perpetual) as stub:
        scan = await scanned(stub)
        assert {each.symbol for each in await listed(stub)} == {"AAAUSDT"}
    found = reasons(scan)
    assert scan.state == SUCCEEDED
    assert {symbol: found["perpy", symbol] for symbol in cases} == {
        "DEADUSDT": "MARKET_DEAD",
        "NEWUSDT": "HISTORY_SHORT",
        "ZEROUSDT": "ZERO_RUN",
        "WILDUSDT": "RATE_IMPLAUSIBLE",
        "LONEUSDT": "LEG_MISSING",
        "THINUSDT": "ILLIQUID",
        "PAUSUSDT": "NOT_TRADING",
        "ENDSUSDT": "DELISTED",
        "WIDEUSDT": "SPREAD_WIDE",
        "BOOKUSDT": "BOOK_MISSING",
        "NONEUSDT": "HISTORY_MISSING",
    }


async def test_warm_scan_reads_only_what_is_new() -> None:
    """The second scan makes the bulk calls and one call of history, whatever the number of
    symbols.
    """
    spot, perpetual = markets()
    for index in range(60):
        perpetual.list(FakeListing(f"X{index}USDT", history("0.0002", hours=4), interval_hours=4))
        spot.list(FakeListing(f"X{index}USDT"))
    async with scanning(spot, perpetual, shortlist_count=0, history_page_size=500) as stub:
        cold = await scanned(stub)
        read = perpetual.calls["GetHistoricalFundingRates"]
        # 60 symbols at 4 h and 3 at 8 h over 30 days are 11,070 rows: 23 pages of 500, cut at
        # settlements.
        assert 23 <= read <= 28
        perpetual.now = NOW + timedelta(hours=8)
        for listing in perpetual.listings.values():
            rate = listing.rates[0][1]
            listing.rates = history(rate, hours=listing.interval_hours, until=perpetual.now)
        warm = await scanned(stub)
        assert perpetual.calls["GetHistoricalFundingRates"] == read + 1
        assert (cold.symbol_count, warm.symbol_count) == (61, 61)
        assert (cold.perpetual_count, warm.perpetual_count) == (63, 63)
        assert warm.venue_call_count == 8
        found = {each.symbol: each for each in await listed(stub, page_size=100)}
        last = found["X7USDT"].short_funding.last_settlement_time.ToDatetime()
        assert last == (NOW + timedelta(hours=8)).replace(hour=8, minute=0, tzinfo=None)


async def test_venue_without_bulk_history_is_read_by_symbol() -> None:
    """A venue that refuses history without a symbol is asked for the symbols that can qualify."""
    spot, perpetual = markets()
    perpetual.has_bulk_history = False
    for index in range(30):
        perpetual.list(FakeListing(f"LONE{index}USDT", history()))
    for symbol in ("DDDUSDT", *(f"E{index}USDT" for index in range(10))):
        perpetual.list(FakeListing(symbol, history("0.0004")))
        spot.list(FakeListing(symbol))
    async with scanning(spot, perpetual, history_page_size=1000, shortlist_count=0) as stub:
        scan = await scanned(stub)
        assert (scan.state, list(scan.missing_parts)) == (SUCCEEDED, [])
        found = {each.symbol for each in await listed(stub)}
        assert (len(found), found >= {"AAAUSDT", "DDDUSDT"}) == (12, True)
        assert (scan.symbol_count, reasons(scan)["perpy", "LONE3USDT"]) == (12, "LEG_MISSING")
        # Bulk was tried once, then the twelve symbols that can qualify were read; until the next
        # settlement there is nothing to ask.
        before = perpetual.calls["GetHistoricalFundingRates"]
        assert before == 1 + 12
        assert (await scanned(stub)).state == SUCCEEDED
        assert perpetual.calls["GetHistoricalFundingRates"] == before


async def test_venue_that_is_down_keeps_what_was_published() -> None:
    """With the perpetual venue gone the scan fails by name and the list stands until it expires."""
    spot, perpetual = markets()
    async with exchange_server(spot) as first:
        async with exchange_server(perpetual) as second:
            venues = (
                VenueSettings(name="spotty", kind="spot", address=first.address),
                VenueSettings(
                    name="perpy",
                    kind="perpetual",
                    address=second.address,
                    call_timeout=timedelta(seconds=2),
                ),
            )
            settings = ScannerSettings(venues=venues, workers=4, read_attempts=2)
            stack = scanner(settings, ServiceMetrics("scanner"), store=MemoryHistoryStore())
            server = await stack.__aenter__()
            await server.start()
            channel = open_channel(server.address)
            stub: Stub = scanner_pb2_grpc.ScannerServiceStub(channel)
            (before,) = await after_scan(stub)
        scan = await scanned(stub)
        assert scan.state == FAILED
        assert any(part.startswith("perpy: ") for part in scan.missing_parts)
        (after,) = await listed(stub)
        assert (after.revision, after.scan_id) == (before.revision, before.scan_id)
        await channel.close()
        await server.drain()
        await stack.__aexit__(None, None, None)


async def test_one_of_three_venues_down_leaves_the_others_published() -> None:
    """A scan that lacks one venue publishes the rest and says what it lacks."""
    spot, perpetual = markets()
    other = FakeExchange(perpetual=True)
    other.list(FakeListing("AAAUSDT", history("0.0002")))
    async with (
        exchange_server(spot) as a,
        exchange_server(perpetual) as b,
        exchange_server(other) as c,
    ):
        venues = tuple(
            VenueSettings(name=name, kind=kind, address=server.address)
            for name, kind, server in (
                ("s", "spot", a),
                ("p", "perpetual", b),
                ("q", "perpetual", c),
            )
        )
        async with scanner_of(venues, read_attempts=1) as stub:
            whole = {each.opportunity_id for each in await after_scan(stub)}
            other.faults["GetFundingRates"] = [UnreachableError("gone for now")]
            perpetual.listings["AAAUSDT"].next_rate = "0.0006"
            scan = await scanned(stub)
            kept = {each.opportunity_id: each for each in await listed(stub)}
            assert scan.state == PARTIAL
            assert scan.missing_parts == ["q: funding rates: gone for now"]
            # Pairs with the silent venue keep the older figures, the others carry the new scan's.
            assert kept.keys() == whole
            fresh = {each.scan_id == scan.scan_id for key, each in kept.items() if ":q:" not in key}
            stale = {each.scan_id == scan.scan_id for key, each in kept.items() if ":q:" in key}
            assert (fresh, stale) == ({True}, {False})


async def test_malformed_symbol_degrades_only_itself() -> None:
    """Rows that are no numbers leave out their own symbol; the scan succeeds."""
    spot, perpetual = markets()
    perpetual.list(FakeListing("BADRUSDT", history("1e-4")), FakeListing("BADTUSDT", history()))
    perpetual.list(FakeListing("BADNUSDT", history(), next_rate="NaN"))
    perpetual.listings["BADTUSDT"].bid = "1_000"
    for symbol in ("BADRUSDT", "BADTUSDT", "BADNUSDT"):
        spot.list(FakeListing(symbol))
    async with scanning(spot, perpetual) as stub:
        scan = await scanned(stub)
        assert scan.state == SUCCEEDED
        assert {each.symbol for each in await listed(stub)} == {"AAAUSDT"}
        for symbol in ("BADRUSDT", "BADTUSDT", "BADNUSDT"):
            assert reasons(scan)["perpy", symbol] == "DATA_MALFORMED"


async def test_rate_limit_in_mid_scan_is_waited_for() -> None:
    """A rate limit delays the reading as long as it says, and nothing is lost."""
    spot, perpetual = markets()
    loop = asyncio.get_running_loop()
    times: list[float] = []
    perpetual.on_call = lambda method: (
        times.append(loop.time()) if method == "GetHistoricalFundingRates" else None
    )
    limited = RetryableError("slow down", retry_after=timedelta(milliseconds=300))
    perpetual.faults["GetHistoricalFundingRates"] = [limited]
    async with scanning(spot, perpetual, workers=1) as stub:
        scan = await scanned(stub)
        assert (scan.state, scan.failed_task_count) == (SUCCEEDED, 0)
        assert {each.symbol for each in await listed(stub)} == {"AAAUSDT"}
    assert times[1] - times[0] >= 0.3


async def test_long_ban_is_not_waited_for() -> None:
    """When the time to wait is longer than a scan can bear, the reading fails at once, by name."""
    spot, perpetual = markets()
    banned = RetryableError("banned for an hour", retry_after=timedelta(hours=1))
    perpetual.faults["GetFundingRates"] = [banned]
    async with scanning(spot, perpetual) as stub:
        scan = await scanned(stub)
        assert scan.state == FAILED
        assert scan.missing_parts == ["perpy: funding rates: banned for an hour"]
        assert perpetual.calls["GetFundingRates"] == 1


async def test_history_that_cannot_be_read_is_missing_not_dead() -> None:
    """When history fails for good, symbols are left out as unread and nothing is called dead."""
    spot, perpetual = markets()
    async with scanning(spot, perpetual, read_attempts=1) as stub:
        before = await after_scan(stub)
        perpetual.now = NOW + timedelta(hours=40)
        perpetual.faults["GetHistoricalFundingRates"] = [RejectedError("no")] * 50
        scan = await scanned(stub)
        after = await listed(stub)
        assert scan.state == FAILED
        assert "funding history" in scan.missing_parts[0]
        assert reasons(scan)["perpy", "AAAUSDT"] == "HISTORY_MISSING"
        assert [each.revision for each in after] == [each.revision for each in before]


async def test_fees_that_no_venue_told_are_marked_as_default() -> None:
    """Without fees of the account the settings' fee stands in, under a name that says so."""
    spot, perpetual = markets()
    spot.taker_fee = None
    async with scanning(spot, perpetual) as stub:
        scan = await scanned(stub)
        (found,) = await listed(stub)
        assert (scan.state, list(scan.missing_parts)) == (SUCCEEDED, [])
        assert Decimal(found.costs["long_taker_fee_default"].value) == Decimal("0.002")
        assert Decimal(found.costs["short_taker_fee"].value) == Decimal("0.0008")


async def test_fees_told_by_symbol_only_are_asked_for_the_shortlist() -> None:
    """A venue that tells fees one symbol at a time is asked for the best, once a day."""
    spot, perpetual = markets()
    perpetual.list(FakeListing("DDDUSDT", history("0.0004")))
    spot.list(FakeListing("DDDUSDT"))
    perpetual.taker_fee = None
    perpetual.fees_by_symbol = {"AAAUSDT": "0.0002", "DDDUSDT": "0.0003"}
    async with scanning(spot, perpetual, shortlist_count=1) as stub:
        for _ in range(2):
            scan = await scanned(stub)
            assert (scan.state, list(scan.missing_parts)) == (SUCCEEDED, [])
            # The refused bulk call and the best symbol's; the second scan asks neither again.
            assert perpetual.calls["GetTradingFees"] == 2
        found = {each.symbol: each for each in await listed(stub)}
    assert Decimal(found["AAAUSDT"].costs["short_taker_fee"].value) == Decimal("0.0004")
    assert "short_taker_fee_default" in found["DDDUSDT"].costs
