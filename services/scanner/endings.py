"""Instruments whose venue has announced the end of trading: a position must not outlive its leg."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.scanner.instruments import Exclusion, ExclusionReason
from services.scanner.market import present

if TYPE_CHECKING:
    from datetime import timedelta

    from services.scanner.market import VenueView


def end_exclusion(view: VenueView, symbol: str, holding: timedelta) -> Exclusion | None:
    """Return why the leg ends before a position held for `holding` would, None when it does not."""
    row = view.symbols.get(symbol)
    if row is None or row.end_time is None:
        return None
    # The announcement is in the venue's time.
    left = row.end_time - present(view)
    if left > holding:
        return None
    hours, held = left.total_seconds() / 3600, holding.total_seconds() / 3600
    detail = (
        f"the venue ends it at {row.end_time:%Y-%m-%d %H:%M} UTC, in {hours:.1f} h of {held:g} h"
    )
    return Exclusion(view.key(symbol), ExclusionReason.DELISTED, detail)
