"""The funding of a whole market: settlements paid so far and the rates that come next."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final, Protocol

from services.simulator.market.instants import HOUR_MS, MILLISECOND, instant, millis

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime, timedelta
    from decimal import Decimal

    from services.simulator.market.source import FundingSettlement

_FIRST_WINDOW_MS: Final = 8 * HOUR_MS
_by_time = attrgetter("time")


class FundingHistory(Protocol):
    """The funding of one perpetual; all times in ms."""

    @property
    def begin(self) -> int:
        """Return an instant before the first settlement."""
        ...

    def rows(self, after: int, upto: int) -> Sequence[FundingSettlement]:
        """Return the settlements with ``after`` < time <= ``upto``, ascending."""
        ...

    def upcoming(self, at: int) -> tuple[int | None, Decimal, timedelta]:
        """Return the next settlement after ``at``, its rate and its interval.

        After the end of trading the time is None, the rate and interval those of the last one.
        """
        ...


class FundingBoard:
    """Answers for every perpetual's funding; raises KeyError for unknown symbols."""

    def __init__(self, histories: Mapping[str, FundingHistory]) -> None:
        self._histories = histories
        self._begin = min((history.begin for history in histories.values()), default=0)

    def __getitem__(self, symbol: str) -> FundingHistory:
        return self._histories[symbol]

    def between(self, after: datetime, upto: datetime) -> list[FundingSettlement]:
        """Return all settlements with ``after`` < time <= ``upto``, ascending."""
        return _merged(self._histories.values(), millis(after), millis(upto))

    def settlements(
        self,
        symbol: str | None,
        start: datetime | None,
        end: datetime | None,
        limit: int,
        now: datetime,
    ) -> list[FundingSettlement]:
        """Return settlements as ``MarketSource.settlements`` describes."""
        upto = millis(now if end is None else min(end, now))
        histories = list(self._histories.values()) if symbol is None else [self._histories[symbol]]
        if start is not None:
            # A start between two milliseconds lets in the later one only.
            after = -(-(start - instant(0)) // MILLISECOND) - 1
            return _merged(histories, after, upto)[:limit]
        return self._last(histories, upto, limit)

    def _last(
        self, histories: Sequence[FundingHistory], upto: int, limit: int
    ) -> list[FundingSettlement]:
        # Widens from the end: the last few rows are asked for often, whole histories seldom.
        window = _FIRST_WINDOW_MS
        while True:
            rows = _merged(histories, upto - window, upto)
            if len(rows) >= limit or upto - window < self._begin:
                return rows[-limit:] if limit > 0 else []
            window *= 4


def _merged(histories: Iterable[FundingHistory], after: int, upto: int) -> list[FundingSettlement]:
    rows = [row for history in histories for row in history.rows(after, upto)]
    # The sort is stable: symbols of one instant keep the order of the listing.
    rows.sort(key=_by_time)
    return rows
