"""The name of a place in a trace, as W3C Trace Context writes it: `traceparent`."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Self

TRACEPARENT: Final = "traceparent"
"""Header of a call, and field of an entry of a long-lived one."""

_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_SAMPLED: Final = 1
_LOW_BITS: Final = (1 << 64) - 1
_LENGTH_OF_00: Final = 55


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One span of one trace that is kept; what is not kept has no context at all."""

    trace_id: int
    span_id: int

    @classmethod
    def named(cls, name: str) -> Self:
        """Return the context that everybody makes of this name, to link to what another made."""
        digest = hashlib.sha256(name.encode()).digest()
        return cls(int.from_bytes(digest[:16]), int.from_bytes(digest[16:24]))

    @property
    def traceparent(self) -> str:
        """The context in the form of version 00."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-01"


def context_of_scan(scan_id: str) -> TraceContext:
    """Return the first span of a scan's trace: the scanner makes it, entries link to it."""
    return TraceContext.named(f"scan:{scan_id}")


def read_traceparent(text: str) -> TraceContext | None:
    """Return the context of a header; None for one that is malformed or not sampled.

    Later versions are read as far as they begin like 00, as the recommendation asks.
    """
    match = _FORM.fullmatch(text)
    if match is None or (text.startswith("00") and len(text) != _LENGTH_OF_00):
        return None
    context = TraceContext(int(match[1], 16), int(match[2], 16))
    if not context.trace_id or not context.span_id or not int(match[3], 16) & _SAMPLED:
        return None
    return context


def is_kept(trace_id: int, ratio: float) -> bool:
    """Tell whether a trace is among the share that is kept: the same answer in every service.

    The rule of OpenTelemetry's TraceIdRatioBased sampler: the low eight bytes are a number drawn.
    """
    return trace_id & _LOW_BITS < ratio * (_LOW_BITS + 1)
