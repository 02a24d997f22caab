"""What scans of a size would ask of each venue, printed without asking any.

`python -m services.scanner.fetch_plan_table --symbols N`, which is what `arb fetch-plan` runs: for
a first scan, one after a settlement and one between settlements the calls to the connector, the
requests they become at the venue and their weight there; requests for history that have an
allowance of their own are counted apart too.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from services.scanner.fetch_plan import PROFILES, FetchPlan, VenueProfile, fetch_plan
from services.scanner.instruments import InstrumentKey, InstrumentKind
from services.scanner.plan import HistoryNeed, known_part, wanted_span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from services.scanner.spans import Span

# Any time at which every interval has just settled will do; the plan depends on no date.
_NOW = datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
_LEGEND = """
calls     to the connector: bulk readings, histories, books and details of the shortlist
requests  of the connector to the venue: a call may need several
weight    of these requests, as the venue counts it against its limit
history   requests for funding history among them that have an allowance of their own
"""
_SCANS = {
    "first": None,
    "after a settlement": timedelta(hours=1),
    "between settlements": timedelta(minutes=5),
}


@dataclass(frozen=True, slots=True)
class PlannedScan:
    """The plan of one venue for one kind of scan."""

    venue: str
    scan: str
    plan: FetchPlan


def planned_scans(
    symbol_count: int, interval_hours: float, shortlist_count: int, history: timedelta
) -> Iterator[PlannedScan]:
    """Yield the plans of all venues, each for a first scan and for two kinds of later ones.

    All symbols may qualify; each venue has one leg of every opportunity of the shortlist.
    """
    for venue, profile in PROFILES.items():
        names = [f"S{index}" for index in range(symbol_count)]
        legs = [InstrumentKey(venue, name, profile.kind) for name in names[:shortlist_count]]
        for scan, age in _SCANS.items():
            need = _need(venue, profile, names, interval_hours, history, age)
            yield PlannedScan(venue, scan, fetch_plan(profile, need, legs))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or one JSON object, and return 0; wrong options exit with 2."""
    options = _parser().parse_args(arguments)
    history = timedelta(days=options.days)
    scans = list(planned_scans(options.symbols, options.interval, options.shortlist, history))
    if options.json:
        sys.stdout.write(json.dumps({"plans": [_plain(each) for each in scans]}) + "\n")
        return 0
    head = f"{'venue':<14} {'scan':<20} {'calls':>6} {'requests':>9} {'weight':>7} {'history':>8}"
    rows = [
        f"{each.venue:<14} {each.scan:<20} {each.plan.call_count:>6} {each.plan.requests:>9}"
        f" {each.plan.weight:>7} {each.plan.history_requests:>8}"
        for each in scans
    ]
    sys.stdout.write("\n".join([head, *rows]) + "\n" + _legend())
    return 0


def _legend() -> str:
    by_symbol = [
        venue
        for venue, profile in PROFILES.items()
        if profile.kind is InstrumentKind.PERPETUAL and not profile.has_bulk_history
    ]
    return (
        f"{_LEGEND}\n{', '.join(by_symbol)}\nhave no funding history in bulk: a call for each "
        "perpetual that qualifies,\nafter each of its settlements.\n"
    )


def _need(
    venue: str,
    profile: VenueProfile,
    names: Sequence[str],
    interval_hours: float,
    history: timedelta,
    age: timedelta | None,
) -> HistoryNeed:
    held: tuple[Span, ...] = ()
    if age is not None:
        last = _NOW - age
        held = (known_part(wanted_span(last, history), last),)
    return HistoryNeed(
        venue=venue,
        wanted=wanted_span(_NOW, history),
        intervals=dict.fromkeys(names, interval_hours),
        needed=names,
        held=held,
        has_bulk=profile.has_bulk_history,
    )


def _plain(scan: PlannedScan) -> dict[str, Any]:
    plan = scan.plan
    return {
        "venue": scan.venue,
        "scan": scan.scan,
        "call_count": plan.call_count,
        "request_count": plan.requests,
        "weight": plan.weight,
        "history_request_count": plan.history_requests,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fetch-plan", description=__doc__)
    parser.add_argument("--symbols", type=int, default=300, help="perpetuals that can qualify")
    parser.add_argument("--interval", type=float, default=4.0, help="their interval in hours")
    parser.add_argument("--shortlist", type=int, default=20, help="legs asked for book and detail")
    parser.add_argument("--days", type=int, default=30, help="days of history")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
