"""What a scan costs: cold and warm against its floor, at several sizes, from one run.

Venues are simulators with 50 ms response time and their own rate limits; connectors and scanner are
processes as they are shipped, with default settings. Ends with code 1 when a bound is broken. Run
it with `make bench-scanner` on a machine that does nothing else.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.report import Report
from benchmarks.scan_floor import Floor, floor_of, venue_of
from benchmarks.scan_rivals import listed_perpetuals, scan_in_sequence, scan_with_new_pool
from benchmarks.scan_stage import BINANCE, THREE_VENUES, ScanFigures, ScanStage
from benchmarks.whole_run import run_whole
from services.scanner.analytics import analyse
from services.scanner.funding import funding_history, settlements

if TYPE_CHECKING:
    from collections.abc import Mapping

_COLD_LIMIT: Final = 1.25
_WARM_LIMIT: Final = 1.5
_WARM_SCANS: Final = 3
_ANALYTICS_LIMIT_MS: Final = 100.0
# Of what is listed a quarter has no liquid twin or has ended; this many more make it whole. With
# two venues of perpetuals these are twins, and only what has ended is missing.
_MORE_LISTED: Final = 1.35
_MORE_LISTED_TWICE: Final = 1.015
# Every perpetual with a twin is read, whatever it earns: a scan of 300 symbols is to be one of 300.
# What streams bring between scans would be counted as the scans' own.
_OPTIONS: Final[dict[str, Any]] = {"min_net_apr": -1, "live": {"count": 0}}
_HEAD: Final = (
    f"  {'scan':<26} {'s':>7} {'floor':>7} {'ratio':>6} {'symbols':>8} {'venue calls':>12}"
    f" {'cpu scanner':>12} {'connectors':>11} {'venues':>7} {'MiB':>6}"
)


@dataclass(frozen=True, slots=True)
class Size:
    """How many perpetuals each part is about; with three venues two of them share those."""

    plain: tuple[int, ...]
    three_venues: int
    compared: int


@dataclass(frozen=True, slots=True)
class Pair:
    """A cold scan of one size, and the middle one of the warm scans after it."""

    cold: ScanFigures
    warm: ScanFigures


async def measure(report: Report, folder: Path, size: Size) -> None:
    """Run everything and fill the report."""
    report.lines += ["", "scans against their floor", _HEAD]
    pairs: dict[int, Pair] = {}
    for count in size.plain:
        pairs[count] = await _scan_pair(folder, count, BINANCE)
        _add_pair(report, f"{count}", pairs[count])
    wide = await _scan_pair(folder, size.three_venues // 2, THREE_VENUES)
    _add_pair(report, f"{size.three_venues}_three_venues", wide)
    _add_growth(report, pairs, wide)
    await _add_rivals(report, folder, size.compared, pairs[size.plain[0]].cold)
    _add_analytics(report)


async def _scan_pair(folder: Path, count: int, venues: Mapping[str, str], **options: Any) -> Pair:
    more = _MORE_LISTED if venues is BINANCE else _MORE_LISTED_TWICE
    async with (
        ScanStage(folder, round(count * more), venues) as stage,
        stage.scanner(**_OPTIONS, **options) as scanner,
    ):
        cold = await scanner.scan()
        warm = [await scanner.scan() for _ in range(_WARM_SCANS)]
    return Pair(cold, sorted(warm, key=lambda each: each.seconds)[_WARM_SCANS // 2])


def _add_pair(report: Report, name: str, pair: Pair) -> None:
    for kind, scan, limit in (("cold", pair.cold, _COLD_LIMIT), ("warm", pair.warm, _WARM_LIMIT)):
        floor = floor_of(scan.answers)
        key = f"{kind}_{name}"
        _add_scan(report, key, scan, floor)
        ratio = scan.seconds / floor.seconds
        report.figure(f"{key}_ratio", f"{key}: to its floor", ratio, limit)
    # Minutes pass until the table is whole; a run that is broken off has told what it knew.
    sys.stderr.write("\n".join([*report.lines[-6:], ""]))


def _add_scan(report: Report, key: str, scan: ScanFigures, floor: Floor) -> None:
    calls = sum(scan.venue_calls.values())
    report.lines.append(
        f"  {key:<26} {scan.seconds:>7.2f} {floor.seconds:>7.2f}"
        f" {scan.seconds / floor.seconds:>6.2f} {scan.symbols:>8} {calls:>12}"
        f" {scan.scanner_cpu:>12.2f} {scan.connector_cpu:>11.2f} {scan.venue_cpu:>7.2f}"
        f" {scan.scanner_bytes / 2**20:>6.0f}"
    )
    by_venue = Counter(venue_of(answer.path) for answer in scan.answers)
    told = ", ".join(f"{venue} {count}" for venue, count in sorted(by_venue.items()))
    report.lines.append(
        f"    floor: calls {floor.calls:.2f} s, weight {floor.weight:.2f} s,"
        f" parsing {floor.parsing:.2f} s; calls to connectors {scan.connector_calls};"
        f" requests: {told}"
    )
    report.figures |= {
        f"{key}_seconds": round(scan.seconds, 3),
        f"{key}_floor_seconds": round(floor.seconds, 3),
        f"{key}_venue_calls": calls,
        f"{key}_scanner_cpu_seconds": round(scan.scanner_cpu, 2),
        f"{key}_connector_cpu_seconds": round(scan.connector_cpu, 2),
        f"{key}_scanner_mib": round(scan.scanner_bytes / 2**20, 1),
    }


def _add_growth(report: Report, pairs: Mapping[int, Pair], wide: Pair) -> None:
    """The cost of a symbol at every size, and the calls of a warm scan."""
    report.lines += [
        "",
        f"  {'symbols':>8} {'cold ms each':>13} {'cpu ms each, cold':>18} {'warm':>8}"
        f" {'warm ms each':>13} {'warm venue calls':>17}",
    ]
    for pair in (*pairs.values(), wide):
        cold, warm = pair.cold, pair.warm
        report.lines.append(
            f"  {cold.symbols:>8} {cold.seconds / cold.symbols * 1000:>13.2f}"
            f" {_cpu_ms(cold):>18.2f} {_cpu_ms(warm):>8.2f}"
            f" {warm.seconds / warm.symbols * 1000:>13.2f} {sum(warm.venue_calls.values()):>17}"
        )
    first, *others = pairs.values()
    growth = max((_cpu_ms(pair.cold) / _cpu_ms(first.cold) for pair in others), default=1.0)
    # Measured CPU times of a second vary by some per cent.
    report.figure("cost_growth", "CPU of a symbol, most over the smallest size", growth, 1.1)
    calls = [sum(pair.warm.venue_calls.values()) for pair in pairs.values()]
    spread = float(max(calls) - min(calls))
    report.figure("warm_calls_spread", "requests of a warm scan, most less least", spread, 10.0)


def _cpu_ms(scan: ScanFigures) -> float:
    return (scan.scanner_cpu + scan.connector_cpu) / scan.symbols * 1000


async def _add_rivals(report: Report, folder: Path, count: int, cold: ScanFigures) -> None:
    """The same symbols by one worker, one symbol after the other, and a pool a scan."""
    report.lines += ["", f"for comparison, {count} symbols, s"]
    async with (
        ScanStage(folder, round(count * _MORE_LISTED), BINANCE) as stage,
        stage.scanner(**_OPTIONS, workers=1) as scanner,
    ):
        single = await scanner.scan()
    report.figure("one_worker_seconds", "the same scan with one worker", single.seconds)
    for key, text, run in (
        ("sequence_seconds", "one symbol after the other", scan_in_sequence),
        ("new_pool_seconds", "a pool of processes started for the scan", scan_with_new_pool),
    ):
        # Venues of its own, so that no run pays for the limits another has used up.
        async with ScanStage(folder, round(count * _MORE_LISTED), BINANCE) as stage:
            address = stage.connectors["binanceusdm"].address
            symbols, now = await asyncio.to_thread(listed_perpetuals, address, count)
            seconds = await asyncio.to_thread(run, address, symbols, now)
        report.figure(key, text, seconds)
        report.figure(f"{key}_ratio", "  times the cold scan", seconds / cold.seconds)


def _add_analytics(report: Report) -> None:
    """Statistics of 300 perpetuals with 720 hourly rows, from plain lists as the wire has them."""
    numbers = np.random.default_rng(1)
    hour = 3_600_000
    rows = [
        ([index * hour for index in range(720)], numbers.normal(1e-4, 2e-4, 720).tolist())
        for _ in range(300)
    ]
    times = []
    for _ in range(11):
        begun = time.perf_counter()
        found = [funding_history(settlements(*each), 1.0) for each in rows]
        analyse([history for history in found if history is not None])
        times.append((time.perf_counter() - begun) * 1000)
    report.lines += ["", "analytics"]
    report.figure(
        "analytics_ms",
        "300 perpetuals of 720 rows, arrays made too, ms",
        statistics.median(times),
        _ANALYTICS_LIMIT_MS,
    )


def main() -> int:
    """Measure, write the table, and return 1 when a bound is broken."""

    async def sized(report: Report, folder: Path, quick: bool) -> None:
        await measure(
            report, folder, Size((40, 80), 80, 40) if quick else Size((300, 600), 1000, 300)
        )

    return run_whole("bench-scanner", "what a scan costs", "small markets", sized)


if __name__ == "__main__":
    sys.exit(main())
