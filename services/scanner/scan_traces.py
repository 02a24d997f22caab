"""The trace of a scan: one span for all of it, one for what it published.

Entries link to the scan that found their opportunity. What a scan reads is no span: it is thousands
of calls, and the metrics count them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from services.common.trace_context import context_of_scan
from services.common.tracing import NULL_TRACER
from services.scanner.progress import ScanState

if TYPE_CHECKING:
    from services.common.tracing import Span, Tracer
    from services.scanner.findings import Findings
    from services.scanner.progress import ScanRecord

MOST_NAMED: Final = 100
"""Opportunities a span names, the best first."""

_GOOD: Final = (ScanState.SUCCEEDED, ScanState.PARTIAL)


class ScanTraces:
    """Makes the spans of scans; without a tracer none."""

    def __init__(self, tracer: Tracer = NULL_TRACER) -> None:
        self._tracer = tracer

    def begin(self, scan_id: str) -> Span | None:
        """Begin the trace of a scan; None where it is not kept."""
        return self._tracer.begin("scan", context=context_of_scan(scan_id))

    def published(self, span: Span | None, record: ScanRecord, findings: Findings) -> None:
        """Note what a scan has just published, by opportunity id; nothing of a blind one."""
        if span is None or findings.is_blind:
            return
        ranked = sorted(findings.opportunities, key=lambda each: each.rank_key)
        child = self._tracer.child(span, "publication")
        child.facts["scan_id"] = record.scan_id
        child.facts["opportunity_ids"] = tuple(each.opportunity_id for each in ranked[:MOST_NAMED])
        child.end()

    def end(self, span: Span | None, record: ScanRecord) -> None:
        """End the trace of a scan."""
        if span is None:
            return
        span.facts |= {
            "scan_id": record.scan_id,
            "state": record.state.value,
            "symbols": record.symbol_count,
            "opportunities": record.opportunity_count,
            "venue_calls": record.venue_call_count,
        }
        span.end("" if record.state in _GOOD else record.state.name)
