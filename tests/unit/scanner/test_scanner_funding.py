"""Rows of history into intervals: order, jitter, repeats, holes, changes, the venue's word."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pytest

from services.scanner.funding import (
    FundingHistory,
    funding_history,
    recent,
    settlements,
)

HOUR_MS = 3_600_000
START = 492_000 * HOUR_MS


def at(*hours: float) -> list[int]:
    """Return instants some hours after the start."""
    return [START + int(hour * HOUR_MS) for hour in hours]


def made(times: list[int], word: float | None = None) -> FundingHistory:
    """Return the history of rates 0, 1, 2, ... at given instants."""
    rows = settlements(times, [float(index) for index in range(len(times))])
    history = funding_history(rows, word)
    assert history is not None
    return history


def test_each_row_covers_the_spacing_to_its_predecessor() -> None:
    """Hours follow the rows; the first is given the spacing after it."""
    history = made(at(0, 8, 16, 20, 24))
    assert history.hours.tolist() == [8, 8, 8, 4, 4]
    assert history.interval_hours == 4


@pytest.mark.parametrize("between", [2, 3, 6])
def test_odd_spacing_at_a_change_of_interval_is_kept(between: int) -> None:
    """A spacing of 2, 3 or 6 h where the interval changes is what the row covered."""
    before, after = (8, 4) if between == 6 else (4, 1)
    times = at(0, before, 2 * before, 2 * before + between)
    times += [times[-1] + step * after * HOUR_MS for step in (1, 2)]
    history = made(times)
    assert history.hours.tolist() == [before, before, before, between, after, after]
    assert history.missing_rows.sum() == 0


def test_jitter_newest_first_and_repeats_change_nothing() -> None:
    """Milliseconds of jitter, reversed order and repeated rows give the same history."""
    clean = made(at(0, 8, 16, 24))
    times = [time + jitter for time, jitter in zip(at(0, 8, 16, 24), (9, 3, 0, 7), strict=True)]
    rows = settlements([*reversed(times), times[1] - 2], [3.0, 2.0, 1.0, 0.0, 1.0])
    history = funding_history(rows, None)
    assert history is not None
    assert np.array_equal(history.minutes, clean.minutes)
    assert np.array_equal(history.rates, clean.rates)
    assert np.array_equal(history.hours, clean.hours)


def test_of_repeated_rows_the_last_told_wins() -> None:
    """A corrected row replaces the first telling."""
    rows = settlements(at(0, 8, 8), [1.0, 2.0, 5.0])
    assert rows.rates.tolist() == [1.0, 5.0]


def test_missing_row_lowers_coverage_instead_of_the_rate() -> None:
    """A hole between rows of one interval is not taken for a longer interval."""
    history = made(at(0, 4, 8, 16, 20, 24))
    assert history.hours.tolist() == [4, 4, 4, 4, 4, 4]
    assert history.missing_rows.sum() == 1


@pytest.mark.parametrize(
    ("hours", "covered", "missing"),
    [
        ((0, 240, 248, 256), [8, 8, 8, 8], [0, 29, 0, 0]),
        ((0, 8, 16, 256, 264), [8, 8, 8, 8, 8], [0, 0, 0, 29, 0]),
        ((0, 4, 8, 108, 208, 216, 224), [4, 4, 4, 8, 8, 8, 8], [0, 0, 0, 11, 11, 0, 0]),
    ],
)
def test_no_row_covers_more_than_the_longest_interval(
    hours: tuple[int, ...], covered: list[int], missing: list[int]
) -> None:
    """Days without a row are holes wherever they stand, also at the start and side by side."""
    history = made(at(*hours), 8.0)
    assert history.hours.tolist() == covered
    assert history.missing_rows.tolist() == missing


def test_repeats_with_seconds_of_jitter_are_one_settlement() -> None:
    """Half a minute early or late, around the full hour, is the settlement of that hour."""
    late = [time + 29_900 for time in at(0, 8, 16)]
    later = [time + 30_100 for time in at(0, 8, 16)]
    early = [time - 60_000 for time in at(0, 8, 16)]
    rows = settlements([*late, *later, *early], [1.0] * 9)
    assert rows.minutes.tolist() == [time // 60_000 for time in at(0, 8, 16)]


def test_off_hour_settlements_keep_their_minute() -> None:
    """A settlement at half past is not moved to the hour."""
    early, late = (time - 3 for time in at(0.5, 1.5)), (time + 9 for time in at(0.5, 1.5))
    rows = settlements([*early, *late], [1.0, 2.0, 1.0, 2.0])
    assert rows.minutes.tolist() == [time // 60_000 for time in at(0.5, 1.5)]


def test_negative_zero_is_zero() -> None:
    """A rate of -0.0 has no sign."""
    assert str(settlements(at(0), [-0.0]).rates.tolist()) == "[0.0]"


def test_wide_last_spacing_is_a_hole_only_if_the_venue_says_so() -> None:
    """Without the venue's word the last spacing is the interval now; with it, a missing row."""
    times = at(0, 4, 8, 16)
    assert made(times).hours.tolist() == [4, 4, 4, 8]
    assert made(times).interval_hours == 8
    told = made(times, 4.0)
    assert (told.hours.tolist(), told.interval_hours, told.missing_rows.tolist()) == (
        [4] * 4,
        4,
        [0, 0, 0, 1],
    )


@pytest.mark.parametrize(
    ("spacings", "word", "missing"),
    [
        # Two rows missing side by side, three of four, at the end; wide ones of several widths.
        ((1, 1, 2, 2, 1), 1.0, 2),
        ((1, 2, 3, 1), 1.0, 3),
        ((1, 2, 2), 1.0, 2),
        ((4, 8, 8, 8, 4), 4.0, 3),
        ((8, 16, 16, 8), 8.0, 2),
        ((8, 240, 16, 8), 8.0, 30),
        # Longer than a day at times of its own, it was the interval; so it is at the very start.
        ((4, 8, 8, 8, 8, 4), 4.0, 0),
        ((2, 2, 1, 1), 1.0, 0),
        # No multiples of the interval now, and narrower ones.
        ((2, 3, 3, 2), 2.0, 0),
        ((8, 4, 4, 8), 8.0, 0),
        ((4, 1, 1, 1, 4, 8, 8), 8.0, 0),
        # Nobody told: it may have been two hours for a while.
        ((1, 1, 2, 2, 1), None, 0),
    ],
)
def test_holes_side_by_side_are_known_by_the_venue_word(
    spacings: tuple[int, ...], word: float | None, missing: int
) -> None:
    """Rows that are missing one after the other lower the coverage, where the interval is told."""
    history = made(at(0, *accumulate(spacings)), word)
    assert history.missing_rows.sum() == missing
    covered = [word] * len(spacings) if missing else list(spacings)
    assert history.hours.tolist()[1:] == covered


def test_venue_word_for_the_interval_now_wins_over_spacing() -> None:
    """After a change that no row shows yet, the venue's word is the interval now."""
    history = made(at(0, 8, 16), 4.0)
    assert history.interval_hours == 4
    assert history.hours.tolist() == [8, 8, 8]


@pytest.mark.parametrize(
    ("hours", "word"), [((), 8.0), ((0,), None), ((0, 30), None), ((0, 8), 48.0)]
)
def test_unknown_interval_is_not_taken_for_eight_hours(
    hours: tuple[int, ...], word: float | None
) -> None:
    """Without rows, with one row, with days between rows or a wild word there is no history."""
    rows = settlements(at(*hours), [0.0] * len(hours))
    assert funding_history(rows, word) is None


def test_single_row_stands_on_the_venue_word() -> None:
    """One settlement is a history when the venue tells the interval."""
    assert made(at(0), 4.0).hours.tolist() == [4]
    assert made(at(0), 24.0).interval_hours == 24


def test_recent_keeps_hours_known_from_the_row_before() -> None:
    """Cutting a history keeps what each kept row covered."""
    history = made(at(0, 8, 16, 20))
    kept = recent(history, int(history.minutes[1]))
    assert kept is not None
    assert kept.hours.tolist() == [8, 4]
    assert kept.missing_rows.tolist() == [0, 0]
    assert recent(history, int(history.minutes[-1])) is None
