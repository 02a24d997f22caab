"""Which histories are trusted: damaged rows, wrong times, markets that seem dead all at once."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.common.clock import SystemClock
from services.scanner.funding import settlements
from services.scanner.history_store import MemoryHistoryStore
from services.scanner.instruments import (
    ExclusionReason,
    InstrumentKey,
    InstrumentKind,
    RateRow,
    SymbolRow,
    TradingStatus,
)
from services.scanner.market import VenueView
from services.scanner.rules import ScanRules
from services.scanner.slices import Slicer
from services.scanner.sound_statistics import Candidate, sound_statistics
from services.scanner.spans import Span
from services.scanner.statistics_memo import StatisticsMemo
from services.scanner.study import VenueStudy, study_venue

HOUR_MS = 3_600_000
NOW = datetime(2026, 3, 20, 1, tzinfo=UTC)
NOW_MINUTE = NOW.timestamp() / 60
KEY = InstrumentKey("p", "AAAUSDT", InstrumentKind.PERPETUAL)
# Rows of a month, the last one an hour ago.
TIMES = [int(NOW.timestamp() * 1000) - (1 + 8 * back) * HOUR_MS for back in reversed(range(100))]
RATES = [0.0001, 0.0002] * 50


def judged(
    times: list[int], rates: list[float], word: float | None = 8.0, now: float = NOW_MINUTE
) -> list[ExclusionReason]:
    """Return the reasons against one history."""
    candidate = Candidate(KEY, settlements(times, rates), word)
    statistics, exclusions = sound_statistics([candidate], now, ScanRules())
    assert bool(statistics) != bool(exclusions)
    return [each.reason for each in exclusions]


def test_sound_history_keeps_the_longest_window_whole() -> None:
    """A settlement that is late does not cost the window of 30 days its first row."""
    late = NOW_MINUTE + 9 * 60
    candidate = Candidate(KEY, settlements(TIMES, RATES), 8.0)
    for now in (NOW_MINUTE, late):
        statistics, exclusions = sound_statistics([candidate], now, ScanRules())
        assert exclusions == []
        assert statistics[KEY].settlement_count == 90
        assert not statistics[KEY].window(30).is_partial


def test_rows_that_stand_still_are_computed_once() -> None:
    """The same object comes back; new rows, or another word for the interval, are computed."""
    memo, rows = StatisticsMemo(), settlements(TIMES, RATES)
    given = [
        Candidate(KEY, rows, 8.0),
        Candidate(KEY, rows, 8.0, predicted_rate=0.0003),
        Candidate(KEY, rows, None),
        Candidate(KEY, settlements(TIMES[50:], RATES[50:]), 8.0),
    ]
    found = [sound_statistics([each], NOW_MINUTE, ScanRules(), memo)[0][KEY] for each in given]
    assert found[1] is found[0]
    assert found[2] is not found[0]
    assert (found[0].settlement_count, found[3].settlement_count) == (90, 50)
    memo.forget_all_but(())
    assert memo.find(KEY, given[3].rows, 8.0) is None


@pytest.mark.parametrize(
    ("hours", "reason"),
    [(31 * 24, ExclusionReason.MARKET_DEAD), (-3, ExclusionReason.SETTLEMENT_AHEAD)],
)
def test_known_figures_are_judged_by_the_present_again(hours: int, reason: ExclusionReason) -> None:
    """What was sound a while ago may have died since, and a clock may have gone wrong."""
    memo, candidate = StatisticsMemo(), Candidate(KEY, settlements(TIMES, RATES), 8.0)
    assert sound_statistics([candidate], NOW_MINUTE, ScanRules(), memo)[0]
    later = sound_statistics([candidate], NOW_MINUTE + hours * 60, ScanRules(), memo)
    assert later == ({}, [*later[1]])
    assert [each.reason for each in later[1]] == [reason]


@pytest.mark.parametrize("rate", [math.nan, math.inf, -math.inf, 1e6, -1.5, 1e300])
def test_rate_that_cannot_be_is_refused_before_it_is_squared(rate: float) -> None:
    """One such row of a month condemns the history, and does no harm to another in the batch."""
    rates = [*RATES[:60], rate, *RATES[61:]]
    assert judged(TIMES, rates) == [ExclusionReason.RATE_IMPLAUSIBLE]
    other = InstrumentKey("p", "BBBUSDT", InstrumentKind.PERPETUAL)
    batch = [
        Candidate(KEY, settlements(TIMES, rates), 8.0),
        Candidate(other, settlements(TIMES, RATES), 8.0),
    ]
    statistics, _ = sound_statistics(batch, NOW_MINUTE, ScanRules())
    assert list(statistics) == [other]
    assert statistics[other].max_rate == 0.0002


def test_impossible_rate_outside_the_history_in_use_is_forgotten() -> None:
    """What is older than the history counts for nothing, good or bad."""
    assert judged(TIMES, [math.nan, *RATES[1:]]) == []


def test_settlement_of_the_future_does_not_end_the_windows() -> None:
    """A row a year ahead is refused by name; one some minutes ahead is a settlement just read."""
    ahead = int((NOW + timedelta(days=365)).timestamp() * 1000)
    assert judged([*TIMES, ahead], [*RATES, 0.01]) == [ExclusionReason.SETTLEMENT_AHEAD]
    assert judged(TIMES, RATES, now=NOW_MINUTE - 90) == []


def test_one_and_two_rows_are_told_apart_from_none() -> None:
    """No row, one row without a word, and too few rows each have their own reason."""
    assert judged([], []) == [ExclusionReason.HISTORY_MISSING]
    assert judged(TIMES[-1:], [0.0001], word=None) == [ExclusionReason.INTERVAL_UNKNOWN]
    assert judged(TIMES[-1:], [0.0001]) == [ExclusionReason.HISTORY_SHORT]
    assert judged(TIMES[-2:], [0.0001] * 2, word=None) == [ExclusionReason.HISTORY_SHORT]


def test_market_whose_interval_was_just_cut_is_alive() -> None:
    """The venue says 1 h from now on; the last settlement, of 8 h, is three hours old."""
    assert judged(TIMES, RATES, word=1.0, now=NOW_MINUTE + 3 * 60) == []
    assert judged(TIMES, RATES, word=1.0, now=NOW_MINUTE + 16 * 60) == [ExclusionReason.MARKET_DEAD]


def test_history_counts_to_the_hour_and_the_coming_rate_with_it() -> None:
    """Of 730 hourly rows 720 make the 30 days; a wild coming rate condemns them."""
    times = [TIMES[-1] - back * HOUR_MS for back in reversed(range(730))]
    candidate = Candidate(KEY, settlements(times, [0.0001] * 730), 1.0)
    statistics, _ = sound_statistics([candidate], NOW_MINUTE, ScanRules())
    assert statistics[KEY].settlement_count == statistics[KEY].covered_hours == 720
    wild = replace(candidate, predicted_rate=0.3)
    statistics, (exclusion,) = sound_statistics([wild], NOW_MINUTE, ScanRules())
    assert (statistics, exclusion.reason) == ({}, ExclusionReason.RATE_IMPLAUSIBLE)


def test_history_that_ended_before_the_window_is_dead() -> None:
    """Rows of two months ago say nothing of today."""
    assert judged(TIMES, RATES, now=NOW_MINUTE + 60 * 24 * 60) == [ExclusionReason.MARKET_DEAD]


async def studied(
    stamp: datetime | None,
    *,
    dead: int,
    alive: int,
    store: MemoryHistoryStore | None = None,
    unread: Collection[str] = (),
    unneeded: Collection[str] = (),
    rate: str = "0.0001",
    hours: int = 8,
) -> VenueStudy:
    """Return the study of a venue with so many markets, the dead ones silent for ten days."""
    names = [f"D{index}USDT" for index in range(dead)] + [f"A{index}USDT" for index in range(alive)]
    view = VenueView(
        venue="p",
        kind=InstrumentKind.PERPETUAL,
        symbols={
            name: SymbolRow(
                name, name[:2], "USDT", TradingStatus.TRADING, False, timedelta(hours=hours)
            )
            for name in names
        },
        tickers={},
        received=NOW,
        rates={name: RateRow(name, Decimal(rate), None, stamp, None) for name in names},
    )
    store = store or MemoryHistoryStore()
    rows = {
        name: (TIMES[:-30], RATES[:-30]) if name.startswith("D") else (TIMES, RATES)
        for name in names
    }
    await store.extend("p", "", Span(TIMES[0], TIMES[-1] + 1), rows)
    return await study_venue(
        view,
        store,
        {},
        unread,
        set(names).difference(unneeded),
        ScanRules(),
        Slicer(SystemClock()),
        StatisticsMemo(),
    )


async def test_one_dead_market_among_many_is_dead() -> None:
    """It is left out with the reason, and nothing is doubted."""
    study = await studied(NOW, dead=2, alive=4)
    assert [each.reason for each in study.exclusions] == [ExclusionReason.MARKET_DEAD] * 2
    assert len(study.statistics) == 4
    assert (study.missing_parts, study.untold) == ([], set())


async def test_markets_that_die_all_at_once_are_a_clock_that_jumped() -> None:
    """A venue whose time jumped is not looked at, and the scan says so: nothing is taken back."""
    study = await studied(NOW + timedelta(days=3), dead=0, alive=4)
    assert study.statistics == {}
    assert len(study.untold) == 4
    assert "its clock or its history is wrong" in study.missing_parts[0]
    back = await studied(NOW - timedelta(days=3), dead=0, alive=4)
    assert {each.reason for each in back.exclusions} == {ExclusionReason.SETTLEMENT_AHEAD}
    assert len(back.untold) == 4


async def test_venue_that_stamps_nothing_is_held_to_our_own_clock() -> None:
    """Its dead markets are dead all the same."""
    study = await studied(None, dead=1, alive=3)
    assert [each.instrument.symbol for each in study.exclusions] == ["D0USDT"]


async def test_half_of_the_markets_may_die() -> None:
    """Only over half is a doubt."""
    study = await studied(NOW, dead=3, alive=3)
    assert (study.missing_parts, study.untold) == ([], set())
    assert study.analysed_count == 6
    assert len((await studied(NOW, dead=4, alive=3)).untold) == 4


async def test_what_was_learnt_of_a_wrong_clock_is_asked_again() -> None:
    """Beyond the last settlement on record nothing counts as known."""
    store = MemoryHistoryStore()
    jumped = NOW + timedelta(days=3)
    await store.extend("p", "", Span(TIMES[0], int(jumped.timestamp() * 1000)), {})
    await studied(jumped, dead=0, alive=4, store=store)
    (known,) = store.held("p")
    assert TIMES[-1] < known.end_ms < TIMES[-1] + HOUR_MS


async def test_only_what_was_asked_for_and_read_is_judged() -> None:
    """A history with a hole is left out by name, one that was not needed without a word."""
    study = await studied(NOW, dead=0, alive=4, unread={"A0USDT"}, unneeded={"A1USDT"})
    assert {key.symbol for key in study.statistics} == {"A2USDT", "A3USDT"}
    (exclusion,) = study.exclusions
    assert exclusion.instrument.symbol == "A0USDT"
    assert exclusion.reason is ExclusionReason.HISTORY_MISSING
    (told,) = (await studied(NOW, dead=0, alive=1, hours=4)).statistics.values()
    assert (told.interval_hours, told.last_covered_hours) == (4, 8)
    wild = await studied(NOW, dead=0, alive=1, rate="0.3")
    assert [each.reason for each in wild.exclusions] == [ExclusionReason.RATE_IMPLAUSIBLE]
