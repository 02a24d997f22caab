"""A scan in words: what it did, what it lacks, why a symbol was left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.tables import instrument, word
from opensqt.market_maker.v1 import scanner_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_NAMED = 5
"""Readings of one venue that failed alike and are named; a broken venue fails hundreds."""

NO_RESULT = (scanner_pb2.SCAN_STATE_FAILED, scanner_pb2.SCAN_STATE_CANCELED)
"""States of a scan that published nothing."""


def scan_summary(scan: scanner_pb2.Scan) -> str:
    """A line on a finished scan with what was left out, then a line for each part it lacks."""
    reasons: dict[str, int] = {}
    for row in scan.excluded_instruments:
        reasons[row.reason] = reasons.get(row.reason, 0) + 1
    left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    seconds = scan.elapsed.seconds + scan.elapsed.nanos / 1e9
    text = (
        f"{scan.perpetual_count} perpetuals ({scan.symbol_count} histories analysed) in "
        f"{seconds:.2f} s with {scan.venue_call_count} venue calls; "
        f"{scan.opportunity_count} opportunities"
    )
    if left_out:
        text += f"; instruments left out: {left_out}"
    return "\n  MISSING ".join([text, *missing_lines(scan.missing_parts)])


def missing_lines(parts: Iterable[str]) -> list[str]:
    """Return what a scan lacks, the readings of a venue that failed alike in one line."""
    alike: dict[tuple[str, str], list[str]] = {}
    for part in parts:
        # The scanner writes `venue: reading: reason`; whatever else stays as it is.
        venue, _, rest = part.partition(": ")
        reading, _, reason = rest.partition(": ")
        key = (venue, reason) if reason else (part, "")
        alike.setdefault(key, []).append(reading)
    return [
        f"{venue}: {_some(readings)}: {reason}" if reason else venue
        for (venue, reason), readings in alike.items()
    ]


def _some(readings: Sequence[str]) -> str:
    rest = len(readings) - MOST_NAMED
    more = f" and {rest} more" if rest > 0 else ""
    return ", ".join(readings[:MOST_NAMED]) + more


def exclusion_lines(scan: scanner_pb2.Scan, symbols: Iterable[str]) -> list[str]:
    """Return why the scan left out instruments of these symbols."""
    wanted = frozenset(symbols)
    return [
        f"{row.instrument.symbol} on {instrument(row.instrument)} is left out: {row.reason}"
        + (f" ({row.detail})" if row.detail else "")
        for row in scan.excluded_instruments
        if row.instrument.symbol in wanted
    ]


def unlisted_lines(scan: scanner_pb2.Scan, symbols: Iterable[str]) -> list[str]:
    """Return what to say of symbols without an opportunity that the scan did not even leave out.

    A scan that lacks parts may have missed them, and says so.
    """
    left_out = {row.instrument.symbol for row in scan.excluded_instruments}
    may_be = "; what the scan lacks may hold it" if scan.missing_parts else ""
    return [
        f"{symbol} is no perpetual that this scan saw: look at its spelling{may_be}"
        for symbol in symbols
        if symbol not in left_out
    ]


def standing_words(
    latest: scanner_pb2.Scan | None, published: scanner_pb2.Scan | None
) -> tuple[bool, str]:
    """Return whether the scanner's last scan is in order, and what is known of it in a line.

    `latest` is the scan started last, `published` the last one that had a result; None: none yet.
    """
    if latest is None:
        # Not an error: a scanner that just started has nothing to show yet.
        return True, "answers; no scan has run yet (run: arb scan)"
    stands = "; nothing is published yet"
    if published is not None:
        stands = (
            f"; what stands is of the scan at {published.start_time.ToJsonString()}: "
            f"{published.opportunity_count} opportunities"
        )
    if latest.state == scanner_pb2.SCAN_STATE_RUNNING:
        return (
            True,
            f"a scan runs: {latest.ended_task_count} of {latest.task_count} readings{stands}",
        )
    if latest.state in NO_RESULT:
        # Someone cancels a scan on purpose; a failed one is a fault.
        wanted = latest.state == scanner_pb2.SCAN_STATE_CANCELED
        return wanted, f"last scan {word(latest, 'state')}{stands}"
    return (
        not latest.missing_parts,
        f"last scan {word(latest, 'state')}: {latest.perpetual_count} perpetuals, "
        f"{latest.opportunity_count} opportunities",
    )
