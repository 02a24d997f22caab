"""The fetch plan, counted without a venue; spans of history held and missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.scanner.instruments import InstrumentKind
from services.scanner.plan import (
    HOUR_MS,
    HistoryNeed,
    bulk_tasks,
    history_tasks,
    known_part,
    wanted_span,
)
from services.scanner.spans import Span, merged, missing
from services.scanner.tasks import ReadFees, ReadRates, ReadSymbols, ReadTickers, describe

NOW = datetime(2026, 3, 20, 3, 30, tzinfo=UTC)
MONTH = timedelta(days=30)
WANTED = wanted_span(NOW, MONTH)


def need(
    count: int, *, held: tuple[Span, ...] = (), has_bulk: bool = True, needed: int = -1
) -> HistoryNeed:
    """Return what a venue of `count` perpetuals at 4 h needs."""
    names = [f"S{index}USDT" for index in range(count)]
    return HistoryNeed(
        venue="perpy",
        wanted=WANTED,
        intervals=dict.fromkeys(names, 4.0),
        needed=names if needed < 0 else names[:needed],
        held=held,
        has_bulk=has_bulk,
    )


def test_bulk_calls_do_not_depend_on_the_number_of_symbols() -> None:
    """One call each for symbols, tickers, fees and rates."""
    assert {type(task) for task in bulk_tasks("p", InstrumentKind.PERPETUAL)} == {
        ReadSymbols,
        ReadTickers,
        ReadFees,
        ReadRates,
    }
    assert ReadRates("s") not in bulk_tasks("s", InstrumentKind.SPOT)


def test_cold_plan_reads_history_in_bulk_when_that_is_fewer_calls() -> None:
    """300 symbols at 4 h pay 300 rows a settlement: three settlements a call, 61 calls, not 300."""
    tasks = history_tasks(need(300))
    assert {task.symbol for task in tasks} == {""}
    assert len(tasks) == 61
    assert merged(task.span for task in tasks) == (WANTED,)


def test_few_qualifying_symbols_are_read_one_by_one() -> None:
    """When two of 300 can qualify, two calls are made."""
    tasks = history_tasks(need(300, needed=2))
    assert [task.symbol for task in tasks] == ["S0USDT", "S1USDT"]
    assert history_tasks(need(300, needed=0)) == ()


def test_venue_without_bulk_history_costs_a_call_a_symbol() -> None:
    """Nothing else can be done, and each call spans all that is missing."""
    tasks = history_tasks(need(40, has_bulk=False))
    assert len(tasks) == 40
    assert {task.span for task in tasks} == {WANTED}


def test_warm_plan_is_one_call_for_any_number_of_symbols() -> None:
    """With all but the last hours held, 300 and 600 symbols cost the same."""
    held = known_part(WANTED, NOW - timedelta(hours=4))
    for count in (300, 600):
        (task,) = history_tasks(need(count, held=(held,)))
        assert (task.symbol, task.span) == ("", Span(held.end_ms, WANTED.end_ms))


def test_failed_slice_is_asked_again_and_nothing_else() -> None:
    """A hole in what is held is filled by itself."""
    hole = Span(WANTED.start_ms + 100 * HOUR_MS, WANTED.start_ms + 106 * HOUR_MS)
    held = (Span(WANTED.start_ms, hole.start_ms), Span(hole.end_ms, WANTED.end_ms))
    (task,) = history_tasks(need(300, held=held))
    assert task.span == hole


def test_two_holes_of_a_symbol_are_one_call() -> None:
    """What is held between them is read again: holes in the middle are rare."""
    middle = Span(WANTED.start_ms + 100 * HOUR_MS, WANTED.end_ms - 100 * HOUR_MS)
    (task,) = history_tasks(need(1, held=(middle,), has_bulk=False))
    assert task.span == WANTED
    assert middle.meets(WANTED)
    after = Span(middle.end_ms, WANTED.end_ms)
    assert not middle.meets(after)
    assert not after.meets(middle)


def test_last_page_counts_when_ways_are_compared() -> None:
    """728 rows at 1 h are eight pages of a hundred: ten symbols are 80 calls, 73 in bulk."""
    names = [f"S{index}USDT" for index in range(10)]
    hourly = HistoryNeed("perpy", WANTED, dict.fromkeys(names, 1.0), names, page_size=100)
    tasks = history_tasks(hourly)
    assert {task.symbol for task in tasks} == {""}
    assert len(tasks) == 73


def test_slices_are_cut_between_settlements() -> None:
    """No cut lies within half an hour of a full hour, whatever the jitter of the rows."""
    for task in history_tasks(need(700)):
        assert task.span.start_ms % HOUR_MS == HOUR_MS // 2


def test_what_is_not_settled_yet_is_not_taken_as_known() -> None:
    """Just before now a settlement may still appear; the next scan asks again."""
    known = known_part(WANTED, NOW)
    assert known.end_ms == int((NOW - timedelta(minutes=15)).timestamp() * 1000)
    assert known_part(WANTED, NOW + timedelta(hours=2)) == WANTED


def test_tasks_describe_themselves() -> None:
    """People read which venue, what and which symbol."""
    (task, *_) = history_tasks(need(3, has_bulk=False))
    assert describe(task) == "perpy: funding history of S0USDT"
    assert describe(ReadTickers("p")) == "p: tickers"


spans = st.builds(
    lambda start, length: Span(start, start + length), st.integers(0, 60), st.integers(0, 12)
)


@given(st.lists(spans, max_size=8), spans)
def test_missing_and_held_make_up_what_is_wanted(held: list[Span], wanted: Span) -> None:
    """Every instant wanted is either held or missing, never both."""
    gaps = missing(wanted, held)
    for instant in range(wanted.start_ms, wanted.end_ms):
        is_held = any(span.start_ms <= instant < span.end_ms for span in held)
        is_missing = any(gap.start_ms <= instant < gap.end_ms for gap in gaps)
        assert is_held != is_missing
    assert all(not gap.is_empty for gap in gaps)
    assert all(wanted.start_ms <= gap.start_ms and gap.end_ms <= wanted.end_ms for gap in gaps)


@given(st.lists(spans, max_size=8))
def test_merged_spans_are_apart_and_cover_the_same(given_spans: list[Span]) -> None:
    """Merging neither adds nor loses an instant and leaves gaps between spans."""
    result = merged(given_spans)
    assert {i for s in result for i in range(s.start_ms, s.end_ms)} == {
        i for s in given_spans for i in range(s.start_ms, s.end_ms)
    }
    assert all(a.end_ms < b.start_ms for a, b in pairwise(result))
