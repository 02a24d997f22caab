"""What it takes to believe that an order never arrived: the query, the trades, the position. Pure.

"Not found" alone is one witness, and venues forget: an order that ended without a fill is purged
after hours, a query can be answered by a replica that lags. So the trades since the sending are
read too, and on perpetuals the position, and all must agree, past the fence.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

POSITION_TOLERANCE: Final = timedelta(seconds=1)
"""A position is stamped when it is booked, which is a moment after its trade."""


class Witness(StrEnum):
    """What one kind of evidence says beside the query that found nothing."""

    UNREAD = "unread"
    """It could not be asked: it says nothing, and nothing may be concluded."""
    SILENT = "silent"
    """There is no such witness: spot has no position, some venues do not stamp it."""
    EXPLAINED = "explained"
    """All that happened since the sending belongs to other orders, which are known."""
    UNEXPLAINED = "unexplained"
    """Something happened that no known order accounts for; it may be this one."""


class Conclusion(StrEnum):
    """What follows for an order that the query did not find."""

    ASK_AGAIN = "ask_again"
    SUSPECT = "suspect"
    NOT_ARRIVED = "not_arrived"


def judge_absence(*, past_fence: bool, trades: Witness, position: Witness) -> Conclusion:
    """Return what a query that found nothing proves, beside trades and position.

    `past_fence` is whether the question was asked after the fence; never, where the venue has none.
    """
    # Before the fence too: what is suspicious must not wait to be told.
    if Witness.UNEXPLAINED in (trades, position):
        return Conclusion.SUSPECT
    if not past_fence or Witness.UNREAD in (trades, position):
        return Conclusion.ASK_AGAIN
    return Conclusion.NOT_ARRIVED


def judge_position(
    changed: datetime | None, *, sent: datetime, last_fill: datetime | None
) -> Witness:
    """Return what a position that last changed at `changed` says about an order sent at `sent`.

    All by the venue's stamps; `last_fill` is the latest fill of another order on the symbol since.
    """
    if changed is None:
        return Witness.SILENT
    if changed <= sent:
        return Witness.EXPLAINED
    # Changed since the sending: by a fill that is known, or by nobody we know of.
    known = last_fill is not None and changed <= last_fill + POSITION_TOLERANCE
    return Witness.EXPLAINED if known else Witness.UNEXPLAINED
