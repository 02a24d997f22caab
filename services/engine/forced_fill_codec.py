"""Forced fills as a connector's order stream tells them: liquidations and auto-deleveraging."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from opensqt.market_maker.v1 import types_pb2
from services.common.errors import FatalError
from services.engine.connector_codec import optional_figure, required_figure
from services.engine.leg_gone import ForcedFill
from services.engine.orders import GoneCause, OrderSide

if TYPE_CHECKING:
    from opensqt.market_maker.v1 import events_pb2

_CAUSES: Mapping[int, GoneCause] = {
    types_pb2.FORCED_FILL_LIQUIDATION: GoneCause.LIQUIDATED,
    types_pb2.FORCED_FILL_AUTO_DELEVERAGING: GoneCause.AUTO_DELEVERAGED,
}
_SIDES: Mapping[int, OrderSide] = {
    types_pb2.ORDER_SIDE_BUY: OrderSide.BUY,
    types_pb2.ORDER_SIDE_SELL: OrderSide.SELL,
}


def forced_fill_from_proto(venue: str, row: events_pb2.OrderUpdate) -> ForcedFill | None:
    """Decode a forced fill; None for any other row, and while nothing of it is executed.

    Raises FatalError for one without side, id or quantity: the next reading of the position finds
    what it took.
    """
    if row.forced_fill == types_pb2.FORCED_FILL_UNSPECIFIED:
        return None
    executed = required_figure(row, "executed_qty", minimum=Decimal(0))
    if executed == 0:
        return None
    side = _SIDES.get(row.side)
    order_id = row.exchange_order_id or (str(row.order_id) if row.order_id else "")
    if side is None or not order_id:
        raise FatalError(f"{venue} sent a forced fill without side or id")
    return ForcedFill(
        exchange=venue,
        symbol=row.symbol,
        side=side,
        quantity=executed,
        order_id=order_id,
        # A kind of a newer connector is a loss all the same, of which nothing more is known.
        cause=_CAUSES.get(row.forced_fill, GoneCause.UNEXPLAINED),
        price=optional_figure(row, "avg_price", positive=True),
    )
