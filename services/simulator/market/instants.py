"""Whole milliseconds of Unix time, the unit the market arithmetic runs on, and their datetimes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = timedelta(milliseconds=1)
SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
WEEK_MS: Final = 7 * DAY_MS

# The epoch was a Thursday, a week of candles begins on Monday.
_WEEK_OFFSET_MS: Final = 4 * DAY_MS


def millis(instant: datetime) -> int:
    """Return whole milliseconds since the epoch, rounded down; the datetime must be aware."""
    return (instant - EPOCH) // MILLISECOND


def instant(at: int) -> datetime:
    """Return the aware UTC datetime of ``at`` milliseconds since the epoch."""
    return EPOCH + timedelta(milliseconds=at)


def floor_to_interval(at: int, interval: int) -> int:
    """Return the open time of the candle of ``interval`` milliseconds that contains ``at``."""
    offset = _WEEK_OFFSET_MS if interval == WEEK_MS else 0
    return (at - offset) // interval * interval + offset
