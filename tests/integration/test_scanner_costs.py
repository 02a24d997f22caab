"""Costs of a scan over real gRPC: slippage of both books, capacity, and what stands in for them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.common.errors import RejectedError
from tests.support.fake_exchange import FakeExchange, FakeListing, history
from tests.support.scanner_rig import (
    PARTIAL,
    SUCCEEDED,
    Stub,
    after_scan,
    listed,
    markets,
    reasons,
    scanned,
    scanning,
)

# Half a per cent of spread, and deeper levels one per cent off.
THIN_BIDS = (("99.75", "40"), ("98.75", "1000"))
THIN_ASKS = (("100.25", "40"), ("101.25", "1000"))


async def only(stub: Stub) -> Any:
    """Scan, and return the one opportunity there is."""
    (found,) = await after_scan(stub)
    return found


def number(found: Any, name: str) -> Decimal:
    """Return a figure of an opportunity."""
    return Decimal(getattr(found, name).value)


async def test_thin_book_costs_slippage_and_bounds_the_capacity() -> None:
    """Of 100 coins 60 trade a per cent off on the spot leg; the other leg is deep."""
    spot, perpetual = markets()
    spot.listings["AAAUSDT"].bids, spot.listings["AAAUSDT"].asks = THIN_BIDS, THIN_ASKS
    async with scanning(spot, perpetual, min_net_apr=Decimal("0.1")) as stub:
        found = await only(stub)
    assert number(found, "cost_notional") == 10_000
    costs = {name: Decimal(cost.value) for name, cost in found.costs.items()}
    assert costs["long_half_spread"] == Decimal("0.005")
    assert costs["long_slippage"] == Decimal("0.012")
    assert costs["short_slippage"] == 0
    assert sum(costs.values()) == number(found, "round_trip_cost_ratio")
    # 0.5475 less 0.1 pays 3.68 % in 720 hours; fees, spreads and all the slippage there is come to
    # less, so the books end first.
    assert number(found, "capacity_notional") == 104_000
    assert list(found.caveats) == ["BOOK_SHALLOW"]
    assert number(found, "current_apr") == Decimal("0.5475")


async def test_capacity_is_where_the_threshold_is() -> None:
    """With the capacity as size, net APR is the threshold."""
    spot, perpetual = markets()
    spot.listings["AAAUSDT"].bids, spot.listings["AAAUSDT"].asks = THIN_BIDS, THIN_ASKS
    options = {"min_net_apr": Decimal("0.25")}
    async with scanning(spot, perpetual, **options) as stub:
        capacity = number(await only(stub), "capacity_notional")
    assert 10_000 < capacity < 104_000
    async with scanning(spot, perpetual, costs={"notional": capacity}, **options) as stub:
        found = await only(stub)
    assert abs(number(found, "net_apr") - Decimal("0.25")) < Decimal("1e-9")
    assert number(found, "capacity_notional") == capacity
    assert list(found.caveats) == []


async def test_size_beyond_the_book_is_cut_to_it() -> None:
    """The size that costs stand for is what the books hold, and that is said."""
    spot, perpetual = markets()
    perpetual.listings["AAAUSDT"].bids = (("99.99", "30"),)
    async with scanning(spot, perpetual) as stub:
        found = await only(stub)
    assert number(found, "cost_notional") == 3000
    assert number(found, "capacity_notional") == 3000
    assert list(found.caveats) == ["BOOK_SHALLOW"]


@pytest.mark.parametrize(
    ("sides", "detail"),
    [
        ({"bids": ()}, "no bids"),
        ({"asks": ()}, "no asks"),
        ({"bids": (("101", "9"),), "asks": (("100", "9"),)}, "crossed"),
    ],
)
async def test_leg_whose_book_cannot_be_crossed_is_left_out(
    sides: dict[str, Any], detail: str
) -> None:
    """An empty side or a crossed book now outdoes what the bulk ticker said before."""
    spot, perpetual = markets()
    for name, side in sides.items():
        setattr(spot.listings["AAAUSDT"], name, side)
    async with scanning(spot, perpetual) as stub:
        scan = await scanned(stub)
        assert await listed(stub) == []
    assert scan.state == SUCCEEDED
    assert "BOOK_MISSING" in reasons(scan)["spotty", "AAAUSDT"]
    assert any(detail in each.detail for each in scan.excluded_instruments)


async def test_old_book_is_not_walked() -> None:
    """By the venue's own clock it is a minute old: the ticker's spread stands, and it is said."""
    spot, perpetual = markets()
    perpetual.listings["AAAUSDT"].book_age = timedelta(minutes=1)
    async with scanning(spot, perpetual) as stub:
        found = await only(stub)
    assert list(found.caveats) == ["BOOK_STALE"]
    assert "short_slippage" not in found.costs
    assert "long_slippage" in found.costs
    assert not found.HasField("capacity_notional")


@pytest.mark.parametrize("malformed", [False, True])
async def test_book_that_does_not_come_is_named(*, malformed: bool) -> None:
    """A failed or malformed book costs its slippage only, and the scan says what it lacks."""
    spot, perpetual = markets()
    if malformed:
        spot.listings["AAAUSDT"].bids = (("many", "1"),)
    else:
        spot.faults["GetOrderBook"] = [RejectedError("no books today")]
    async with scanning(spot, perpetual) as stub:
        scan = await scanned(stub)
        (found,) = await listed(stub)
    assert scan.state == PARTIAL
    (missing,) = scan.missing_parts
    assert missing.startswith("spotty: order book of AAAUSDT: ")
    assert list(found.caveats) == ["BOOK_MISSING"]
    assert not found.HasField("capacity_notional")


async def test_stand_ins_are_named_as_doubts() -> None:
    """Default fee, spread and borrow are each a caveat."""
    spot, perpetual = markets()
    spot.taker_fee = None
    spot.listings["CCCUSDT"].margin_allowed = True
    spot.listings["CCCUSDT"].bid = "0"
    spot.faults["GetOrderBook"] = [RejectedError("no books today")] * 2
    costs = {"default_borrow_apr": Decimal("0.05"), "default_half_spread_ratio": Decimal("0.001")}
    async with scanning(spot, perpetual, costs=costs) as stub:
        found = {each.symbol: each for each in await after_scan(stub)}
    assert list(found["CCCUSDT"].caveats) == [
        "BOOK_MISSING",
        "BORROW_DEFAULT",
        "FEE_DEFAULT",
        "SPREAD_DEFAULT",
    ]


async def test_fees_and_borrow_rates_beyond_belief_are_not_taken() -> None:
    """A rebate of half the notional is no fee, and nobody is paid for borrowing."""
    spot, perpetual = markets()
    spot.taker_fee = "-0.5"
    spot.listings["CCCUSDT"].margin_allowed = True
    spot.borrow_aprs["CCC"] = "-0.1"
    async with scanning(spot, perpetual) as stub:
        scan = await scanned(stub)
        (found,) = await listed(stub)
    assert (found.symbol, list(found.caveats)) == ("AAAUSDT", ["BOOK_SHALLOW", "FEE_DEFAULT"])
    assert reasons(scan)["spotty", "CCCUSDT"] == "BORROW_UNKNOWN"


async def test_failed_borrow_reading_removes_nothing() -> None:
    """What was published on a rate that is not told this time stands until it expires."""
    spot, perpetual = markets()
    spot.listings["CCCUSDT"].margin_allowed = True
    spot.borrow_aprs["CCC"] = "0.1"
    async with scanning(spot, perpetual) as stub:
        before = {each.symbol for each in await after_scan(stub)}
        spot.faults["GetBorrowRates"] = [RejectedError("no rates today")]
        scan = await scanned(stub)
        assert {each.symbol for each in await listed(stub)} == before
    assert (scan.state, before) == (PARTIAL, {"AAAUSDT", "CCCUSDT"})
    assert list(scan.missing_parts) == ["spotty: borrow rates: no rates today"]


def crowd(count: int) -> tuple[FakeExchange, FakeExchange]:
    """Return venues with symbols that pay ever less."""
    spot, perpetual = FakeExchange(perpetual=False), FakeExchange(perpetual=True)
    for index in range(count):
        symbol = f"S{index:02}USDT"
        spot.list(FakeListing(symbol))
        perpetual.list(FakeListing(symbol, history(f"{(900 - 10 * index) / 1e6:.5f}")))
    return spot, perpetual


async def test_those_who_move_up_are_asked_once_more_and_no_further() -> None:
    """Thin books drop the first two; the two who follow are asked, the next are not."""
    spot, perpetual = crowd(8)
    for symbol in ("S00USDT", "S01USDT", "S02USDT", "S03USDT"):
        perpetual.listings[symbol].bids = (("99.99", "1"), ("97", "1000"))
        perpetual.listings[symbol].asks = (("100.01", "1"), ("103", "1000"))
    async with scanning(spot, perpetual, shortlist_count=2) as stub:
        found = await after_scan(stub)
    assert perpetual.calls["GetOrderBook"] == spot.calls["GetOrderBook"] == 4
    assert perpetual.calls["GetHistoricalKlines"] == 4
    unread = {each.symbol for each in found if "BOOK_UNREAD" in each.caveats}
    assert unread == {f"S{index:02}USDT" for index in range(4, 8)}
    # The ranking that is published is the last one: costs dropped those with thin books.
    assert {each.symbol for each in found[:4]} == unread


async def test_books_are_asked_for_the_shortlist_only() -> None:
    """Twice the symbols cost not one call more."""
    counts = []
    for size in (6, 12):
        spot, perpetual = crowd(size)
        async with scanning(spot, perpetual, shortlist_count=3) as stub:
            await scanned(stub)
            await scanned(stub)
        counts.append((spot.calls["GetOrderBook"], perpetual.calls["GetOrderBook"]))
    assert counts == [(6, 6), (6, 6)]
