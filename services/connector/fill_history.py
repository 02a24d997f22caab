"""All executions on a symbol since an instant, read window by window, whatever their ids are."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from services.common.errors import UnreachableError

if TYPE_CHECKING:
    from datetime import datetime

    from services.connector.instruments import Instrument
    from services.connector.order_types import VenueFill
    from services.connector.profile import Priority
    from services.connector.venue_orders import VenueOrders

_PAGE: Final = 1_000
_MOST_PAGES: Final = 30


async def read_fills_since(
    orders: VenueOrders,
    instrument: Instrument,
    start: datetime,
    end: datetime,
    window: timedelta,
    priority: Priority,
    *,
    use_margin: bool = False,
) -> list[VenueFill]:
    """Return the executions from `start` to `end` by the venue's stamps, oldest first.

    `window` is the longest span of one question. Raises RetryableError and its branches when they
    cannot be read, or not all of them: a list with a gap would prove too much.
    """
    # A trade of the account with itself fills two orders under one id.
    found: dict[tuple[str, str], VenueFill] = {}
    cursor = start
    for _ in range(_MOST_PAGES):
        until = min(cursor + window, end)
        rows = await orders.fills(
            instrument,
            start=cursor,
            # The venue's end is inclusive, and a full window one instant too long.
            end=until - timedelta(milliseconds=1),
            limit=_PAGE,
            use_margin=use_margin,
            priority=priority,
        )
        new = [row for row in rows if _name(row) not in found]
        found.update((_name(row), row) for row in new)
        times = [row.time for row in rows if row.time is not None]
        if len(rows) >= _PAGE and new and times:
            # On from the last one, which comes again: several may share its instant.
            cursor = max(times)
        elif len(rows) >= _PAGE:
            break
        elif until >= end:
            return list(found.values())
        else:
            cursor = until
    raise UnreachableError(
        f"the executions on {instrument.symbol} could not be read whole",
        reason="HISTORY_TOO_DENSE",
    )


def _name(fill: VenueFill) -> tuple[str, str]:
    return fill.exchange_order_id, fill.trade_id
