"""Calls, requests and weight of a scan by venue, cold and warm, for any number of symbols."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.scanner.fetch_plan import PROFILES, FetchPlan, fetch_plan
from services.scanner.instruments import InstrumentKey, InstrumentKind
from services.scanner.plan import (
    HOUR_MS,
    HistoryNeed,
    history_tasks,
    known_part,
    last_settled_part,
    settles_within,
    wanted_span,
)
from services.scanner.spans import Span
from services.scanner.tasks import ReadBook, ReadHistory

NOW = datetime(2026, 3, 20, 4, 30, tzinfo=UTC)
MONTH = timedelta(days=30)
BY_SYMBOL = ("bybit-linear", "okx-swap", "gate-swap", "bitget-swap", "hyperliquid")


def need(
    code: str, count: int, *, hours: float = 4.0, last: datetime | None = None, needed: int = -1
) -> HistoryNeed:
    """Return what a venue of so many perpetuals lacks when it was last read at `last`, or never."""
    names = [f"S{index}USDT" for index in range(count)]
    has_bulk = PROFILES[code].has_bulk_history
    held: tuple[Span, ...] = ()
    if last is not None:
        held = (known_part(wanted_span(last, MONTH), last),)
    return HistoryNeed(
        venue=code,
        wanted=wanted_span(NOW, MONTH),
        intervals=dict.fromkeys(names, hours),
        needed=names if needed < 0 else names[:needed],
        held=held if has_bulk else (),
        held_by_symbol={} if has_bulk else dict.fromkeys(names, held),
        has_bulk=has_bulk,
    )


def shortlist(code: str, count: int) -> list[InstrumentKey]:
    """Return so many legs at a venue."""
    kind = PROFILES[code].kind
    return [InstrumentKey(code, f"S{index}USDT", kind) for index in range(count)]


def plan(code: str, count: int, **options: object) -> FetchPlan:
    """Return the plan of one scan without a shortlist."""
    return fetch_plan(PROFILES[code], need(code, count, **options))  # type: ignore[arg-type]  # passed on


@pytest.mark.parametrize(("count", "calls"), [(300, 61), (600, 183)])
def test_cold_scan_of_binance_reads_settlements_of_all_symbols_a_page(
    count: int, calls: int
) -> None:
    """A thousand rows a request: three settlements of 300 symbols, one of 600."""
    found = plan("binanceusdm", count)
    assert (found.calls[ReadHistory], found.history_requests) == (calls, calls)
    # Tickers 40 and 5, rates 10, fees 20; history has its own allowance of 500 in five minutes.
    assert (found.weight, found.call_count) == (75, calls + 4)


@pytest.mark.parametrize(
    ("code", "requests"),
    [
        ("bybit-linear", 4),
        ("okx-swap", 8),
        ("gate-swap", 1),
        ("bitget-swap", 2),
        ("hyperliquid", 2),
    ],
)
def test_cold_scan_by_symbol_costs_the_pages_of_each(code: str, requests: int) -> None:
    """One call a symbol; the venue's own pages and spans decide how many requests it becomes."""
    found, empty = plan(code, 300), plan(code, 300, needed=0)
    assert found.calls[ReadHistory] == 300
    assert found.requests - empty.requests == 300 * requests
    per_request = PROFILES[code].history_weight
    assert found.weight - empty.weight == 300 * requests * per_request
    # Of these, OKX alone counts history against an allowance of its own.
    assert found.history_requests == (300 * requests if code == "okx-swap" else 0)


@pytest.mark.parametrize("code", ["binanceusdm", *BY_SYMBOL])
def test_warm_scan_between_settlements_asks_for_no_history(code: str) -> None:
    """The plan is the bulk calls, the same for any number of symbols, on every venue."""
    small, large = (plan(code, count, last=NOW - timedelta(minutes=10)) for count in (300, 600))
    assert small == large
    assert (small.calls[ReadHistory], small.call_count) == (0, 4)


def test_warm_scan_after_a_settlement_is_one_page_in_bulk() -> None:
    """300 or 600 symbols that settled since cost one request together."""
    small, large = (
        plan("binanceusdm", count, last=NOW - timedelta(hours=1)) for count in (300, 600)
    )
    assert small == large
    assert small.history_requests == 1


@pytest.mark.parametrize("code", BY_SYMBOL)
def test_settlement_of_a_venue_without_bulk_history_costs_those_that_can_qualify(code: str) -> None:
    """A row that settled can only be had by asking: once a symbol, and only where it may matter."""
    found = plan(code, 600, last=NOW - timedelta(hours=1), needed=25)
    assert found.calls[ReadHistory] == 25
    assert plan(code, 600, last=NOW - timedelta(hours=1), needed=0).calls[ReadHistory] == 0


def test_shortlist_adds_its_books_and_details_only() -> None:
    """Each leg a book, each perpetual its detail; a spot venue has no rates and no history."""
    for code in ("binance", "binanceusdm"):
        lean = plan(code, 300, needed=0)
        legs = shortlist(code, 7)
        full = fetch_plan(PROFILES[code], need(code, 300, needed=0), legs)
        assert full.calls[ReadBook] - lean.calls[ReadBook] == 7
        details = 7 if PROFILES[code].kind is InstrumentKind.PERPETUAL else 0
        assert full.call_count - lean.call_count == 7 + details
    assert plan("binance", 300).call_count == 3


def test_symbols_that_cannot_qualify_cost_nothing() -> None:
    """With none needed a cold scan is the bulk calls alone."""
    assert plan("binanceusdm", 600, needed=0).call_count == 4
    assert plan("okx-swap", 600, needed=0).call_count == 4


def at(hour: float) -> int:
    """Return an hour of the day in milliseconds since 1970."""
    return int(NOW.replace(hour=0, minute=0).timestamp() * 1000 + hour * HOUR_MS)


def test_settlements_fall_on_hours_that_the_interval_divides() -> None:
    """Between 0:15 and 3:30 nothing settles at 4 h or 8 h; an unknown interval may at any hour."""
    gap = Span(at(0.25), at(3.5))
    assert [settles_within(gap, hours) for hours in (1.0, 2.0, 4.0, 8.0, None, 1.5, 0.5)] == [
        True,
        True,
        False,
        False,
        True,
        True,
        True,
    ]
    assert settles_within(Span(at(0), at(0.5)), 8.0)
    assert not settles_within(Span(at(0.25), at(4)), 4.0)
    assert not settles_within(Span(at(0.25), at(0.5)), None)


def test_own_settlement_on_record_ends_the_wait_for_it() -> None:
    """Jitter either way; never past what was asked."""
    asked = Span(at(0), at(4.5))
    for late in (-20_000, 0, 5, 120_000):
        assert last_settled_part(asked, at(4) + late) == asked
        assert last_settled_part(asked, at(3) + late) == Span(at(0), at(3.5))


def test_longer_gap_is_read_once_from_where_it_began() -> None:
    """A perpetual at 8 h that was left out at two hours is asked once, for all of them."""
    last = NOW - timedelta(hours=4, minutes=10)
    lacking = need("gate-swap", 1, hours=8.0, last=last)
    assert history_tasks(lacking) == ()
    later = replace(lacking, wanted=wanted_span(NOW + timedelta(hours=4), MONTH))
    (task,) = history_tasks(later)
    assert (task.span.start_ms, task.span.end_ms) == (at(0) + 5 * 60_000, at(8.5))


def test_newcomer_is_read_by_itself_and_the_others_in_bulk() -> None:
    """One symbol that never qualified before does not make the whole venue be read again."""
    last = NOW - timedelta(hours=5)
    known = (known_part(wanted_span(last, MONTH), last),)
    lacking = need("binanceusdm", 300)
    held = {symbol: known for symbol in lacking.needed if symbol != "S7USDT"}
    bulk, single = history_tasks(replace(lacking, held_by_symbol=held))
    assert (bulk.symbol, single.symbol) == ("", "S7USDT")
    assert bulk.span == Span(known[0].end_ms, lacking.wanted.end_ms)
    assert single.span == Span(lacking.wanted.start_ms, known[0].end_ms)
