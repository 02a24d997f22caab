"""The backtest: no look at the future, sums checked by hand, intervals that are fair."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.scanner.backtest_data import Recording, read_recordings
from services.scanner.backtest_figures import bootstrap, independent, method_figures
from services.scanner.backtest_market import (
    JudgedPair,
    MarketAssumptions,
    judged_pairs,
    known_rows,
    round_trip_cost,
)
from services.scanner.backtest_walk import BacktestPlan, Method, Outcome, dates, picks, walk
from services.scanner.funding import Settlements, settlements
from services.scanner.instruments import InstrumentKey, InstrumentKind
from services.scanner.pairs import PairOfLegs
from services.scanner.rules import CostRules, ScanRules
from tests.support.recorded_funding import START_MS, small_recording

if TYPE_CHECKING:
    from pathlib import Path

RULES, ASSUMPTIONS = ScanRules(), MarketAssumptions()
DAY = 1440
START = START_MS // 60_000
# Half past midnight, forty days in.
NOW = START + 40 * DAY + 30
SPOT = InstrumentKey("binance-spot", "ALPHAUSDT", InstrumentKind.SPOT)
PERPETUAL = InstrumentKey("binance", "ALPHAUSDT", InstrumentKind.PERPETUAL)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """The small recording, read once."""
    directory: Path = small_recording(tmp_path_factory.mktemp("recorded"))
    return read_recordings(directory)[0]


def plan(**changes: Any) -> BacktestPlan:
    """Return a plan for two places and days of one, seven and thirty."""
    return replace(BacktestPlan(2, (1, 7, 30), RULES, ASSUMPTIONS), **changes)


def outcome(day: int, net: float, **changes: Any) -> Outcome:
    """Return what a method with one position in one place earned over seven days."""
    given = Outcome(START + day * DAY, 7, Method.SCORE, 1, 1, net, net, 1, int(net > 0), 1.0)
    return replace(given, **changes)


def with_future(rows: Settlements, times: list[int], rates: list[float]) -> Settlements:
    """Return the rows settled by NOW and others after it, in minutes from NOW on."""
    past = rows.minutes <= NOW
    later = [(NOW + 1 + minute) * 60_000 for minute in times]
    stamps = [*(rows.minutes[past] * 60_000).tolist(), *later]
    return settlements(stamps, [*rows.rates[past].tolist(), *rates])


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(30, 20 * DAY), st.floats(-2, 2)),
        max_size=40,
        unique_by=lambda x: x[0],
    )
)
def test_future_rows_cannot_change_a_past_rank(
    recording: Recording, future: list[tuple[int, float]]
) -> None:
    """Whatever settles after the date, in whatever rhythm, the ranking of the date is the same."""
    times, rates = [time for time, _ in future], [rate for _, rate in future]
    other = replace(
        recording,
        histories={
            key: with_future(rows, times, rates) for key, rows in recording.histories.items()
        },
    )
    told = judged_pairs(recording, NOW, RULES, ASSUMPTIONS)
    assert judged_pairs(other, NOW, RULES, ASSUMPTIONS) == told
    assert len(told) > 5


def test_past_rows_do_change_a_rank(recording: Recording) -> None:
    """The test above would hold of a ranking that looks at nothing."""
    history = recording.histories[PERPETUAL]
    changed = Settlements(
        history.minutes, np.where(history.minutes > NOW - DAY, 0.0, history.rates)
    )
    other = replace(recording, histories={**recording.histories, PERPETUAL: changed})
    assert judged_pairs(other, NOW, RULES, ASSUMPTIONS) != judged_pairs(
        recording, NOW, RULES, ASSUMPTIONS
    )


def test_pairs_are_those_of_the_scanner(recording: Recording) -> None:
    """Spot is long only without a borrow rate; perpetuals of one symbol pair both ways."""
    told = {each.pair: each for each in judged_pairs(recording, NOW, RULES, ASSUMPTIONS)}
    steady = told[PairOfLegs(SPOT, PERPETUAL)]
    assert steady.current_apr == pytest.approx(3e-4 * 1095)
    assert steady.naive_apr == pytest.approx(3e-4 * 1095)
    assert steady.score is not None
    assert PairOfLegs(PERPETUAL, SPOT) not in told
    venues = {
        (pair.long_leg.venue, pair.short_leg.venue)
        for pair in told
        if pair.symbol == "ALPHAUSDC" and len(pair.perpetuals) == 2
    }
    assert len(venues) == 6
    borrowing = replace(RULES, costs=CostRules(default_borrow_apr=Decimal("0.05")))
    more = {each.pair: each for each in judged_pairs(recording, NOW, borrowing, ASSUMPTIONS)}
    assert more[PairOfLegs(PERPETUAL, SPOT)].score is None
    assert len(more) > len(told)


def test_spot_legs_are_those_of_the_list(recording: Recording) -> None:
    """A perpetual without a spot market is not paired with one."""
    listed = replace(ASSUMPTIONS, spot_symbols=frozenset({"GAMMAUSDT"}))
    symbols = {
        each.pair.symbol
        for each in judged_pairs(recording, NOW, RULES, listed)
        if len(each.pair.perpetuals) == 1
    }
    assert symbols == {"GAMMAUSDT"}


def test_costs_are_fees_and_spreads_of_both_legs_twice() -> None:
    """0.1 % and 0.05 % of fees, twice 0.02 % of half-spread, in and out."""
    cost = round_trip_cost(PairOfLegs(SPOT, PERPETUAL), RULES, ASSUMPTIONS)
    assert cost == pytest.approx(2 * (0.001 + 0.0005 + 2 * 0.0002))
    other = replace(PERPETUAL, venue="bybit")
    perpetuals = round_trip_cost(PairOfLegs(other, PERPETUAL), RULES, ASSUMPTIONS)
    assert perpetuals == pytest.approx(2 * (0.0005 + 0.0005 + 2 * 0.0002))


def test_a_date_is_judged_with_its_costs_intervals_and_a_month(recording: Recording) -> None:
    """5 bp every 4 h less 1 bp every 8 h, 0.28 % over 30 days; and rows of 30 days are held."""
    told = {each.pair: each for each in judged_pairs(recording, NOW, RULES, ASSUMPTIONS)}
    long_leg = InstrumentKey("hyperliquid", "ALPHAUSDC", InstrumentKind.PERPETUAL)
    short_leg = InstrumentKey("bybit", "ALPHAUSDC", InstrumentKind.PERPETUAL)
    found = told[PairOfLegs(long_leg, short_leg)]
    carry = 5e-4 * 2190 - 1.25e-5 * 8760
    assert found.current_apr == pytest.approx(carry)
    assert found.net_apr == pytest.approx(carry - 0.0028 * 8760 / 720)
    rows = known_rows(recording.histories[PERPETUAL], NOW, RULES.history)
    assert rows.minutes[-1] == NOW - 30
    assert rows.minutes[0] < NOW - 30 * DAY


def test_position_earns_what_settled_after_the_date(recording: Recording) -> None:
    """The only pair there is earns its 21 settlements of a week, less one round trip."""
    alone = replace(recording, histories={PERPETUAL: recording.histories[PERPETUAL]})
    # Before some weeks have passed the scan would not trust the carry to outlive its costs.
    told = [
        each
        for each in walk(alone, plan()).outcomes
        if each.horizon_days == 7 and each.minute >= START + 20 * DAY
    ]
    cost = round_trip_cost(PairOfLegs(SPOT, PERPETUAL), RULES, ASSUMPTIONS)
    for each in told:
        places = 1 if each.method is Method.EVERY_PAIR else 2
        assert (each.position_count, each.gross_hit_count) == (1, 1)
        assert each.gross == pytest.approx(21 * 3e-4 / places)
        assert each.net == pytest.approx((21 * 3e-4 - cost) / places)
        assert each.covered_ratio == 1
    assert len(told) == len(Method) * len({each.minute for each in told})


def test_settlement_that_is_not_on_record_counts_as_zero(recording: Recording) -> None:
    """A history that ends early earns what it shows, and the share on record says so."""
    rows = recording.histories[PERPETUAL]
    kept = rows.minutes <= NOW + DAY
    cut = Settlements(rows.minutes[kept], rows.rates[kept])
    # The other history keeps the recording going.
    beta = InstrumentKey("binance", "GAMMAUSDT", InstrumentKind.PERPETUAL)
    alone = replace(recording, histories={PERPETUAL: cut, beta: recording.histories[beta]})
    [told] = [
        each
        for each in walk(alone, plan()).outcomes
        if (each.minute, each.horizon_days, each.method) == (NOW, 7, Method.SCORE)
    ]
    assert told.gross == pytest.approx(3 * 3e-4 / 2)
    assert told.covered_ratio == pytest.approx(1 / 7)


def test_short_spot_pays_borrow_for_the_days_held(recording: Recording) -> None:
    """GAMMA pays a long leg 1 bp every 4 h: a week of it less 36.5 % a year of borrow and costs is
    a hit before costs and none after; a leg that is not on record lowers the share of both.
    """
    gamma = InstrumentKey("binance", "GAMMAUSDT", InstrumentKind.PERPETUAL)
    borrowing = replace(RULES, costs=CostRules(default_borrow_apr=Decimal("0.0365")))
    alone = replace(recording, histories={gamma: recording.histories[gamma]})
    [told] = [
        each
        for each in walk(alone, plan(rules=borrowing)).outcomes
        if (each.minute, each.horizon_days, each.method) == (NOW, 7, Method.SCORE)
    ]
    assert told.gross == pytest.approx(42e-4 / 2)
    assert told.net == pytest.approx((42e-4 - 0.0038 - 0.0001 * 7) / 2)
    assert (told.gross_hit_count, told.net_hit_count) == (1, 0)
    short = InstrumentKey("bybit", "ALPHAUSDC", InstrumentKind.PERPETUAL)
    long_leg = InstrumentKey("binance", "ALPHAUSDC", InstrumentKind.PERPETUAL)
    rows = recording.histories[long_leg]
    cut = Settlements(rows.minutes[rows.minutes <= NOW], rows.rates[rows.minutes <= NOW])
    both = replace(recording, histories={short: recording.histories[short], long_leg: cut})
    every = [
        each
        for each in walk(both, plan(assumptions=replace(ASSUMPTIONS, spot_venues=()))).outcomes
        if (each.minute, each.horizon_days, each.method) == (NOW, 7, Method.EVERY_PAIR)
    ]
    assert [each.covered_ratio for each in every] == [0]


def test_dates_leave_room_to_judge_and_to_hold(recording: Recording) -> None:
    """From three days of history on, daily, to the last that the shortest horizon fits after."""
    found = list(dates(recording, plan()))
    assert found[0] == START + 3 * DAY + 30
    assert set(np.diff(found)) == {DAY}
    assert found[-1] + DAY <= recording.last_minute + 30 < found[-1] + 2 * DAY


def test_each_method_picks_by_its_own_value() -> None:
    """Best first, at most the places there are, nothing that it thinks loses."""
    pair = PairOfLegs(SPOT, PERPETUAL)
    first = JudgedPair(pair, score=0.9, net_apr=0.1, current_apr=-0.1, naive_apr=0.3)
    second = JudgedPair(pair, score=None, net_apr=-0.1, current_apr=0.2, naive_apr=0.4)
    third = JudgedPair(pair, score=0.5, net_apr=0.2, current_apr=0.3, naive_apr=-0.4)
    found = (first, second, third)
    assert picks(found, Method.SCORE, 5) == (first, third)
    assert picks(found, Method.NET_APR, 5) == (third, first)
    assert picks(found, Method.CURRENT_RATE, 1) == (third,)
    assert picks(found, Method.NAIVE_APR, 5) == (second, first)
    assert picks(found, Method.EVERY_PAIR, 1) == found


def test_independent_dates_do_not_overlap() -> None:
    """Of daily dates held a week, every seventh stands alone."""
    daily = [outcome(day, 0.0) for day in range(20)]
    assert [each.minute for each in independent(daily)] == [START + day * DAY for day in (0, 7, 14)]
    assert independent([]) == []


def test_interval_holds_the_mean_and_narrows_with_dates() -> None:
    """The seed fixes it, more dates make it surer, and too few give none."""
    few, many = np.tile([0.01, -0.02], 5), np.tile([0.01, -0.02], 200)
    interval, narrow = bootstrap(few, 3), bootstrap(many, 3)
    assert interval == bootstrap(few, 3)
    assert interval is not None
    assert narrow is not None
    assert interval.low < interval.mean == pytest.approx(-0.005)
    assert narrow.high - narrow.low < (interval.high - interval.low) / 3
    # 95 % of means of 400 with a deviation of 0.015 are within 1.96 deviations of the mean.
    assert (narrow.high - narrow.low) / 2 == pytest.approx(1.96 * 0.015 / 20, rel=0.05)
    assert bootstrap(few[:4], 3) is None


def test_figures_are_plain_means_of_the_outcomes() -> None:
    """Places, positions, halves, and the lead of the score date by date."""
    score = [outcome(day, 0.02, place_count=2, position_count=1) for day in range(0, 42, 7)]
    naive = [
        outcome(day, 0.01 * (day % 2), method=Method.NAIVE_APR, position_count=0)
        for day in range(0, 42, 7)
    ]
    ours, theirs = method_figures([*naive, *score], seed=1)
    assert (ours.method, theirs.method) == (Method.SCORE, Method.NAIVE_APR)
    assert (ours.date_count, ours.independent_date_count) == (6, 6)
    assert [ours.net, ours.net_of_position, *ours.net_by_half] == pytest.approx(
        [0.02, 0.04, 0.02, 0.02]
    )
    assert ours.net_hit_ratio == 1
    lost = method_figures([outcome(0, -0.01), outcome(7, 0.01)], seed=1)[0]
    assert (lost.gross_hit_ratio, lost.net_hit_ratio) == (1, 0.5)
    assert ours.behind_score is None
    assert (theirs.net_of_position, theirs.net_hit_ratio) == (None, None)
    assert theirs.behind_score is not None
    assert theirs.behind_score.mean == pytest.approx(0.015)


def test_figures_of_nothing_are_nothing() -> None:
    """A recording too short for a date has no figures."""
    assert method_figures([], seed=1) == ()
