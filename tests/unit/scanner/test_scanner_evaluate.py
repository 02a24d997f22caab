"""One pair of legs judged by hand: signs, units, which leg a figure is taken from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.scanner.analytics import FundingStatistics, analyse
from services.scanner.books import Book, Level
from services.scanner.caveats import Caveat
from services.scanner.evaluate import Evidence, Rejection, could_earn, evaluate_pair
from services.scanner.funding import funding_history, settlements
from services.scanner.instruments import (
    ExclusionReason,
    InstrumentKey,
    InstrumentKind,
    RateRow,
    SymbolRow,
    TickerRow,
    TradingStatus,
)
from services.scanner.market import VenueView
from services.scanner.opportunity import Opportunity
from services.scanner.pairs import PairOfLegs
from services.scanner.rules import CostRules, ScanRules, UniverseRules
from services.scanner.universe import leg_exclusion

NOW = datetime(2026, 3, 20, tzinfo=UTC)
NAME = "AAAUSDT"
HOUR_MS = 3_600_000
SPOT = InstrumentKey("s", NAME, InstrumentKind.SPOT)
ONE = InstrumentKey("p", NAME, InstrumentKind.PERPETUAL)
TWO = InstrumentKey("q", NAME, InstrumentKind.PERPETUAL)
RULES = ScanRules()


def ticker(half: str, volume: int) -> TickerRow:
    """Return best prices around a hundred."""
    return TickerRow(NAME, Decimal(volume), 100 - Decimal(half), 100 + Decimal(half))


def view(leg: InstrumentKey, row: TickerRow, fee: str, **told: str) -> VenueView:
    """Return a venue of one symbol; `rate` is that of the coming settlement."""
    listed = SymbolRow(NAME, "AAA", "USDT", TradingStatus.TRADING, True, None)
    rate = RateRow(NAME, Decimal(told["rate"]), None, None, None) if told else None
    rates = {} if rate is None else {NAME: rate}
    return VenueView(
        leg.venue, leg.kind, {NAME: listed}, {NAME: row}, NOW, rates, {"": Decimal(fee)}
    )


VIEWS = {
    "s": view(SPOT, ticker("0.01", 50_000_000), "0.001"),
    "p": replace(
        view(ONE, ticker("0.02", 20_000_000), "0.0005", rate="0.0005"),
        received=NOW - timedelta(minutes=1),
    ),
    "q": view(TWO, ticker("0.03", 30_000_000), "0.0002", rate="0.0001"),
}


def statistics(rates: list[float], hours: int = 8) -> FundingStatistics:
    """Return the statistics of rates at an even interval."""
    times = [index * hours * HOUR_MS for index in range(1, len(rates) + 1)]
    history = funding_history(settlements(times, rates), float(hours))
    assert history is not None
    return analyse([history])[0]


def evidence(found: Mapping[InstrumentKey, FundingStatistics], **more: object) -> Evidence:
    """Return what a scan knows of the three venues."""
    return Evidence("scan", VIEWS, found, **more)  # type: ignore[arg-type]  # passed on


def opportunity(pair: PairOfLegs, known: Evidence, rules: ScanRules = RULES) -> Opportunity:
    """Return the opportunity that the pair is."""
    found = evaluate_pair(pair, known, rules)
    assert isinstance(found, Opportunity)
    return found


def reason(pair: PairOfLegs, known: Evidence, rules: ScanRules = RULES) -> tuple[str, set[str]]:
    """Return why the pair is none, and the venues of the instruments that are named."""
    found = evaluate_pair(pair, known, rules)
    assert isinstance(found, Rejection)
    return found.reason.value, {each.venue for each in found.instruments}


def book(first: int, second: int = 10_000) -> Book:
    """Return a book with so much at the best prices, and more a per cent off."""
    bids, asks = (
        (Level(Decimal(best), Decimal(first)), Level(Decimal(next_), Decimal(second)))
        for best, next_ in (("99.99", "99"), ("100.01", "101"))
    )
    return Book(bids, asks, NOW, NOW)


BORROWING = PairOfLegs(ONE, SPOT)
NEGATIVE = {ONE: statistics([-0.0008] * 90)}
BORROW = {("s", "AAA"): Decimal("0.1")}


def test_short_spot_pays_the_borrow_of_its_own_coin_and_venue() -> None:
    """87.6 % less 10 % borrow less 0.36 % over 30 days; another asset's or venue's rate is none."""
    found = opportunity(BORROWING, evidence(NEGATIVE, borrow_aprs=BORROW))
    assert (found.gross_apr, found.borrow_apr) == (Decimal("0.876"), Decimal("0.1"))
    assert found.round_trip_cost_ratio == Decimal("0.0036")
    assert found.net_apr == Decimal("0.7322")
    assert Caveat.BORROW_DEFAULT not in found.caveats
    for elsewhere in (("s", "USDT"), ("p", "AAA")):
        known = evidence(NEGATIVE, borrow_aprs={elsewhere: Decimal("0.1")})
        assert reason(BORROWING, known) == ("BORROW_UNKNOWN", {"s"})
    rules = replace(RULES, costs=CostRules(default_borrow_apr=Decimal("0.2")))
    assumed = opportunity(BORROWING, evidence(NEGATIVE), rules)
    assert (assumed.borrow_apr, assumed.net_apr) == (Decimal("0.2"), Decimal("0.6322"))
    assert Caveat.BORROW_DEFAULT in assumed.caveats


def test_at_its_capacity_a_borrowing_pair_earns_what_is_wanted() -> None:
    """Slippage and borrow count: with the capacity as size, net APR is the threshold."""
    books = {ONE: book(10), SPOT: book(10)}
    known = evidence(NEGATIVE, borrow_aprs=BORROW, books=books)
    wanted = replace(RULES, min_net_apr=Decimal("0.3"))
    found = opportunity(BORROWING, known, wanted)
    assert found.costs["long_slippage"] == found.costs["short_slippage"] > 0
    assert found.capacity_notional is not None
    assert Caveat.BOOK_SHALLOW not in found.caveats
    costs = CostRules(notional=found.capacity_notional)
    there = opportunity(BORROWING, known, replace(wanted, costs=costs))
    assert there.net_apr == pytest.approx(Decimal("0.3"), abs=Decimal("1e-9"))
    whole = opportunity(BORROWING, known, replace(RULES, min_net_apr=Decimal("-9")))
    assert whole.capacity_notional == 1_001_000
    assert Caveat.BOOK_SHALLOW in whole.caveats


def test_threshold_is_met_by_its_own_value_and_never_by_a_loss() -> None:
    """Net APR equal to the wanted one is enough; a carry against the position is not, whatever."""
    known = evidence(NEGATIVE, borrow_aprs=BORROW)
    met = replace(RULES, min_net_apr=Decimal("0.7322"))
    assert opportunity(BORROWING, known, met).net_apr == met.min_net_apr
    missed = replace(RULES, min_net_apr=Decimal("0.732201"))
    assert reason(BORROWING, known, missed) == ("CARRY_LOW", {"p"})
    generous = replace(RULES, min_net_apr=Decimal(-99))
    assert reason(PairOfLegs(SPOT, ONE), known, generous) == ("CARRY_LOW", {"p"})


def test_carry_is_that_of_the_window_in_use() -> None:
    """What was paid before the last week counts neither for the carry nor for asking borrow."""
    turned = {ONE: statistics([0.0001] * 69 + [-0.0005] * 21)}
    assert opportunity(BORROWING, evidence(turned, borrow_aprs=BORROW)).gross_apr == Decimal(
        "0.5475"
    )
    spoiled = {ONE: statistics([-0.0009] * 69 + [0.0001] * 21)}
    assert could_earn(BORROWING, evidence(turned), RULES)
    assert not could_earn(BORROWING, evidence(spoiled), RULES)


def test_two_perpetuals_each_keep_their_sign_interval_and_figures() -> None:
    """The short leg's 0.05 % every 8 h less the long leg's 0.01 % every 4 h; the thinner volume;
    as old as the older of both.
    """
    known = evidence({ONE: statistics([0.0004] * 90), TWO: statistics([0.00005] * 180, hours=4)})
    found = opportunity(PairOfLegs(TWO, ONE), known)
    assert found.gross_apr == Decimal("0.3285")
    assert found.current_apr == Decimal("0.5475") - Decimal("0.219")
    assert found.naive_apr == Decimal("0.38325")
    assert found.quote_volume == 20_000_000
    assert found.long_funding is not None
    assert found.short_funding is not None
    assert found.long_funding.statistics.interval_hours == 4
    assert found.short_funding.statistics.interval_hours == 8
    assert found.observe_time == NOW - timedelta(minutes=1)
    assert found.expire_time == found.observe_time + RULES.lifetime
    assert found.costs["long_taker_fee"] == Decimal("0.0004")
    assert found.costs["short_half_spread"] == Decimal("0.0004")


def test_a_crossed_book_of_either_leg_is_no_opportunity() -> None:
    """The leg whose book it is is named."""
    known = evidence({ONE: statistics([0.0008] * 90)})
    crossed = replace(book(10), bids=(Level(Decimal(101), Decimal(1)),))
    for leg in (SPOT, ONE):
        books = {SPOT: book(10), ONE: book(10), leg: crossed}
        assert reason(PairOfLegs(SPOT, ONE), replace(known, books=books)) == (
            "BOOK_MISSING",
            {leg.venue},
        )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"volume": Decimal(1_000_000)}, None),
        ({"volume": Decimal(999_999)}, ExclusionReason.ILLIQUID),
        ({"volume": None}, ExclusionReason.ILLIQUID),
        # A bid of 99.5 and an ask of 100.5: half a per cent to the middle.
        ({"half": Decimal("0.5")}, None),
        ({"half": Decimal("0.501")}, ExclusionReason.SPREAD_WIDE),
        ({"half": Decimal(-1)}, ExclusionReason.BOOK_MISSING),
        ({"status": TradingStatus.UNKNOWN}, ExclusionReason.NOT_TRADING),
        ({"status": TradingStatus.BREAK}, ExclusionReason.NOT_TRADING),
        ({"status": TradingStatus.ENDED}, ExclusionReason.DELISTED),
        ({"malformed": {NAME: "a price of many"}}, ExclusionReason.DATA_MALFORMED),
    ],
)
def test_leg_is_tradable_up_to_the_bounds_themselves(
    change: dict[str, object], expected: ExclusionReason | None
) -> None:
    """Volume and half-spread at the bound pass; what is not told does not."""
    given = {"volume": Decimal(5_000_000), "half": Decimal("0.01"), **change}
    half = given["half"]
    assert isinstance(half, Decimal)
    volume = given["volume"]
    assert volume is None or isinstance(volume, Decimal)
    row = TickerRow(NAME, volume, 100 - half, 100 + half)
    status = change.get("status", TradingStatus.TRADING)
    assert isinstance(status, TradingStatus)
    malformed = change.get("malformed", {})
    assert isinstance(malformed, dict)
    listed = replace(VIEWS["s"].symbols[NAME], status=status)
    told = replace(VIEWS["s"], symbols={NAME: listed}, tickers={NAME: row}, malformed=malformed)
    found = leg_exclusion(told, NAME, UniverseRules(), CostRules())
    assert (found.reason if found is not None else None) is expected
