"""Entries that failed in a row, and positions that lost in a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal

from services.engine.position import Position
from services.engine.risk_limits import RiskLimits
from services.engine.views import PositionStatus

_FAILED = ("HEDGE_FAILED_LEAD_UNWOUND", "LEAD_REJECTED")


def consecutive_failures(newest: Iterable[Position], since: datetime | None) -> int:
    """Return how many of the newest entries started after `since` failed, one after another.

    `newest` are by their start, the last first: funding moves the last change of an old position
    in front of new failures. They are looked at as far as the row goes, not all.
    Failed are those the venue refused and those whose lead had to be traded back. A lead that
    found no price within its bound cost nothing: it neither counts nor ends the row.
    """
    count = 0
    for position in newest:
        if since is not None and position.intent.at <= since:
            break
        if not position.entry_settled:
            continue
        if position.was_open:
            break
        if position.reason.startswith(_FAILED):
            count += 1
    return count


def consecutive_losses(
    positions: Iterable[Position], since: datetime | None, result: Callable[[Position], Decimal]
) -> int:
    """Return how many of the positions closed last, after `since`, lost in a row."""
    closed = [
        (p.close_time, p)
        for p in positions
        if p.close_time is not None
        and p.status is PositionStatus.CLOSED
        and (since is None or p.close_time > since)
    ]
    count = 0
    for _, position in sorted(closed, key=lambda row: row[0], reverse=True):
        if result(position) >= 0:
            break
        count += 1
    return count


def is_too_many(count: int, limits: RiskLimits) -> bool:
    """Tell whether so many failures in a row stop all entries."""
    bound = limits.max_consecutive_failures
    return bound is not None and count >= bound
