"""Which funding histories are unfit to be traded on, each with the figure behind the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.scanner.instruments import Exclusion, ExclusionReason, InstrumentKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.scanner.analytics import FundingStatistics
    from services.scanner.rules import QuarantineRules


def history_exclusions(
    key: InstrumentKey,
    statistics: FundingStatistics,
    predicted_rate: float | None,
    now_minute: float,
    rules: QuarantineRules,
) -> tuple[Exclusion, ...]:
    """Return every reason why the history is unfit, none when it is sound.

    `now_minute` is the venue's own present in minutes since 1970.
    """
    found = _problems(statistics, predicted_rate, now_minute, rules)
    return tuple(Exclusion(key, reason, detail) for reason, detail in found)


def _problems(
    statistics: FundingStatistics,
    predicted_rate: float | None,
    now_minute: float,
    rules: QuarantineRules,
) -> Iterator[tuple[ExclusionReason, str]]:
    # Two intervals and not one: a settlement shows up late now and then. A shorter interval is told
    # before anything settled by it.
    interval = max(statistics.interval_hours, statistics.last_covered_hours)
    age = (now_minute - statistics.last_minute) / 60.0
    allowed = rules.dead_after_intervals * interval
    if age > allowed:
        detail = f"last settlement {age:.1f} h ago, over {allowed:g} h"
        yield ExclusionReason.MARKET_DEAD, detail
    covered = rules.min_covered.total_seconds() / 3600
    if (
        statistics.settlement_count < rules.min_settlement_count
        or statistics.covered_hours < covered
    ):
        detail = f"{statistics.settlement_count} settlements over {statistics.covered_hours:g} h"
        yield ExclusionReason.HISTORY_SHORT, detail
    if statistics.longest_zero_run > rules.max_zero_run_count:
        detail = f"{statistics.longest_zero_run} settlements of exactly zero in a row"
        yield ExclusionReason.ZERO_RUN, detail
    # The predicted rate counts too: it is what the position would be paid first.
    extreme = [
        rate
        for rate in (statistics.min_rate, statistics.max_rate, predicted_rate or 0.0)
        # Not "over the bound": NaN, which is under no bound, must not pass.
        if not abs(rate) <= rules.max_rate
    ]
    if extreme:
        detail = f"a rate of {extreme[0]:g} a settlement, over {rules.max_rate:g}"
        yield ExclusionReason.RATE_IMPLAUSIBLE, detail
