"""What of an opportunity is worth telling subscribers again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta
    from decimal import Decimal

    from services.scanner.opportunity import Opportunity


@dataclass(frozen=True, slots=True)
class NewsRules:
    """`min_change`: least move of an APR, the basis or the score between scans that is told.

    `min_prolonging`: least move of the expiry that is told of numbers that stay the same.
    """

    min_change: Decimal
    min_prolonging: timedelta


def is_news(old: Opportunity, new: Opportunity, rules: NewsRules, *, from_scan: bool) -> bool:
    """Tell whether `new` has to replace `old` with subscribers.

    A scan tells every number that changed; between scans small moves are left out. Freshness is a
    change too, since nobody acts upon what has expired, but it is told in steps.
    """
    if abs(new.expire_time - old.expire_time) >= rules.min_prolonging:
        return True
    if new.caveats != old.caveats:
        return True
    if not from_scan:
        return _has_moved(old, new, rules.min_change)
    same = replace(
        new,
        scan_id=old.scan_id,
        observe_time=old.observe_time,
        expire_time=old.expire_time,
        revision=old.revision,
    )
    return same != old


def _has_moved(old: Opportunity, new: Opportunity, step: Decimal) -> bool:
    pairs = (
        (old.net_apr, new.net_apr),
        (old.current_apr, new.current_apr),
        (old.basis_ratio, new.basis_ratio),
        (old.quality_score, new.quality_score),
    )
    return any(_differ(before, after, step) for before, after in pairs)


def _differ(before: Decimal | None, after: Decimal | None, step: Decimal) -> bool:
    if before is None or after is None:
        return before is not after
    return abs(after - before) >= step
