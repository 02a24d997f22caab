"""Costs, pairs, quarantine and the quality score."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scanner.analytics import FundingStatistics, analyse
from services.scanner.costs import (
    LegCost,
    expected_holding_time,
    net_carry,
    round_trip_costs,
)
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
from services.scanner.market import VenueView, interval_hours, venue_now
from services.scanner.pairs import PairOfLegs, pairs_of_legs
from services.scanner.quarantine import history_exclusions
from services.scanner.ranking import (
    FundingLeg,
    ScoreInput,
    favourable_regime_hours,
    naive_carry,
    quality_score,
    score_factors,
    window_carry,
)
from services.scanner.rules import DEFAULT_WEIGHTS, CostRules, QuarantineRules, ScoreRules

NOW = datetime(2026, 3, 20, tzinfo=UTC)
SPOT, PERPETUAL = InstrumentKind.SPOT, InstrumentKind.PERPETUAL
KEY = InstrumentKey("p", "AAAUSDT", PERPETUAL)
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "quality-score.md"


def statistics(rates: list[float], hours: int = 8) -> FundingStatistics:
    """Return the statistics of rates at an even interval."""
    times = [index * hours * 3_600_000 for index in range(1, len(rates) + 1)]
    history = funding_history(settlements(times, rates), float(hours))
    assert history is not None
    return analyse([history])[0]


def view(venue: str, kind: InstrumentKind, *symbols: str, lends: bool = False) -> VenueView:
    """Return a venue that lists symbols."""
    rows = {
        symbol: SymbolRow(symbol, symbol[:3], "USDT", TradingStatus.TRADING, lends, None)
        for symbol in symbols
    }
    return VenueView(venue, kind, rows, {}, NOW)


def paired(*views: VenueView) -> set[tuple[str, str]]:
    """Return (long venue, short venue) of all pairs."""
    by_name = {each.venue: each for each in views}
    tradable = {each.venue: each.symbols.keys() for each in views}
    return {
        (pair.long_leg.venue, pair.short_leg.venue) for pair in pairs_of_legs(by_name, tradable)
    }


def test_spot_is_shorted_only_where_the_venue_lends() -> None:
    """Both directions between spot and perpetual need a lender for one of them."""
    perpetual = view("p", PERPETUAL, "AAAUSDT")
    assert paired(view("s", SPOT, "AAAUSDT"), perpetual) == {("s", "p")}
    assert paired(view("s", SPOT, "AAAUSDT", lends=True), perpetual) == {("s", "p"), ("p", "s")}


def test_perpetuals_pair_both_ways_and_spot_never_with_spot() -> None:
    """Any two venues pair, unless neither leg earns funding."""
    views = (view("p", PERPETUAL, "AAAUSDT"), view("q", PERPETUAL, "AAAUSDT", "BBBUSDT"))
    assert paired(*views) == {("p", "q"), ("q", "p")}
    assert paired(view("s", SPOT, "AAAUSDT"), view("t", SPOT, "AAAUSDT")) == set()


def test_opportunity_id_is_stable_distinct_and_ascii() -> None:
    """The name tells symbol, venues, kinds and direction, whatever the symbol is written in."""
    spot, perpetual = (
        InstrumentKey("s", "币安USDT", SPOT),
        InstrumentKey("p", "币安USDT", PERPETUAL),
    )
    there, back = PairOfLegs(spot, perpetual), PairOfLegs(perpetual, spot)
    assert there.opportunity_id != back.opportunity_id
    assert there.opportunity_id.isascii()
    assert there.opportunity_id.endswith(":s:spot:p:perpetual")


def test_named_costs_add_up_to_the_round_trip() -> None:
    """Fees and half-spreads of both legs, twice: in and out."""
    costs = round_trip_costs(
        LegCost(SPOT, Decimal("0.001"), Decimal("0.0002")),
        LegCost(PERPETUAL, Decimal("0.0005"), Decimal("0.0001")),
        CostRules(),
    )
    assert costs == {
        "long_taker_fee": Decimal("0.002"),
        "long_half_spread": Decimal("0.0004"),
        "short_taker_fee": Decimal("0.001"),
        "short_half_spread": Decimal("0.0002"),
    }


def test_defaults_are_named_and_missing_ones_refused() -> None:
    """A cost nobody told is marked as a default, or refused without one."""
    unknown, known = LegCost(SPOT, None, None), LegCost(PERPETUAL, Decimal(0), Decimal(0))
    rules = CostRules(default_half_spread_ratio=Decimal("0.001"))
    costs = round_trip_costs(unknown, known, rules)
    assert costs["long_taker_fee_default"] == Decimal("0.002")
    assert costs["long_half_spread_default"] == Decimal("0.002")
    # A fee of zero was told: it is no fee that is unknown.
    assert costs["short_taker_fee"] == 0
    with pytest.raises(ValueError, match="half-spread of the long leg"):
        round_trip_costs(unknown, known, CostRules())


@pytest.mark.parametrize(("age", "expected"), [(1, 24), (100, 100), (5000, 720)])
def test_holding_time_is_the_regime_age_within_bounds(age: int, expected: int) -> None:
    """A regime is expected to last as long as it has, within the settings."""
    holding = expected_holding_time(timedelta(hours=age), CostRules())
    assert holding == timedelta(hours=expected)


def test_net_carry_pays_round_trip_and_borrow() -> None:
    """36.5 % a year less 10 % borrow pays 0.3 % in 99.2 hours."""
    net = net_carry(
        Decimal("0.365"), Decimal("0.1"), {"fees": Decimal("0.003")}, timedelta(hours=876)
    )
    assert net.net_apr == Decimal("0.235")
    assert net.break_even_hours is not None
    assert net.break_even_hours.quantize(Decimal("0.1")) == Decimal("99.2")


def test_carry_that_never_pays_has_no_break_even() -> None:
    """With borrow above carry there is no number of hours."""
    net = net_carry(Decimal("0.1"), Decimal("0.1"), {"fees": Decimal("0.003")}, timedelta(hours=24))
    assert net.break_even_hours is None
    assert net.net_apr < 0


def verdicts(
    found: FundingStatistics, *, predicted: float | None = 0.0001, age_hours: float = 1
) -> list[ExclusionReason]:
    """Return the reasons against a history."""
    now = found.last_minute + age_hours * 60
    return [
        each.reason for each in history_exclusions(KEY, found, predicted, now, QuarantineRules())
    ]


def test_sound_history_has_no_verdict() -> None:
    """A month of plain rates passes."""
    assert verdicts(statistics([0.0001] * 90)) == []


def test_dead_market_is_older_than_two_intervals_of_its_own() -> None:
    """Sixteen hours are fine at 8 h and dead at 4 h."""
    assert verdicts(statistics([0.0001] * 90), age_hours=16) == []
    assert verdicts(statistics([0.0001] * 90), age_hours=16.1) == [ExclusionReason.MARKET_DEAD]
    four = statistics([0.0001] * 90, hours=4)
    assert verdicts(four, age_hours=16) == [ExclusionReason.MARKET_DEAD]


def test_rate_that_is_no_number_is_not_under_the_bound() -> None:
    """NaN compares with nothing and must not pass for that."""
    plain = statistics([0.0001] * 30)
    assert verdicts(plain, predicted=math.nan) == [ExclusionReason.RATE_IMPLAUSIBLE]
    assert verdicts(plain, predicted=-math.inf) == [ExclusionReason.RATE_IMPLAUSIBLE]


def test_short_stuck_and_wild_histories_are_named() -> None:
    """Each fault has its reason, and all of them are told."""
    assert verdicts(statistics([0.0001] * 8)) == [ExclusionReason.HISTORY_SHORT]
    assert verdicts(statistics([0.0001] * 20, hours=1)) == [ExclusionReason.HISTORY_SHORT]
    stuck = [0.0001] * 20 + [0.0] * 13 + [0.0001] * 20
    assert verdicts(statistics(stuck)) == [ExclusionReason.ZERO_RUN]
    assert verdicts(statistics([0.0001] * 30 + [-0.06])) == [ExclusionReason.RATE_IMPLAUSIBLE]
    plain = statistics([0.0001] * 30)
    assert verdicts(plain, predicted=0.3) == [ExclusionReason.RATE_IMPLAUSIBLE]
    assert verdicts(statistics([0.2]), age_hours=99) == [
        ExclusionReason.MARKET_DEAD,
        ExclusionReason.HISTORY_SHORT,
        ExclusionReason.RATE_IMPLAUSIBLE,
    ]


def test_history_at_the_bounds_is_sound() -> None:
    """Nine settlements over three days, twelve zeros in a row, any number apart, and 5 % pass."""
    assert verdicts(statistics([0.0001] * 9)) == []
    assert verdicts(statistics([0.0001] * 71, hours=1)) == [ExclusionReason.HISTORY_SHORT]
    assert verdicts(statistics([0.0001] * 72, hours=1)) == []
    assert verdicts(statistics([0.0001] * 20 + [0.0] * 12 + [0.0001] * 20)) == []
    assert verdicts(statistics([0.0001, 0.0] * 30)) == []
    assert verdicts(statistics([0.0001] * 30 + [-0.05]), predicted=0.05) == []


def test_carry_of_two_perpetuals_is_the_difference() -> None:
    """Short the dearer, long the cheaper; a leg against the position costs."""
    dear, cheap = statistics([0.0003] * 90), statistics([0.0001] * 90)
    legs = (FundingLeg(cheap, -1), FundingLeg(dear, 1))
    assert window_carry(legs, 7) == pytest.approx(0.0002 * 1095)
    assert favourable_regime_hours(legs) == 720
    assert favourable_regime_hours((FundingLeg(cheap, -1),)) == 0


given_input = ScoreInput(net_apr=0.2, regime_hours=160, quote_volume=1e7, basis_ratio=0.0)


def test_two_legs_share_their_factors() -> None:
    """The shorter history, deviations as a root of squares, the
    mean of both shares, every window's carry of both legs.
    """
    receiving = statistics([-0.0003] * 10 + [0.0003, 0.0005] * 10)
    paying = statistics([-0.0001, -0.0003] * 45)
    legs = (FundingLeg(paying, -1), FundingLeg(receiving, 1))
    assert favourable_regime_hours(legs) == 160
    factors = score_factors(legs, given_input, ScoreRules())
    mean, spread = (
        (-paying.annualized_rate + receiving.annualized_rate),
        (math.hypot(paying.annualized_deviation, receiving.annualized_deviation)),
    )
    assert mean > 0
    assert factors["stability"] == pytest.approx(mean / (mean + spread))
    assert factors["persistence"] == pytest.approx(160 / 232)
    assert factors["consistency"] == pytest.approx((1 + 20 / 30) / 2)
    assert factors["coverage"] == pytest.approx(240 / 720)
    assert factors["agreement"] == 1
    level = (FundingLeg(receiving, -1), FundingLeg(receiving, 1))
    assert score_factors(level, given_input, ScoreRules())["agreement"] == 0
    unknown = replace(given_input, basis_ratio=None)
    assert score_factors(legs, unknown, ScoreRules())["basis"] == 0.5
    assert naive_carry(legs) == pytest.approx(
        receiving.naive_annualized_rate - paying.naive_annualized_rate
    )


@given(
    st.lists(st.integers(-500, 500), min_size=30, max_size=90),
    st.floats(-1, 5),
    st.floats(0, 1e9),
    st.one_of(st.none(), st.floats(-0.5, 0.5)),
    st.sampled_from([1, -1]),
)
def test_factors_and_score_stay_between_zero_and_one(
    rates: list[int], net: float, volume: float, basis: float | None, direction: int
) -> None:
    """Whatever the history, every factor and the score are shares."""
    legs = (FundingLeg(statistics([rate / 1e6 for rate in rates]), direction),)
    factors = score_factors(
        legs, ScoreInput(net, favourable_regime_hours(legs), volume, basis), ScoreRules()
    )
    assert factors.keys() == DEFAULT_WEIGHTS.keys()
    assert all(0 <= factor <= 1 for factor in factors.values())
    assert 0 <= quality_score(factors, ScoreRules()) <= 1


@pytest.mark.parametrize("name", sorted(DEFAULT_WEIGHTS))
def test_better_factor_never_lowers_the_score(name: str) -> None:
    """The score grows with every factor, and a zero of any of them is a zero."""
    factors = dict.fromkeys(DEFAULT_WEIGHTS, 0.5)
    plain = quality_score(factors, ScoreRules())
    assert plain == pytest.approx(0.5)
    assert quality_score({**factors, name: 0.9}, ScoreRules()) > plain
    assert quality_score({**factors, name: 0.0}, ScoreRules()) == 0


def test_weight_of_zero_leaves_a_factor_out() -> None:
    """Settings may take a factor out of the score."""
    rules = replace(ScoreRules(), weights={"carry": 1.0})
    assert quality_score({"carry": 0.25, "basis": 0.0}, rules) == pytest.approx(0.25)


def test_worked_example_of_the_document_holds() -> None:
    """docs/quality-score.md computes what the code computes."""
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([0-9.]+) \| ([0-9.]+) \|", text, re.MULTILINE)
    assert {name: float(weight) for name, _, weight in rows} == dict(DEFAULT_WEIGHTS)
    told = re.search(r"score is \*\*([0-9.]+)\*\*", text)
    assert told is not None
    legs = (FundingLeg(statistics([0.0001, 0.0003] * 90, hours=4), 1),)
    age = favourable_regime_hours(legs)
    example = ScoreInput(
        net_apr=0.40, regime_hours=age, quote_volume=30_000_000.0, basis_ratio=0.0025
    )
    factors = score_factors(legs, example, ScoreRules())
    for name, factor, _ in rows:
        assert factors[name] == pytest.approx(float(factor), abs=6e-5), name
    assert quality_score(factors, ScoreRules()) == pytest.approx(float(told[1]), abs=6e-5)


def test_crossed_or_empty_book_has_no_mid() -> None:
    """A book that cannot be traded on is no book."""
    for bid, ask in ((None, "1"), ("0", "1"), ("2", "1"), ("1", None)):
        row = TickerRow("A", None, Decimal(bid) if bid else None, Decimal(ask) if ask else None)
        assert (row.mid, row.half_spread) == (None, None)
    assert TickerRow("A", None, Decimal(99), Decimal(101)).half_spread == Decimal("0.01")


def test_venue_time_is_the_middle_stamp() -> None:
    """One row of another year, or one that stands still, moves nothing; no stamp is no time."""
    rows = {
        name: RateRow(name, None, None, stamp, None)
        for name, stamp in {
            "stale": NOW - timedelta(days=9),
            "one": NOW,
            "silent": None,
            "two": NOW + timedelta(seconds=1),
            "wild": NOW.replace(year=2100),
        }.items()
    }
    stamped = replace(view("p", PERPETUAL, "AAAUSDT"), rates=rows)
    assert venue_now(stamped) == NOW + timedelta(seconds=1)
    assert venue_now(view("p", PERPETUAL, "AAAUSDT")) is None


def test_what_is_told_of_a_symbol_wins_over_what_is_told_of_all() -> None:
    """Fees: of the symbol before the venue's; intervals, in hours: of the rate before the list."""
    plain = view("p", PERPETUAL, "AAAUSDT", "BBBUSDT")
    listed = {
        name: replace(row, funding_interval=timedelta(hours=8))
        for name, row in plain.symbols.items()
    }
    told = replace(
        plain,
        symbols=listed,
        fees={"": Decimal("0.001"), "AAAUSDT": Decimal("0.0002")},
        rates={"AAAUSDT": RateRow("AAAUSDT", None, None, None, timedelta(hours=4))},
    )
    assert [told.taker_fee(name) for name in ("AAAUSDT", "BBBUSDT")] == [
        Decimal("0.0002"),
        Decimal("0.001"),
    ]
    assert [interval_hours(told, name) for name in ("AAAUSDT", "BBBUSDT", "C")] == [4, 8, None]
