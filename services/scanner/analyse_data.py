"""Analyse recorded funding histories as a scan would at the last settlement on record.

`python -m services.scanner.analyse_data --data DIR`, which is what `arb analyse-data` runs: the
symbols left out with their reasons, and the highest carries by the true interval beside what an
assumed interval of eight hours would make of them. The last line on stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.common.settings_loader import SettingsProblemsError, read_settings
from services.scanner.backtest_data import RecordingError, read_recordings
from services.scanner.offline import count, in_words, refuse
from services.scanner.rules import ScanRules
from services.scanner.settings import ScannerSettings
from services.scanner.sound_statistics import Candidate, sound_statistics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.scanner.analytics import FundingStatistics
    from services.scanner.backtest_data import Recording
    from services.scanner.instruments import Exclusion, InstrumentKey

PROGRAM = "analyse-data"
EXIT_INTERRUPTED = 130
# The naive figure is called wrong when it is off by more than this share of the true one.
_WRONG_BY = 0.01


@dataclass(frozen=True, slots=True)
class RecordingAnalysis:
    """What a scan would know of a recording at its last settlement, `minute` since 1970."""

    recording: Recording
    minute: int
    statistics: Mapping[InstrumentKey, FundingStatistics]
    exclusions: Sequence[Exclusion]

    def top(self, count: int) -> list[tuple[InstrumentKey, FundingStatistics]]:
        """Return the histories with the largest carry a year, of either sign, largest first."""
        ranked = sorted(
            self.statistics.items(), key=lambda each: (-abs(each[1].annualized_rate), each[0])
        )
        return ranked[:count]

    def naive_rank(self, key: InstrumentKey) -> int:
        """Return the place an instrument would have by the naive figure, from 1."""
        sizes = {each: abs(found.naive_annualized_rate) for each, found in self.statistics.items()}
        return 1 + sum(size > sizes[key] for size in sizes.values())


def analyse_recording(recording: Recording, rules: ScanRules) -> RecordingAnalysis:
    """Return the analysis; intervals come from the spacing of the rows alone."""
    minute = recording.last_minute
    candidates = [Candidate(key, rows, None) for key, rows in recording.histories.items()]
    statistics, exclusions = sound_statistics(candidates, minute, rules)
    return RecordingAnalysis(recording, minute, statistics, exclusions)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the analysis and return the exit code: 0, or 2 for wrong input."""
    options = _parser().parse_args(arguments)
    try:
        rules = ScanRules()
        if options.config is not None:
            rules = read_settings(ScannerSettings, options.config, os.environ).rules()
        analyses = [analyse_recording(each, rules) for each in read_recordings(options.data)]
    except (RecordingError, OSError, SettingsProblemsError) as error:
        return refuse(PROGRAM, in_words(error))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    if not options.json:
        for analysis in analyses:
            sys.stdout.write("\n".join(_lines(analysis, options.top, rules.history.days)) + "\n\n")
    plain = {"recordings": [_plain(analysis, options.top) for analysis in analyses]}
    sys.stdout.write(json.dumps(plain) + "\n")
    return 0


def _lines(analysis: RecordingAnalysis, count: int, days: int) -> list[str]:
    plain = _plain(analysis, count)
    lines = [
        f"recording {plain['name']} at {plain['as_of_time']}: {plain['instrument_count']} "
        f"perpetuals, {plain['sound_count']} sound",
        f"settlement interval in hours: {_counts(plain['interval_counts'])}; taken for 8 h, the "
        f"APR of {plain['naive_wrong_count']} of {plain['sound_count']} is off by over 1 %",
        f"excluded: {_counts(plain['exclusion_counts']) or 'none'}",
    ]
    lines += [
        f"  {row['exchange']} {row['symbol']}  {row['reason']}: {row['detail']}"
        for row in plain["excluded"]
    ]
    lines.append(
        f"highest carries over the hours covered, {days} days at most, before costs; above zero a "
        "short leg is paid, below zero a long one"
    )
    lines.append(
        f"{'top by true APR':<34}{'interval':>9}{'settled':>8}{'covered':>9}"
        f"{'true APR':>11}{'naive 8 h':>11}{'its place':>10}"
    )
    lines += [
        f"{place:>4} {row['exchange'] + ' ' + row['symbol']:<29}{row['interval_hours']:>7g} h"
        f"{row['settlement_count']:>8}{row['covered_hours']:>7g} h"
        f"{row['annualized_rate']:>+11.2%}{row['naive_annualized_rate']:>+11.2%}"
        f"{row['naive_place']:>10}"
        for place, row in enumerate(plain["top"], start=1)
    ]
    return lines


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _plain(analysis: RecordingAnalysis, count: int) -> dict[str, Any]:
    found = analysis.statistics.values()
    intervals = Counter(each.interval_hours for each in found)
    reasons = Counter(each.reason.value for each in analysis.exclusions)
    # A fixed start instead of a float of seconds, which would lose the minute for far years.
    as_of = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=analysis.minute)
    return {
        "name": analysis.recording.name,
        "files": list(analysis.recording.files),
        "as_of_time": as_of.isoformat(),
        "instrument_count": len(analysis.recording.histories),
        "sound_count": len(analysis.statistics),
        "interval_counts": {f"{hours:g}": intervals[hours] for hours in sorted(intervals)},
        "naive_wrong_count": sum(map(_is_naive_wrong, found)),
        "exclusion_counts": dict(sorted(reasons.items())),
        "excluded": [
            {
                "exchange": each.instrument.venue,
                "symbol": each.instrument.symbol,
                "reason": each.reason.value,
                "detail": each.detail,
            }
            for each in sorted(analysis.exclusions, key=lambda each: (each.reason, each.instrument))
        ],
        "top": [_plain_row(analysis, key, each) for key, each in analysis.top(count)],
    }


def _plain_row(
    analysis: RecordingAnalysis, key: InstrumentKey, statistics: FundingStatistics
) -> dict[str, Any]:
    return {
        "exchange": key.venue,
        "symbol": key.symbol,
        "interval_hours": statistics.interval_hours,
        "interval_change_count": statistics.interval_change_count,
        "settlement_count": statistics.settlement_count,
        "covered_hours": statistics.covered_hours,
        "missing_settlement_count": statistics.missing_row_count,
        "mean_rate": statistics.mean_rate,
        "annualized_rate": statistics.annualized_rate,
        "naive_annualized_rate": statistics.naive_annualized_rate,
        "naive_place": analysis.naive_rank(key),
        "windows": [
            {
                "days": window.days,
                "annualized_rate": window.annualized_rate,
                "coverage_ratio": window.coverage_ratio,
                "is_partial": window.is_partial,
            }
            for window in statistics.windows
        ],
    }


def _is_naive_wrong(statistics: FundingStatistics) -> bool:
    error = abs(statistics.naive_annualized_rate - statistics.annualized_rate)
    return error > _WRONG_BY * abs(statistics.annualized_rate)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="directory of recorded funding histories"
    )
    parser.add_argument("--top", type=count, default=20, help="how many carries to show")
    parser.add_argument("--config", type=Path, help="scanner.toml whose thresholds to use")
    parser.add_argument("--json", action="store_true", help="print the JSON line alone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
