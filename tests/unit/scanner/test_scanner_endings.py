"""What hangs on both legs: announced ends, doubts about histories, basis, open interest."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.scanner.analytics import FundingStatistics, analyse
from services.scanner.basis import basis_problem
from services.scanner.caveats import Caveat
from services.scanner.endings import end_exclusion
from services.scanner.evaluate import Evidence, Rejection, evaluate_pair
from services.scanner.funding import funding_history, settlements
from services.scanner.funding_caveats import funding_caveats
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
from services.scanner.shortlist import with_details
from services.scanner.universe import leg_exclusion
from services.scanner.venue_codec import Detail

NOW = datetime(2026, 3, 20, tzinfo=UTC)
NAME = "AAAUSDT"
HOUR_MS = 3_600_000
SILENT = TickerRow(NAME, Decimal(0), None, None)


def view(kind: InstrumentKind, end_time: datetime | None = None) -> VenueView:
    """Return a liquid venue that lists one symbol."""
    row = SymbolRow(NAME, "AAA", "USDT", TradingStatus.TRADING, False, None, end_time)
    ticker = TickerRow(NAME, Decimal(50_000_000), Decimal("99.99"), Decimal("100.01"))
    rate = RateRow(NAME, Decimal("0.0005"), None, NOW, timedelta(hours=8))
    return VenueView(
        venue=kind.value,
        kind=kind,
        symbols={NAME: row},
        tickers={NAME: ticker},
        received=NOW,
        rates={NAME: rate} if kind is InstrumentKind.PERPETUAL else {},
        fees={"": Decimal("0.0004")},
    )


def statistics(*hours: int) -> FundingStatistics:
    """Return the statistics of a constant rate settled after each of some spacings."""
    times, time = [], 0
    for step in (8, *hours):
        time += step
        times.append(time * HOUR_MS)
    history = funding_history(settlements(times, [0.0005] * len(times)), 8.0)
    assert history is not None
    return analyse([history])[0]


def evaluated(end_time: datetime | None, *, settlement_count: int = 90) -> Opportunity | Rejection:
    """Return the verdict on long spot, short perpetual, whose perpetual ends at `end_time`."""
    spot, perpetual = view(InstrumentKind.SPOT), view(InstrumentKind.PERPETUAL, end_time)
    views = {each.venue: each for each in (spot, perpetual)}
    key = perpetual.key(NAME)
    evidence = Evidence("scan", views, {key: statistics(*[8] * settlement_count)})
    return evaluate_pair(PairOfLegs(spot.key(NAME), key), evidence, ScanRules())


def test_end_inside_the_holding_time_is_delisting() -> None:
    """A regime of 30 days would be held for 30 days: an end after 29 is no opportunity."""
    for days, is_one in ((29, False), (31, True)):
        found = evaluated(NOW + timedelta(days=days))
        assert isinstance(found, Opportunity) is is_one
        if isinstance(found, Rejection):
            assert found.reason is ExclusionReason.DELISTED
            assert found.detail.startswith("the venue ends it at 2026-04-18 00:00 UTC, in 696.0 h")
    assert isinstance(evaluated(None), Opportunity)


@pytest.mark.parametrize(("hours", "is_out"), [(-1, True), (23, True), (24, True), (25, False)])
def test_end_within_the_shortest_holding_time_costs_no_reading(hours: int, is_out: bool) -> None:
    """Then the instrument is not even tradable; one that ended already is not either."""
    ending = view(InstrumentKind.PERPETUAL, NOW + timedelta(hours=hours))
    found = leg_exclusion(ending, NAME, UniverseRules(), CostRules())
    assert (found is not None) is is_out
    assert found is None or found.reason is ExclusionReason.DELISTED


def test_end_is_reckoned_in_the_time_of_the_venue() -> None:
    """A venue whose clock is ahead of ours ends its market by its own clock."""
    ahead = view(InstrumentKind.PERPETUAL, NOW + timedelta(hours=30))
    stamp = NOW + timedelta(hours=10)
    ahead = replace(ahead, rates={NAME: replace(ahead.rates[NAME], stamp=stamp)})
    assert end_exclusion(ahead, NAME, timedelta(hours=24)) is not None
    assert end_exclusion(ahead, "BBBUSDT", timedelta(hours=24)) is None


def test_doubts_about_the_history_are_among_the_caveats() -> None:
    """A window that is not covered, a hole and a change of interval are each named."""
    assert funding_caveats([statistics(*[8] * 40)], 7) == ()
    assert funding_caveats([statistics(*[8] * 10)], 7) == (Caveat.WINDOW_PARTIAL,)
    # An hour of a week is lacking; and of two legs one is enough.
    assert Caveat.WINDOW_PARTIAL in funding_caveats([statistics(*[1] * 166)], 7)
    assert Caveat.WINDOW_PARTIAL not in funding_caveats([statistics(*[1] * 167)], 7)
    assert funding_caveats([statistics(*[8] * 40), statistics(*[8] * 10)], 7) == (
        Caveat.WINDOW_PARTIAL,
    )
    holed = statistics(*[8] * 30, 16, *[8] * 30)
    assert funding_caveats([statistics(*[8] * 60), holed], 7) == (Caveat.SETTLEMENTS_MISSING,)
    changed = statistics(*[4] * 30, *[8] * 30)
    assert funding_caveats([changed], 7) == (Caveat.INTERVAL_CHANGED,)
    told = replace(statistics(*[8] * 60), interval_hours=4.0)
    assert funding_caveats([statistics(*[8] * 60), told], 7) == (Caveat.INTERVAL_CHANGED,)
    found = evaluated(None, settlement_count=10)
    assert isinstance(found, Opportunity)
    assert Caveat.WINDOW_PARTIAL in found.caveats


@pytest.mark.parametrize(
    ("detail", "ratio"),
    [
        # In coins, at the middle price of 100 against a volume of fifty million a day.
        (Detail(0.01, Decimal(250_000), None), 0.5),
        # The venue's own value wins over ours.
        (Detail(0.01, Decimal(250_000), Decimal(75_000_000)), 1.5),
        (Detail(None, None, None), None),
    ],
)
def test_open_interest_is_told_in_days_of_volume(detail: Detail, ratio: float | None) -> None:
    """Open notional over the quote volume of 24 hours, unknown where the venue told neither."""
    found = evaluated(None)
    assert isinstance(found, Opportunity)
    views = {kind.value: view(kind) for kind in InstrumentKind}
    detailed = with_details(found, {("perpetual", NAME): detail}, views).short_funding
    assert detailed is not None
    assert detailed.open_interest_to_volume == ratio
    assert detailed.price_volatility == detail.price_volatility
    silent = {**views, "perpetual": replace(views["perpetual"], tickers={NAME: SILENT})}
    unknown = with_details(found, {("perpetual", NAME): detail}, silent).short_funding
    assert unknown is not None
    assert unknown.open_interest_to_volume is None


def test_basis_is_the_short_leg_over_the_long_leg_less_one() -> None:
    """A perpetual half a per cent above spot has a basis of 0.005."""
    spot, perpetual = view(InstrumentKind.SPOT), view(InstrumentKind.PERPETUAL)
    dear = TickerRow(NAME, Decimal(50_000_000), Decimal("100.49"), Decimal("100.51"))
    perpetual = replace(perpetual, tickers={NAME: dear})
    views = {each.venue: each for each in (spot, perpetual)}
    evidence = Evidence("scan", views, {perpetual.key(NAME): statistics(*[8] * 90)})
    found = evaluate_pair(PairOfLegs(spot.key(NAME), perpetual.key(NAME)), evidence, ScanRules())
    assert isinstance(found, Opportunity)
    assert found.basis_ratio == Decimal("0.005")


@pytest.mark.parametrize(("price", "is_one"), [("90.91", True), ("109.99", True), ("90.9", False)])
def test_two_coins_of_one_name_are_no_pair(price: str, is_one: bool) -> None:
    """A price a tenth above the other's is as far as legs may stand apart, either way round."""
    spot, perpetual = view(InstrumentKind.SPOT), view(InstrumentKind.PERPETUAL)
    quote = TickerRow(NAME, Decimal(50_000_000), Decimal(price), Decimal(price))
    perpetual = replace(perpetual, tickers={NAME: quote})
    views = {each.venue: each for each in (spot, perpetual)}
    evidence = Evidence("scan", views, {perpetual.key(NAME): statistics(*[8] * 90)})
    found = evaluate_pair(PairOfLegs(spot.key(NAME), perpetual.key(NAME)), evidence, ScanRules())
    assert isinstance(found, Opportunity) is is_one
    if isinstance(found, Rejection):
        assert found.reason is ExclusionReason.PRICES_APART
        assert len(found.instruments) == 2


def test_prices_a_world_apart_are_named_all_the_same() -> None:
    """A thousand coins a unit, and prices whose ratio is lost in rounding."""
    most = Decimal("0.1")
    assert "apart by 999" in (basis_problem(Decimal(1000) - 1, most) or "")
    assert "apart by 999" in (basis_problem(Decimal("0.001") - 1, most) or "")
    assert "beyond measure" in (basis_problem(Decimal(-1), most) or "")
    assert basis_problem(None, most) is None


def test_key_of_an_exclusion_names_venue_and_kind() -> None:
    """The instrument that is left out is the one that ends, not its twin."""
    found = evaluated(NOW + timedelta(days=2))
    assert isinstance(found, Rejection)
    assert found.instruments == (InstrumentKey("perpetual", NAME, InstrumentKind.PERPETUAL),)
