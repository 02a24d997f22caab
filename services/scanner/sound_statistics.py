"""From raw settlements to the statistics of those that can be trusted, and why the others cannot.

Pure: the live scan, the offline commands and the benchmarks go through this one door.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from services.scanner.analytics import FundingStatistics, analyse
from services.scanner.funding import FundingHistory, Settlements, funding_history, recent
from services.scanner.instruments import Exclusion, ExclusionReason, InstrumentKey
from services.scanner.quarantine import history_exclusions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.scanner.rules import ScanRules
    from services.scanner.statistics_memo import StatisticsMemo

_MINUTE = timedelta(minutes=1)
# Rates and settlements are read one after the other, so a settlement may be newer than the present
# of the rates; by more than an hour it cannot.
MAX_AHEAD_MINUTES = 60
# Nobody pays more than the notional at one settlement; squares of such figures overflow.
_MAX_POSSIBLE_RATE = 1.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known of one perpetual's funding.

    `interval_hours` is the venue's word for the interval now, `predicted_rate` the rate of the
    coming settlement; None where the venue did not tell.
    """

    key: InstrumentKey
    rows: Settlements
    interval_hours: float | None
    predicted_rate: float | None = None


def sound_statistics(
    candidates: Sequence[Candidate],
    now_minute: float,
    rules: ScanRules,
    memo: StatisticsMemo | None = None,
) -> tuple[dict[InstrumentKey, FundingStatistics], list[Exclusion]]:
    """Return the statistics of the sound histories, and every reason why others are not.

    `now_minute` is the present in minutes since 1970. Of each history the last `rules.history`
    before its last settlement counts. What `memo` knows is not computed again; it must have seen
    these rules only.
    """
    exclusions: list[Exclusion] = []
    judged: list[tuple[Candidate, FundingStatistics]] = []
    kept: list[tuple[Candidate, FundingHistory]] = []
    for candidate in candidates:
        known = _known(candidate, now_minute, rules, memo)
        if known is not None:
            judged.append((candidate, known))
            continue
        history = _history(candidate, now_minute, rules)
        if isinstance(history, Exclusion):
            exclusions.append(history)
        else:
            kept.append((candidate, history))
    sound: dict[InstrumentKey, FundingStatistics] = {}
    results = analyse([history for _, history in kept])
    for (candidate, _), statistics in zip(kept, results, strict=True):
        judged.append((candidate, statistics))
        if memo is not None:
            memo.keep(candidate.key, candidate.rows, candidate.interval_hours, statistics)
    for candidate, statistics in judged:
        found = history_exclusions(
            candidate.key, statistics, candidate.predicted_rate, now_minute, rules.quarantine
        )
        exclusions += found
        if not found:
            sound[candidate.key] = statistics
    return sound, exclusions


def _known(
    candidate: Candidate, now_minute: float, rules: ScanRules, memo: StatisticsMemo | None
) -> FundingStatistics | None:
    if memo is None:
        return None
    known = memo.find(candidate.key, candidate.rows, candidate.interval_hours)
    # Rows that were in time when they were analysed may be too old now.
    return known if known is not None and not _timing(candidate, now_minute, rules) else None


def _timing(candidate: Candidate, now_minute: float, rules: ScanRules) -> Exclusion | None:
    """Return why the last settlement does not fit the present; the rows are not empty."""
    last = int(candidate.rows.minutes[-1])
    ahead = last - now_minute
    if ahead > MAX_AHEAD_MINUTES:
        # Windows end at the last row: one row of another year would empty them all.
        detail = f"a settlement {ahead / 60:.1f} h after the venue's present"
        return Exclusion(candidate.key, ExclusionReason.SETTLEMENT_AHEAD, detail)
    if last <= now_minute - rules.history // _MINUTE:
        return _dead(candidate.key, rules)
    return None


def _dead(key: InstrumentKey, rules: ScanRules) -> Exclusion:
    detail = f"no settlement within {rules.history.days} days"
    return Exclusion(key, ExclusionReason.MARKET_DEAD, detail)


def _history(
    candidate: Candidate, now_minute: float, rules: ScanRules
) -> FundingHistory | Exclusion:
    key, rows = candidate.key, candidate.rows
    if rows.minutes.size == 0:
        return Exclusion(key, ExclusionReason.HISTORY_MISSING, "no settlement on record")
    untimely = _timing(candidate, now_minute, rules)
    if untimely is not None and untimely.reason is ExclusionReason.SETTLEMENT_AHEAD:
        return untimely
    history = funding_history(rows, candidate.interval_hours)
    if history is None:
        detail = "neither the venue nor the spacing of settlements tells the interval"
        return Exclusion(key, ExclusionReason.INTERVAL_UNKNOWN, detail)
    # Counted back from the last settlement, as the windows are: the longest would lack its first
    # row whenever a settlement is late.
    kept = recent(history, int(rows.minutes[-1]) - rules.history // _MINUTE)
    if kept is None or untimely is not None:
        return untimely or _dead(key, rules)
    # Asked so that NaN, which compares as false, is impossible too.
    impossible = ~(np.abs(kept.rates) <= _MAX_POSSIBLE_RATE)
    if impossible.any():
        rate = float(kept.rates[impossible][0])
        detail = f"a rate of {rate:g} a settlement cannot be"
        return Exclusion(key, ExclusionReason.RATE_IMPLAUSIBLE, detail)
    return kept
