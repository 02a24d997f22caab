"""Funding history held between scans, so that a scan reads only what is new since the last."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from services.scanner.funding import MINUTE_MS, Settlements, settlements
from services.scanner.spans import Span, merged, missing

if TYPE_CHECKING:
    from collections.abc import Iterable

Rows = Mapping[str, tuple[Sequence[int], Sequence[float]]]
"""By symbol: settlement times in milliseconds and rates, in any order."""
_NOTHING = settlements((), ())
_PRUNED_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class HeldHistory:
    """What is held of one symbol of a venue; the symbol "" stands for all of them at once.

    `spans` are the times known for it besides those known for all; `rows` its settlements.
    """

    venue: str
    symbol: str
    spans: tuple[Span, ...]
    rows: Settlements

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held: no row, and no time known to have none."""
        return not self.spans and not self.rows.minutes.size


class HistoryStore(Protocol):
    """Where histories are held. Coverage is kept apart from rows: an hour without rows may be
    known.
    """

    def held(self, venue: str) -> tuple[Span, ...]:
        """Return the spans that are known for all symbols of the venue."""
        ...

    def held_by_symbol(self, venue: str) -> Mapping[str, tuple[Span, ...]]:
        """Return the spans that are known besides for single symbols."""
        ...

    def settlements(self, venue: str, symbol: str) -> Settlements:
        """Return what is held of one symbol, sorted by time; empty when nothing is."""
        ...

    async def extend(self, venue: str, symbol: str, span: Span, rows: Rows) -> None:
        """Add rows and note `span` as known, for `symbol` or, when that is empty, for all
        symbols.
        """
        ...

    async def prune(self, venue: str, kept: Span) -> None:
        """Forget everything of a venue outside a span."""
        ...

    def write_soon(self) -> None:
        """Tell that no more is coming for now; what outlives the process need not wait for more."""
        ...


class MemoryHistoryStore:
    """Holds histories for the life of the process."""

    def __init__(self, held: Iterable[HeldHistory] = ()) -> None:
        self._rows: dict[tuple[str, str], Settlements] = {}
        # Rows as they came, joined on the first reading: a page has a few rows of every symbol, and
        # joining arrays for each page would cost pages times symbols.
        self._fresh: dict[tuple[str, str], tuple[list[int], list[float]]] = {}
        self._held: dict[str, tuple[Span, ...]] = {}
        self._held_by_symbol: dict[str, dict[str, tuple[Span, ...]]] = {}
        for each in held:
            self._restore(each)

    def held(self, venue: str) -> tuple[Span, ...]:
        """Return the spans that are known for all symbols of the venue."""
        return self._held.get(venue, ())

    def held_by_symbol(self, venue: str) -> Mapping[str, tuple[Span, ...]]:
        """Return the spans that are known besides for single symbols."""
        return self._held_by_symbol.get(venue, {})

    def settlements(self, venue: str, symbol: str) -> Settlements:
        """Return what is held of one symbol, sorted by time; empty when nothing is."""
        key = (venue, symbol)
        fresh = self._fresh.pop(key, None)
        if fresh is not None:
            rows = settlements(*fresh)
            old = self._rows.get(key)
            self._rows[key] = rows if old is None else _joined(old, rows)
        return self._rows.get(key, _NOTHING)

    def history(self, venue: str, symbol: str) -> HeldHistory:
        """Return rows and own spans of one symbol, or of the symbol "" the spans of all."""
        if not symbol:
            return HeldHistory(venue, "", self.held(venue), _NOTHING)
        spans = self.held_by_symbol(venue).get(symbol, ())
        return HeldHistory(venue, symbol, spans, self.settlements(venue, symbol))

    async def extend(self, venue: str, symbol: str, span: Span, rows: Rows) -> None:
        """Add rows and note `span` as known, for `symbol` or, when that is empty, for all
        symbols.
        """
        for name, (times_ms, rates) in rows.items():
            if times_ms:
                times, values = self._fresh.setdefault((venue, name), ([], []))
                times.extend(times_ms)
                values.extend(rates)
        if symbol:
            spans = self._held_by_symbol.setdefault(venue, {})
            spans[symbol] = merged((*spans.get(symbol, ()), span))
        else:
            self._held[venue] = merged((*self.held(venue), span))

    async def prune(self, venue: str, kept: Span) -> None:
        """Forget everything of a venue outside a span."""
        await self.forget_outside(venue, kept)

    def write_soon(self) -> None:
        """Do nothing: there is nothing to write to."""

    async def forget_outside(self, venue: str, kept: Span) -> set[str]:
        """Forget everything of a venue outside a span; return the symbols of which nothing is left
        or of which the end is gone, and "" when what is known of all is less.

        Of any other symbol rows and own spans began earlier, both alike: what a copy still has of
        that is true.
        """
        names = {symbol for owner, symbol in (*self._rows, *self._fresh) if owner == venue}
        changed: set[str] = set()
        for index, symbol in enumerate(names):
            held = self.settlements(venue, symbol)
            rows = _within(held, kept)
            if int(held.minutes[-1]) * MINUTE_MS >= kept.end_ms:
                changed.add(symbol)
            if rows is None:
                del self._rows[venue, symbol]
            else:
                self._rows[venue, symbol] = rows
            # Once an hour every symbol loses a row: a millisecond of work, then a turn for others.
            if index % _PRUNED_AT_ONCE == _PRUNED_AT_ONCE - 1:
                await asyncio.sleep(0)
        for_all = self.held(venue)
        self._held[venue] = _clipped(for_all, kept)
        # Rows of one symbol may be written without those of the others: a copy of the spans of all
        # that began earlier would vouch for rows that are gone.
        if self._held[venue] != for_all:
            changed.add("")
        by_symbol = self._held_by_symbol.get(venue, {})
        names |= by_symbol.keys()
        left = {symbol: _clipped(spans, kept) for symbol, spans in by_symbol.items()}
        self._held_by_symbol[venue] = {symbol: spans for symbol, spans in left.items() if spans}
        ahead = (symbol for symbol, spans in by_symbol.items() if spans[-1].end_ms > kept.end_ms)
        changed.update(ahead)
        return changed | {symbol for symbol in names if self.history(venue, symbol).is_empty}

    def _restore(self, history: HeldHistory) -> None:
        if not history.symbol:
            self._held[history.venue] = history.spans
            return
        if history.rows.minutes.size:
            self._rows[history.venue, history.symbol] = history.rows
        if history.spans:
            self._held_by_symbol.setdefault(history.venue, {})[history.symbol] = history.spans


def unknown_spans(store: HistoryStore, venue: str, symbol: str, wanted: Span) -> tuple[Span, ...]:
    """Return the parts of `wanted` that are known neither for the symbol nor for all of its
    venue.
    """
    own = store.held_by_symbol(venue).get(symbol, ())
    return missing(wanted, (*store.held(venue), *own))


def _joined(old: Settlements, fresh: Settlements) -> Settlements:
    minutes = np.concatenate((old.minutes, fresh.minutes))
    order = np.argsort(minutes, kind="stable")
    minutes = minutes[order]
    rates = np.concatenate((old.rates, fresh.rates))[order]
    last_of_time = np.append(minutes[1:] != minutes[:-1], True)
    return Settlements(minutes[last_of_time], rates[last_of_time])


def _within(rows: Settlements, kept: Span) -> Settlements | None:
    """Return the rows inside a span, the same object where all are, None where none is."""
    start, end = -(-kept.start_ms // MINUTE_MS), -(-kept.end_ms // MINUTE_MS)
    # Rows are sorted: the ends tell whether any falls out, and one search finds each cut.
    if start <= rows.minutes[0] and rows.minutes[-1] < end:
        return rows
    first, last = (int(cut) for cut in np.searchsorted(rows.minutes, (start, end)))
    if first == last:
        return None
    return Settlements(rows.minutes[first:last], rows.rates[first:last])


def _clipped(spans: tuple[Span, ...], kept: Span) -> tuple[Span, ...]:
    return merged(
        Span(max(span.start_ms, kept.start_ms), min(span.end_ms, kept.end_ms)) for span in spans
    )
