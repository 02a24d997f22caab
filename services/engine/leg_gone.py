"""From what a venue tells of a leg that shrank unasked to the event that the journal holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from services.engine.events import LegGone
from services.engine.instruments import LegSide
from services.engine.orders import GoneCause, OrderSide
from services.engine.position import Position
from services.engine.reduction import closing_side


@dataclass(frozen=True, slots=True)
class ForcedFill:
    """One forced close as a venue's order stream tells it.

    `quantity` is cumulative for `order_id`, the venue's own id of it; `side` is the side of the
    closing order, `price` its average price, None where the venue names none.
    """

    exchange: str
    symbol: str
    side: OrderSide
    quantity: Decimal
    order_id: str
    cause: GoneCause
    price: Decimal | None = None


def by_forced_fill(positions: Iterable[Position], fill: ForcedFill, at: datetime) -> LegGone | None:
    """Return the event of a forced fill; None where no position of ours has such a leg on.

    At most one position is on in an instrument, so the first that fits is the one.
    """
    # Without an id a repeated word of the same fill could not be told from a second fill.
    if fill.quantity <= 0 or not fill.order_id:
        return None
    for position in positions:
        if position.status.is_final:
            continue
        for leg in LegSide:
            ref = position.rules(leg).ref
            is_here = (ref.exchange, ref.symbol) == (fill.exchange, fill.symbol)
            if is_here and closing_side(leg) is fill.side:
                return LegGone(
                    position.position_id,
                    at,
                    leg,
                    fill.quantity,
                    fill.cause,
                    fill.order_id,
                    fill.price,
                )
    return None


def by_reading(position: Position, leg: LegSide, missing: Decimal, at: datetime) -> LegGone | None:
    """Return the event of a reading that found `missing` (unsigned) less than the ledger has.

    The reading must be one of an instrument at rest: an order on its way would be counted as gone.
    None below one lot: that much is rounding.
    """
    if missing < position.rules(leg).lot_size:
        return None
    # A total, so that a second reading of the same loss says nothing new.
    total = position.gone_quantity(leg) + missing
    return LegGone(position.position_id, at, leg, total, GoneCause.UNEXPLAINED)
