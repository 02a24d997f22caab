"""An order as the request that a connector takes."""

from __future__ import annotations

from google.protobuf import duration_pb2

from opensqt.market_maker.v1 import resources_pb2, types_pb2
from services.common.codec import decimal_to_proto
from services.engine import wire_enums as wire
from services.engine.orders import OrderPlan


def place_request(plan: OrderPlan) -> resources_pb2.PlaceOrderRequest:
    """Encode an order: limit and immediate-or-cancel at its worst price, or a market order.

    A post-only one rests, and is answered as soon as the venue has taken it.
    """
    is_limit = plan.worst_price is not None
    takes = is_limit and not plan.post_only
    return resources_pb2.PlaceOrderRequest(
        symbol=plan.instrument.symbol,
        side=wire.SIDE_TO_WIRE[plan.side],
        type=types_pb2.ORDER_TYPE_LIMIT if is_limit else types_pb2.ORDER_TYPE_MARKET,
        time_in_force=types_pb2.TIME_IN_FORCE_IOC if takes else types_pb2.TIME_IN_FORCE_UNSPECIFIED,
        quantity=decimal_to_proto(plan.quantity),
        price=decimal_to_proto(plan.worst_price),
        reduce_only=plan.reduce_only,
        client_order_id=plan.client_order_id,
        use_margin=plan.use_margin,
        post_only=plan.post_only,
        fill_timeout=duration_pb2.Duration() if plan.post_only else None,
        order_class=wire.CLASS_TO_WIRE[plan.order_class],
    )
