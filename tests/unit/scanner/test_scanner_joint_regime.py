"""How long the difference of two perpetuals has paid: by hand, and by a plain walk hour by hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scanner.analytics import FundingStatistics, analyse
from services.scanner.evaluate import Evidence, Rejection, evaluate_pair
from services.scanner.funding import FundingHistory, funding_history, settlements
from services.scanner.instruments import (
    ExclusionReason,
    InstrumentKey,
    InstrumentKind,
    SymbolRow,
    TickerRow,
    TradingStatus,
)
from services.scanner.joint_regime import paying_hours
from services.scanner.market import VenueView
from services.scanner.opportunity import Opportunity
from services.scanner.pairs import PairOfLegs
from services.scanner.rules import ScanRules

BASIS_POINT = 1e-4
HOUR_MS = 3_600_000
NOW = datetime(2026, 3, 20, tzinfo=UTC)


def leg(points: Mapping[int, float], hours: int) -> FundingHistory:
    """Return the history of a perpetual: basis points by the hour they settle at."""
    times = [hour * HOUR_MS for hour in points]
    rows = settlements(times, [each * BASIS_POINT for each in points.values()])
    history = funding_history(rows, float(hours))
    assert history is not None
    return history


def even(points: Sequence[float], hours: int) -> FundingHistory:
    """Return the history of rates at an even interval, the first after one interval."""
    return leg({(index + 1) * hours: each for index, each in enumerate(points)}, hours)


def test_two_legs_that_were_always_positive_differ_for_a_day_only() -> None:
    """Short at 1.0 bp, long at 0.9 bp but for one settlement at 1.1 bp, three before the last."""
    short_leg = even([1.0] * 90, 8)
    long_leg = even([0.9] * 86 + [1.1] + [0.9] * 3, 8)
    assert paying_hours(long_leg, short_leg) == 24
    assert paying_hours(short_leg, long_leg) == 0


@pytest.mark.parametrize(("newest", "expected"), [(0.6, 8), (1.0, 0)])
def test_legs_of_different_intervals_are_compared_by_the_hour(newest: float, expected: int) -> None:
    """By the hour the short leg pays 0.1 and 0.2 bp, eight hours each; the long leg 0.1, 0.3, 0.1
    and 0.1, four hours each: the difference pays since hour 8. What the long leg settles at hour
    20 (0.15 or 0.25) meets the last rate of the short one, and adds no hours.
    """
    short_leg = leg({8: 0.8, 16: 1.6}, 8)
    long_leg = leg({4: 0.4, 8: 1.2, 12: 0.4, 16: 0.4, 20: newest}, 4)
    assert paying_hours(long_leg, short_leg) == expected


def test_missing_rows_end_no_run_and_count_no_hours() -> None:
    """The short leg has no rows at 16 and 20: of the 24 hours 16 are known."""
    short_leg = leg({4: 1.0, 8: 1.0, 12: 1.0, 24: 1.0, 28: 1.0}, 4)
    long_leg = even([1.5] + [0.5] * 6, 4)
    assert paying_hours(long_leg, short_leg) == 16


def test_difference_that_paid_all_the_time_is_as_old_as_the_shorter_history() -> None:
    """Of 30 days and 20 the 20 count, whatever the intervals."""
    for hours in (8, 4):
        short_leg = leg(dict.fromkeys(range(240 + hours, 721, hours), 1.0), hours)
        assert paying_hours(even([0.25] * 90, 8), short_leg) == 480


def test_equal_rates_of_different_intervals_pay_nothing() -> None:
    """1.3 bp in eight hours are 3.9 in a day and an eighth in one; what is left is rounding."""
    slow = even([1.3] * 9, 8)
    for same in (even([3.9] * 3, 24), even([1.3 / 8] * 72, 1)):
        assert paying_hours(slow, same) == paying_hours(same, slow) == 0


@given(
    st.sampled_from([1, 4, 8]),
    st.sampled_from([1, 2, 8]),
    st.lists(st.integers(-3, 3), min_size=2, max_size=150),
    st.lists(st.integers(-3, 3), min_size=2, max_size=150),
)
def test_run_is_that_of_a_walk_hour_by_hour(
    long_hours: int, short_hours: int, long_rates: list[int], short_rates: list[int]
) -> None:
    """Whatever the intervals, ends and lengths, the hours are those of a plain loop."""
    rates = {
        -1: (long_hours, [each * long_hours for each in long_rates]),
        1: (short_hours, [each * short_hours for each in short_rates]),
    }
    last = max(hours * len(found) for hours, found in rates.values())
    count = 0
    for hour in range(last - 1, -1, -1):
        difference, is_covered = 0, True
        for direction, (hours, found) in rates.items():
            row = hour // hours
            is_covered &= row < len(found)
            difference += direction * found[min(row, len(found) - 1)] // hours
        if difference <= 0:
            break
        count += is_covered
    long_leg, short_leg = even(rates[-1][1], long_hours), even(rates[1][1], short_hours)
    assert paying_hours(long_leg, short_leg) == count


def pair_evidence(statistics: Sequence[FundingStatistics]) -> tuple[PairOfLegs, Evidence]:
    """Return long at the first and short at the second venue; the market is the same at both."""
    name = "AAAUSDT"
    keys = [InstrumentKey(venue, name, InstrumentKind.PERPETUAL) for venue in "pq"]
    listed = SymbolRow(name, "AAA", "USDT", TradingStatus.TRADING, True, None)
    row = TickerRow(name, Decimal(50_000_000), Decimal("99.99"), Decimal("100.01"))
    views = {
        key.venue: VenueView(
            key.venue, key.kind, {name: listed}, {name: row}, NOW, {}, {"": Decimal("0.0005")}
        )
        for key in keys
    }
    found = dict(zip(keys, statistics, strict=True))
    return PairOfLegs(*keys), Evidence("scan", views, found)


def test_round_trip_is_spread_over_the_run_of_the_difference() -> None:
    """Long at 1 bp, short at 11 bp every 8 h: 10 bp 1095 times a year are 1.095. Crossing costs
    0.24 %. Where the long leg was at 12 bp four settlements ago, that is spread over 24 hours.
    """
    statistics = analyse([even([1.0] * 86 + [12.0] + [1.0] * 3, 8), even([11.0] * 90, 8)])
    pair, known = pair_evidence(statistics)
    found = evaluate_pair(pair, known, ScanRules())
    assert isinstance(found, Opportunity)
    # Of the 21 settlements of the week one cost 1 bp and 20 paid 10.
    assert found.gross_apr == Decimal("1.037642857143")
    assert found.expected_holding_time == timedelta(hours=24)
    assert found.round_trip_cost_ratio == Decimal("0.0024")
    assert found.net_apr == found.gross_apr - Decimal("0.0024") * 365
    # Of 24 + 72 hours.
    assert found.score_factors["persistence"] == Decimal("0.25")
    assert known.regime_hours == {pair: 24}


@pytest.mark.parametrize("short_rate", [1.2, 0.9])
def test_difference_is_not_looked_at_where_no_age_would_do(short_rate: float) -> None:
    """0.2 bp every 8 h are 2.19 %, held 720 hours the round trip costs 2.92 %; or it costs carry:
    both are told as they would be at best.
    """
    pair, known = pair_evidence(analyse([even([1.0] * 90, 8), even([short_rate] * 90, 8)]))
    found = evaluate_pair(pair, known, ScanRules())
    assert isinstance(found, Rejection)
    assert found.reason is ExclusionReason.CARRY_LOW
    assert found.net_apr is not None
    carry = (short_rate - 1.0) * BASIS_POINT * 1095
    assert float(found.net_apr) == pytest.approx(carry - 0.0024 * 8760 / 720)
    assert known.regime_hours == {}
