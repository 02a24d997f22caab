"""Statistics of histories that have not changed since they were computed.

Between two settlements a perpetual's history stands still: a scan that comes once a minute would
compute the same figures sixty times and more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from services.scanner.analytics import FundingStatistics
    from services.scanner.funding import Settlements
    from services.scanner.instruments import InstrumentKey


class StatisticsMemo:
    """Remembers statistics with what they were computed from: rows, and the interval told."""

    def __init__(self) -> None:
        self._known: dict[InstrumentKey, tuple[Settlements, float | None, FundingStatistics]] = {}

    def find(
        self, key: InstrumentKey, rows: Settlements, interval_hours: float | None
    ) -> FundingStatistics | None:
        """Return the statistics of these very rows, None where others or none were computed."""
        known = self._known.get(key)
        # The store makes new rows whenever anything of them changes.
        if known is None or known[0] is not rows or known[1] != interval_hours:
            return None
        return known[2]

    def keep(
        self,
        key: InstrumentKey,
        rows: Settlements,
        interval_hours: float | None,
        statistics: FundingStatistics,
    ) -> None:
        """Remember statistics in the place of earlier ones."""
        self._known[key] = rows, interval_hours, statistics

    def forget_all_but(self, keys: Collection[InstrumentKey]) -> None:
        """Forget what is not listed any more."""
        self._known = {key: known for key, known in self._known.items() if key in keys}
