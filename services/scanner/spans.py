"""Arithmetic of time spans in milliseconds: what of a history is held, what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Times from `start_ms` to before `end_ms`, venue time, milliseconds since 1970."""

    start_ms: int
    end_ms: int

    @property
    def is_empty(self) -> bool:
        """Whether nothing lies inside."""
        return self.end_ms <= self.start_ms

    def meets(self, other: Span) -> bool:
        """Tell whether the two spans share an instant."""
        return self.start_ms < other.end_ms and other.start_ms < self.end_ms


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the same times as sorted spans that neither touch nor overlap."""
    result: list[Span] = []
    for span in sorted(span for span in spans if not span.is_empty):
        # Touching spans join too, or every scan would add one for ever.
        if result and span.start_ms <= result[-1].end_ms:
            result[-1] = Span(result[-1].start_ms, max(result[-1].end_ms, span.end_ms))
        else:
            result.append(span)
    return tuple(result)


def missing(wanted: Span, held: Iterable[Span]) -> tuple[Span, ...]:
    """Return the parts of `wanted` that no span of `held` has, in order."""
    gaps: list[Span] = []
    position = wanted.start_ms
    for span in merged(held):
        if span.start_ms >= wanted.end_ms:
            break
        gaps.append(Span(position, min(span.start_ms, wanted.end_ms)))
        position = max(position, span.end_ms)
    gaps.append(Span(position, wanted.end_ms))
    return tuple(gap for gap in gaps if not gap.is_empty)
