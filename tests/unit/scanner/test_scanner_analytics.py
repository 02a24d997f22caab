"""Funding statistics against a plain Decimal implementation, made-up cases and properties."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.scanner.analytics import FundingStatistics, analyse
from services.scanner.funding import FundingHistory, funding_history, settlements
from tests.support.funding_figures import figures
from tests.support.plain_funding import HOUR_MS, Figures, Row, plain_statistics

START = 492_000 * HOUR_MS


def history_of(rows: list[Row]) -> FundingHistory:
    """Return the scanner's history of rows."""
    history = funding_history(
        settlements([time for time, _ in rows], [float(rate) for _, rate in rows]), None
    )
    assert history is not None
    return history


def statistics_of(*rates: float, hours: int = 8) -> FundingStatistics:
    """Return the statistics of rates at an even interval."""
    rows = [
        (START + index * hours * HOUR_MS, Decimal(str(rate))) for index, rate in enumerate(rates)
    ]
    (statistics,) = analyse([history_of(rows)])
    return statistics


@st.composite
def histories(draw: st.DrawFn) -> list[Row]:
    """Draw rows with changing intervals, zeros, jitter and any order; without holes."""
    blocks = draw(st.lists(st.sampled_from([1, 2, 4, 8]), min_size=1, max_size=3))
    hours = [step for step in blocks for _ in range(draw(st.integers(2, 40)))]
    rate = st.one_of(st.just(0), st.integers(-75_000, 75_000))
    time, rows = START, []
    for step in hours:
        time += step * HOUR_MS
        value = Decimal(draw(rate)).scaleb(-8)
        rows.append((time + draw(st.integers(0, 12)), value))
    return draw(st.permutations(rows))


@st.composite
def rough_histories(draw: st.DrawFn) -> tuple[list[Row], int | None]:
    """Draw what venues really send: few rows or many, holes of hours and of days, settlements told
    twice with another jitter and another rate, wild rates, and perhaps the venue's word.
    """
    spacings = st.sampled_from([1, 1, 1, 2, 3, 4, 4, 4, 6, 8, 8, 8, 12, 16, 24, 30, 240])
    rates = st.one_of(st.just(0), st.integers(-75_000, 75_000), st.integers(-5 * 10**6, 5 * 10**6))
    jitters = st.integers(-30_000, 30_000)
    time, rows = START, []
    for step in [0, *draw(st.lists(spacings, max_size=60))]:
        time += step * HOUR_MS
        tellings = draw(st.sampled_from([1, 1, 1, 1, 2, 3]))
        rows += [(time + draw(jitters), Decimal(draw(rates)).scaleb(-8)) for _ in range(tellings)]
    if draw(st.booleans()):
        # Newest first, as some venues answer; the repeats of one settlement keep their order.
        rows.sort(key=lambda row: -((row[0] + HOUR_MS // 2) // HOUR_MS))
    return rows, draw(st.sampled_from([None, 1, 4, 8]))


def same(found: FundingStatistics, expected: Figures) -> None:
    """Hold every figure against the plain one: to 1e-12 of itself or, near zero, of one."""
    shown = figures(found)
    assert shown.keys() == expected.keys()
    for name, value in expected.items():
        if value is None:
            assert shown[name] is None, name
        else:
            assert shown[name] == pytest.approx(float(value), rel=1e-12, abs=1e-12), name


@settings(max_examples=40, deadline=None)
@given(st.lists(histories(), min_size=1, max_size=4))
def test_statistics_equal_the_plain_implementation(batch: list[list[Row]]) -> None:
    """Every figure of every history of a batch equals the plain one to 1e-12."""
    for rows, statistics in zip(batch, analyse([history_of(each) for each in batch]), strict=True):
        expected = plain_statistics(rows)
        assert expected is not None
        same(statistics, expected)


def test_a_history_has_its_figures_whatever_it_is_analysed_with() -> None:
    """A hundred and one at once, each of another length and rate, are what each is alone."""
    batch = [
        history_of(
            [(START + step * 8 * HOUR_MS, Decimal(number)) for step in range(2 + number % 7)]
        )
        for number in range(101)
    ]
    assert analyse(batch) == tuple(analyse([each])[0] for each in batch)
    assert analyse([]) == ()


@settings(max_examples=80, deadline=None)
@given(st.lists(rough_histories(), min_size=1, max_size=3))
def test_rough_histories_equal_the_plain_implementation(
    batch: list[tuple[list[Row], int | None]],
) -> None:
    """One row or sixty, holes, repeats, changes and wild rates: all figures equal the plain ones,
    and an interval that one cannot tell the other cannot either.
    """
    known, expected = [], []
    for rows, word in batch:
        plain = plain_statistics(rows, word)
        raw = settlements([time for time, _ in rows], [float(rate) for _, rate in rows])
        history = funding_history(raw, word)
        assert (plain is None) == (history is None)
        if plain is not None and history is not None:
            expected.append(plain)
            known.append(history)
    for statistics, plain in zip(analyse(known), expected, strict=True):
        same(statistics, plain)


@settings(max_examples=30, deadline=None)
@given(st.lists(histories(), min_size=2, max_size=5))
def test_neighbours_in_a_batch_do_not_touch_each_other(batch: list[list[Row]]) -> None:
    """A history has the same counts alone and among others."""
    together = analyse([history_of(rows) for rows in batch])
    alone = [analyse([history_of(rows)])[0] for rows in batch]
    for one, other in zip(together, alone, strict=True):
        assert one.sign_flip_count == other.sign_flip_count
        assert one.regime_count == other.regime_count
        assert one.longest_zero_run == other.longest_zero_run
        assert one.mean_rate == pytest.approx(other.mean_rate, rel=1e-12, abs=1e-15)


@settings(max_examples=30, deadline=None)
@given(histories())
def test_mirrored_rates_mirror_the_statistics(rows: list[Row]) -> None:
    """With every sign turned, carry and slope turn and spreads stay."""
    (plus,) = analyse([history_of(rows)])
    (minus,) = analyse([history_of([(time, -rate) for time, rate in rows])])
    assert minus.annualized_rate == pytest.approx(-plus.annualized_rate, rel=1e-9, abs=1e-12)
    assert minus.deviation == pytest.approx(plus.deviation, rel=1e-9, abs=1e-15)
    assert minus.negative_ratio == plus.positive_ratio
    assert minus.sign_flip_count == plus.sign_flip_count
    assert minus.regime_hours == plus.regime_hours


def test_true_and_naive_annual_rates_differ_by_the_interval() -> None:
    """One basis point an hour is 87.6 % a year; taken for eight hours it would be 10.95 %."""
    statistics = statistics_of(*[0.0001] * 40, hours=1)
    assert statistics.annualized_rate == pytest.approx(0.876)
    assert statistics.naive_annualized_rate == pytest.approx(0.1095)
    assert statistics.window(30).coverage_ratio == pytest.approx(40 / 720)


def test_interval_change_inside_the_window_weighs_by_hours() -> None:
    """A rate paid for 8 h and the same paid for 1 h do not count alike."""
    rows = [(START + hour * HOUR_MS, Decimal("0.0008")) for hour in (8, 16, 24)]
    rows += [(START + hour * HOUR_MS, Decimal("0.0008")) for hour in (25, 26, 27)]
    (statistics,) = analyse([history_of(rows)])
    assert statistics.annualized_rate == pytest.approx(6 * 0.0008 / 27 * 8760)
    assert statistics.interval_change_count == 1
    assert statistics.interval_hours == 1


def test_change_of_interval_is_no_variation() -> None:
    """The same pay by the hour, settled every 8 h and then every hour, deviates by nothing."""
    rows = [(START + hour * HOUR_MS, Decimal("0.0008")) for hour in (8, 16, 24)]
    rows += [(START + hour * HOUR_MS, Decimal("0.0001")) for hour in (25, 26, 27)]
    (statistics,) = analyse([history_of(rows)])
    assert statistics.annualized_deviation == pytest.approx(0, abs=1e-12)
    assert statistics.deviation > 0.0003


def test_zero_is_skipped_by_flips_and_is_a_regime_of_its_own() -> None:
    """Plus, zero, plus is no flip; trailing zeros are the regime."""
    statistics = statistics_of(0.1, 0.0, 0.1, -0.1, 0.0, 0.0)
    assert (statistics.sign_flip_count, statistics.strict_sign_flip_count) == (1, 4)
    assert (statistics.regime_sign, statistics.regime_count, statistics.regime_hours) == (0, 2, 16)
    assert statistics.positive_ratio == pytest.approx(2 / 6)
    assert statistics.longest_zero_run == 2


def test_zero_runs_do_not_reach_over_to_the_next_history() -> None:
    """Zeros at the end of one history and at the start of the next are two runs."""
    zeros = [(START + index * 8 * HOUR_MS, Decimal(0)) for index in range(5)]
    one, other = analyse([history_of(zeros), history_of(zeros)])
    assert (one.longest_zero_run, other.longest_zero_run) == (5, 5)


def test_too_few_rows_leave_figures_unknown() -> None:
    """One settlement has no deviation of a sample and no slope."""
    rows = settlements([START], [0.1])
    history = funding_history(rows, 8.0)
    assert history is not None
    (statistics,) = analyse([history])
    assert statistics.sample_deviation is None
    assert statistics.slope is None
    assert statistics.deviation == 0


def test_no_history_gives_no_statistics() -> None:
    """An empty batch is an empty answer."""
    assert analyse([]) == ()


def test_unknown_window_is_refused() -> None:
    """Only the windows that are kept can be asked for."""
    with pytest.raises(KeyError):
        statistics_of(0.1, 0.1).window(2)


def test_stability_is_one_for_a_constant_rate_and_low_for_noise() -> None:
    """The share of the mean in mean plus deviation."""
    assert statistics_of(0.1, 0.1, 0.1).stability_score == pytest.approx(1)
    assert statistics_of(0.1, -0.1, 0.1, -0.1).stability_score == 0
    assert statistics_of(0.0, 0.0).stability_score == 0
