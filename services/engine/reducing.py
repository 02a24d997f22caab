"""What a reduction takes off both legs, decided before it is journaled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from services.common.errors import InvalidFieldError
from services.engine.events import ExitRequested, ReduceRequested
from services.engine.instruments import LegSide
from services.engine.position import Position
from services.engine.reduction import reference_price
from services.engine.sizing import common_lot, floor_to_lot, meets_minimum
from services.engine.views import PositionStatus


@dataclass(frozen=True, slots=True)
class Reduction:
    """Quantity off each leg and the quantity that is to remain; `is_close` when all goes."""

    quantity: Decimal
    target: Decimal
    is_close: bool


def plan_reduction(
    position: Position, quantity: Decimal | None, ratio: Decimal | None
) -> Reduction:
    """Return the reduction on the common lot; both legs get the same target, so no drift adds up.

    Raises `InvalidFieldError` where nothing tradable would go, or where what remains could not be
    closed later.
    """
    if (quantity is None) == (ratio is None):
        raise InvalidFieldError("quantity", "either quantity or ratio is required")
    # Of the smaller leg: the larger one's dust must not be called a hedge.
    matched = min(abs(position.quantity(leg)) for leg in LegSide)
    lot = common_lot(*(position.rules(leg).lot_size for leg in LegSide))
    field, wanted = ("quantity", quantity) if quantity is not None else ("ratio", ratio)
    if wanted is None or wanted <= 0 or (field == "ratio" and wanted > 1):
        raise InvalidFieldError(field, "must be above 0, a ratio at most 1")
    taken = floor_to_lot(wanted if field == "quantity" else matched * wanted, lot)
    if taken >= floor_to_lot(matched, lot):
        return Reduction(matched, Decimal(0), is_close=True)
    for leg in LegSide:
        rules, price = position.rules(leg), reference_price(position, leg)
        if not meets_minimum(taken, price, rules, reduce_only=True):
            raise InvalidFieldError(field, f"is below what {rules.ref.exchange} trades")
        # A rest that no order can close would be a position for ever.
        if not meets_minimum(matched - taken, price, rules, reduce_only=True):
            raise InvalidFieldError(field, "leaves less than can be traded; close instead")
    return Reduction(taken, matched - taken, is_close=False)


def plan_reductions(
    positions: Iterable[Position], ratio: Decimal, at: datetime, reason: str
) -> tuple[ExitRequested | ReduceRequested, ...]:
    """Return what takes the share `ratio` off each position that is on, in their order.

    Rounded towards less exposure: what is too small for a part of it to trade is closed, and so is
    what is being entered. Those that shrink already are left to it. Raises `InvalidFieldError` for
    a ratio outside (0, 1].
    """
    if not 0 < ratio <= 1:
        raise InvalidFieldError("ratio", "must be above 0 and at most 1")
    requests: list[ExitRequested | ReduceRequested] = []
    for position in positions:
        # An exit that is under way covers it; a final position has nothing on.
        if position.exit is not None or position.status.is_final:
            continue
        requests.append(_share(position, ratio, at, reason))
    return tuple(requests)


def _share(
    position: Position, ratio: Decimal, at: datetime, reason: str
) -> ExitRequested | ReduceRequested:
    key = position.position_id
    if position.status is not PositionStatus.OPEN:
        return ExitRequested(key, at, reason)
    try:
        plan = plan_reduction(position, None, ratio)
    except InvalidFieldError:
        return ExitRequested(key, at, reason)
    if plan.is_close:
        return ExitRequested(key, at, reason)
    return ReduceRequested(key, at, plan.quantity, plan.target, plan.target, reason)
