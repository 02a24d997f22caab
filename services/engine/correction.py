"""What follows when the legs of a position came apart outside of its own orders: it shrinks.

A leg that was liquidated, deleveraged or closed by hand is never opened again, and a fill that came
after its order was closed is never matched by a larger other leg: the larger leg comes down.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from services.engine.events import ExitRequested, ExitResumed, ReduceRequested
from services.engine.instruments import LegSide
from services.engine.neutrality import is_neutral
from services.engine.orders import GoneCause
from services.engine.position import Position
from services.engine.reduction import reference_price
from services.engine.sizing import meets_minimum
from services.engine.views import PositionStatus

_ZERO = Decimal(0)
Correction = ExitRequested | ReduceRequested | ExitResumed
_REASONS = {
    GoneCause.LIQUIDATED: "LEG_LIQUIDATED",
    GoneCause.AUTO_DELEVERAGED: "LEG_AUTO_DELEVERAGED",
    GoneCause.UNEXPLAINED: "LEG_GONE_AT_VENUE",
}
LATE_FILL = "LATE_FILL"
INTEREST = "INTEREST_OWED"


def correction(position: Position, at: datetime) -> Correction | None:
    """Return what is to be asked of a position whose legs came apart; None where nothing is.

    A position that is closing needs nothing: each leg closes what is left of it. A position that
    is entered is closed whole, since its hedging would open the lost leg again.
    """
    key, status = position.position_id, position.status
    if status.is_final:
        return ExitResumed(key, at, _reason(position)) if is_on(position) else None
    if position.exit is not None and position.exit.is_final:
        return None
    # Not what is off the ledger: the loss may be told before the fill that it took.
    has_lost = any(record.total > 0 for record in position.gone.values())
    if has_lost and (status is not PositionStatus.OPEN and position.exit is None):
        return ExitRequested(key, at, _reason(position))
    # What a liquidation left is next: the account has no margin for it.
    if any(record.is_liquidated for record in position.gone.values()) and has_lost:
        return ExitRequested(key, at, _reason(position))
    if position.exit is not None:
        return _lower_targets(position, at) if has_lost else None
    if status is PositionStatus.OPEN and not _is_matched(position):
        return _shrink(position, at)
    return None


def is_on(position: Position) -> bool:
    """Return whether a position is to be driven: it has not ended, or something came after its end.

    A crash may fall between a late fill and the row that resumes the exit, so a start asks too.
    """
    # An ended position has nothing on but what came later.
    return not position.status.is_final or any(position.held(leg) != 0 for leg in LegSide)


def _is_matched(position: Position) -> bool:
    apart = position.held(LegSide.LONG) - position.held(LegSide.SHORT)
    return is_neutral(apart, position.larger_lot)


def _lower_targets(position: Position, at: datetime) -> Correction | None:
    """Return a deeper reduce where a leg is below what the running one leaves of the other."""
    targets = position.exit.targets if position.exit is not None else {}
    highest = max(targets.values(), default=_ZERO)
    is_deeper = highest - min(_quantities(position)) >= position.larger_lot
    return _shrink(position, at) if is_deeper else None


def _shrink(position: Position, at: datetime) -> Correction:
    """Return a reduce to what both legs have, or the exit where that could not be closed later."""
    quantities = _quantities(position)
    matched, key, reason = min(quantities), position.position_id, _reason(position)
    for leg in LegSide:
        price = reference_price(position, leg)
        if not meets_minimum(matched, price, position.rules(leg), reduce_only=True):
            return ExitRequested(key, at, reason)
    taken = max(quantities) - matched
    return ReduceRequested(key, at, taken, matched, matched, reason)


def _quantities(position: Position) -> tuple[Decimal, Decimal]:
    """Return both legs' quantities in their own direction, booked dust included: it goes too."""
    return position.quantity(LegSide.LONG), -position.quantity(LegSide.SHORT)


def _reason(position: Position) -> str:
    causes = {cause for record in position.gone.values() for cause in record.causes}
    # A late fill says nothing of itself; of interest the record tells.
    default = INTEREST if position.interest else LATE_FILL
    return next((text for cause, text in _REASONS.items() if cause in causes), default)
