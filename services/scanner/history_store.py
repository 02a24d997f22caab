"""Funding history held between scans, so that a scan reads only what is new since the last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from services.scanner.funding import MINUTE_MS, Settlements, settlements
from services.scanner.spans import Span, merged, missing

Rows = Mapping[str, tuple[Sequence[int], Sequence[float]]]
"""By symbol: settlement times in milliseconds and rates, in any order."""


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

    async def prune(self, venue: str, before_ms: int) -> None:
        """Forget everything before an instant."""
        ...


class MemoryHistoryStore:
    """Holds histories for the life of the process."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Settlements] = {}
        # Rows as they came, joined on the first reading: a page has a few rows of every symbol, and
        # joining arrays for each page would cost pages times symbols.
        self._fresh: dict[tuple[str, str], tuple[list[int], list[float]]] = {}
        self._held: dict[str, tuple[Span, ...]] = {}
        self._held_by_symbol: dict[str, dict[str, tuple[Span, ...]]] = {}

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
        return self._rows.get(key) or settlements((), ())

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

    async def prune(self, venue: str, before_ms: int) -> None:
        """Forget everything before an instant."""
        bound = before_ms // MINUTE_MS
        for key, rows in list(self._rows.items()):
            if key[0] != venue or rows.minutes[0] >= bound:
                continue
            # Rows are sorted, so one search finds the cut.
            first = int(np.searchsorted(rows.minutes, bound))
            if first == rows.minutes.size:
                del self._rows[key]
            else:
                self._rows[key] = Settlements(rows.minutes[first:], rows.rates[first:])
        self._held[venue] = _since(self.held(venue), before_ms)
        by_symbol = self._held_by_symbol.get(venue, {})
        for symbol, spans in by_symbol.items():
            by_symbol[symbol] = _since(spans, before_ms)


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


def _since(spans: tuple[Span, ...], start_ms: int) -> tuple[Span, ...]:
    return merged(Span(max(span.start_ms, start_ms), span.end_ms) for span in spans)
