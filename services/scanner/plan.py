"""Which calls a scan makes: bulk first, history in bulk where that is fewer calls, else by symbol.

Pure: the plan for any number of symbols, cold or warm, can be counted without a venue.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from services.scanner.instruments import InstrumentKind
from services.scanner.spans import Span, merged, missing
from services.scanner.tasks import (
    ReadFees,
    ReadHistory,
    ReadRates,
    ReadSymbols,
    ReadTickers,
    VenueTask,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

HOUR_MS = 3_600_000
# Spans are cut half-way between hours, so that no settlement with its jitter lies on a cut.
_HALF_HOUR_MS = HOUR_MS // 2
# The earliest row wanted needs its predecessor to know the hours it covered.
_EARLIER_HOURS = 8
# The commonest interval, for sizing only where none is known: a wrong guess costs a page, not a
# row.
_UNKNOWN_INTERVAL_HOURS = 4
# A settlement appears on record some time after it is due; later than this before now, none is
# missing.
_SETTLE_DELAY_MS = 15 * 60_000


@dataclass(frozen=True, slots=True)
class HistoryNeed:
    """What history of one venue is wanted and held.

    `intervals` has the funding interval in hours of every perpetual the venue lists (None:
    unknown), `needed` the symbols that can still qualify, `held` what is held of all symbols at
    once, and `held_by_symbol` what is held besides of single ones.
    """

    venue: str
    wanted: Span
    intervals: Mapping[str, float | None]
    needed: Collection[str]
    held: tuple[Span, ...] = ()
    held_by_symbol: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)
    has_bulk: bool = True
    page_size: int = 1000


def bulk_tasks(venue: str, kind: InstrumentKind) -> tuple[VenueTask, ...]:
    """Return the calls that bring all instruments of a venue at once."""
    common: tuple[VenueTask, ...] = (ReadSymbols(venue), ReadTickers(venue), ReadFees(venue))
    return (*common, ReadRates(venue)) if kind is InstrumentKind.PERPETUAL else common


def wanted_span(venue_now: datetime, history: timedelta) -> Span:
    """Return the span of history a scan stands on: whole hours, up to and with the present one.

    Settlements fall on full hours, so none lies between the half hour after the present one and
    now.
    """
    now_ms = int(venue_now.timestamp()) * 1000
    end = now_ms // HOUR_MS * HOUR_MS + _HALF_HOUR_MS
    start = now_ms - int(history / timedelta(hours=1)) * HOUR_MS - _EARLIER_HOURS * HOUR_MS
    return Span(start // HOUR_MS * HOUR_MS - _HALF_HOUR_MS, end)


def known_part(span: Span, venue_now: datetime) -> Span:
    """Return the part of a span that a reading made at `venue_now` has settled for good."""
    return Span(
        span.start_ms, min(span.end_ms, int(venue_now.timestamp()) * 1000 - _SETTLE_DELAY_MS)
    )


def last_settled_part(span: Span, last_ms: int) -> Span:
    """Return the part of a span that one symbol's own settlement at `last_ms` has settled.

    Once it is on record there is nothing to wait for before the next full hour.
    """
    settled = (last_ms + _HALF_HOUR_MS) // HOUR_MS * HOUR_MS + _HALF_HOUR_MS
    return Span(span.start_ms, min(span.end_ms, settled))


def settles_within(span: Span, interval_hours: float | None) -> bool:
    """Tell whether a perpetual of that interval may have a settlement in a span.

    Intervals divide the day from midnight UTC on every venue; of an unknown one, or one that is no
    whole number of hours, any full hour may be one.
    """
    first = -(-span.start_ms // HOUR_MS)
    if interval_hours and interval_hours >= 1 and interval_hours % 1 == 0:
        step = int(interval_hours)
        first = -(-first // step) * step
    return first * HOUR_MS < span.end_ms


def history_tasks(need: HistoryNeed) -> tuple[ReadHistory, ...]:
    """Return the readings that fill what is missing, by the way that takes fewest calls: in bulk,
    by symbol, or the latest part in bulk and what some lack before it by symbol.
    """
    gaps = _gaps(need)
    by_symbol = _by_symbol(need, gaps)
    # Nothing that can qualify is missing: then not even a bulk call is worth it.
    if not need.has_bulk or not by_symbol:
        return by_symbol
    in_bulk = _in_bulk(need, merged(gap for found in gaps.values() for gap in found))
    tail = Span(_commonest_start(gaps), need.wanted.end_ms)
    before = {symbol: _unfilled(need, symbol, found, tail) for symbol, found in gaps.items()}
    mixed = (*_in_bulk(need, (tail,)), *_by_symbol(need, before))
    # The first of equals: what comes in bulk is known of symbols that may qualify tomorrow, too.
    return min(in_bulk, mixed, by_symbol, key=lambda tasks: _call_count(need, tasks))


def _gaps(need: HistoryNeed) -> dict[str, tuple[Span, ...]]:
    """Return what is missing of each needed symbol, without gaps in which it settles nothing."""
    found: dict[str, tuple[Span, ...]] = {}
    for symbol in sorted(need.needed):
        held = (*need.held, *need.held_by_symbol.get(symbol, ()))
        interval = need.intervals.get(symbol)
        gaps = missing(need.wanted, held)
        found[symbol] = tuple(gap for gap in gaps if settles_within(gap, interval))
    return found


def _commonest_start(gaps: Mapping[str, tuple[Span, ...]]) -> int:
    return Counter(found[-1].start_ms for found in gaps.values() if found).most_common(1)[0][0]


def _unfilled(need: HistoryNeed, symbol: str, gaps: Iterable[Span], tail: Span) -> tuple[Span, ...]:
    interval = need.intervals.get(symbol)
    parts = (part for gap in gaps for part in missing(gap, (tail,)))
    return tuple(part for part in parts if settles_within(part, interval))


def _by_symbol(need: HistoryNeed, gaps: Mapping[str, tuple[Span, ...]]) -> tuple[ReadHistory, ...]:
    # One reading from the first gap on: gaps in the middle are rare, a call each is not worth it.
    return tuple(
        ReadHistory(need.venue, symbol, Span(found[0].start_ms, found[-1].end_ms))
        for symbol, found in gaps.items()
        if found
    )


def _call_count(need: HistoryNeed, tasks: Iterable[ReadHistory]) -> int:
    """Return the calls of readings with their pages; those in bulk are a page each."""
    return sum(_pages(need, task) if task.symbol else 1 for task in tasks)


def _pages(need: HistoryNeed, task: ReadHistory) -> int:
    hours = (task.span.end_ms - task.span.start_ms) / HOUR_MS
    interval = need.intervals.get(task.symbol) or _UNKNOWN_INTERVAL_HOURS
    return max(1, -int(-hours / interval // need.page_size))


def _in_bulk(need: HistoryNeed, gaps: Iterable[Span]) -> tuple[ReadHistory, ...]:
    counts = Counter(hours or _UNKNOWN_INTERVAL_HOURS for hours in need.intervals.values())
    return tuple(
        ReadHistory(need.venue, "", span)
        for gap in gaps
        for span in _slices(gap, counts, need.page_size)
    )


def _slices(gap: Span, counts: Mapping[float, int], page_size: int) -> list[Span]:
    """Cut a span into spans of at most a page of expected rows; one settlement is never cut."""
    slices: list[Span] = []
    start, rows = gap.start_ms, 0
    hour = -(-gap.start_ms // HOUR_MS)
    while hour * HOUR_MS < gap.end_ms:
        # Intervals divide the day from midnight UTC on every venue, so the hour tells who settles.
        settling = sum(count for interval, count in counts.items() if hour % interval == 0)
        cut = hour * HOUR_MS - _HALF_HOUR_MS
        # A settlement is never split: half of it would look like a hole if the other half failed.
        if rows and rows + settling > page_size and cut > start:
            slices.append(Span(start, cut))
            start, rows = cut, 0
        rows += settling
        hour += 1
    slices.append(Span(start, gap.end_ms))
    return slices
