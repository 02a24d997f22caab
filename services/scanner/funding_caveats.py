"""What is uncertain about the funding histories behind an opportunity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.scanner.caveats import Caveat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.scanner.analytics import FundingStatistics


def funding_caveats(
    statistics: Sequence[FundingStatistics], window_days: int
) -> tuple[Caveat, ...]:
    """Return the caveats of the perpetual legs' histories.

    WINDOW_PARTIAL: the settlements of a leg cover less than the window whose carry is used.
    SETTLEMENTS_MISSING: rows are missing between others. INTERVAL_CHANGED: a leg's interval changed
    inside the history or right after it, so its mean a settlement is no measure of its carry; the
    weighted APR is.
    """
    found = {
        Caveat.WINDOW_PARTIAL: any(each.window(window_days).is_partial for each in statistics),
        Caveat.SETTLEMENTS_MISSING: any(each.missing_row_count > 0 for each in statistics),
        Caveat.INTERVAL_CHANGED: any(map(_is_changed, statistics)),
    }
    return tuple(caveat for caveat, holds in found.items() if holds)


def _is_changed(statistics: FundingStatistics) -> bool:
    # The venue's word may name an interval that nothing has settled by yet.
    is_new = statistics.interval_hours != statistics.last_covered_hours
    return statistics.interval_change_count > 0 or is_new
