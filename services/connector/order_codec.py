"""Orders between the wire and the domain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opensqt.market_maker.v1 import events_pb2, exchange_pb2, resources_pb2, types_pb2
from services.common.codec import (
    decimal_to_proto,
    limit_fraction,
    optional_decimal,
    optional_duration,
    optional_enum,
    require_decimal,
    require_enum,
    require_text,
    to_millis,
    to_timestamp,
)
from services.common.errors import InvalidFieldError
from services.connector.order_mapping import net_quantity
from services.connector.order_numbers import to_order_number
from services.connector.order_request import OrderRequest
from services.connector.order_types import (
    Fill,
    ForcedFill,
    OrderClass,
    OrderState,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
)

if TYPE_CHECKING:
    from decimal import Decimal

    from google.type import decimal_pb2

    from services.connector.instruments import Instrument

_SIDES: Final = {types_pb2.ORDER_SIDE_BUY: Side.BUY, types_pb2.ORDER_SIDE_SELL: Side.SELL}
_TYPES: Final = {
    types_pb2.ORDER_TYPE_LIMIT: OrderType.LIMIT,
    types_pb2.ORDER_TYPE_MARKET: OrderType.MARKET,
}
_SIDE_TO_WIRE: Final = {side: number for number, side in _SIDES.items()}
_TYPE_TO_WIRE: Final = {kind: number for number, kind in _TYPES.items()}
_STATUS_TO_WIRE: Final = {
    status: types_pb2.OrderStatus.Value(f"ORDER_STATUS_{status.value}") for status in OrderStatus
}
_TIME_IN_FORCE_TO_WIRE: Final = {
    value: types_pb2.TimeInForce.Value(f"TIME_IN_FORCE_{value.value}") for value in TimeInForce
}
_CLASS_TO_WIRE: Final = {
    value: types_pb2.OrderClass.Value(f"ORDER_CLASS_{value.value}") for value in OrderClass
}
_MAX_ID_LENGTH: Final = 64


def decode_request(
    message: resources_pb2.PlaceOrderRequest, instrument: Instrument, path: str = ""
) -> OrderRequest:
    """Return the order asked for; raise InvalidFieldError naming the field that is wrong."""
    client_order_id = message.client_order_id
    if client_order_id:
        require_text(message, "client_order_id", max_length=_MAX_ID_LENGTH, path=path)
    order_class = optional_enum(message, "order_class", path=path)
    time_in_force = optional_enum(message, "time_in_force", path=path)
    fill_timeout = optional_duration(message, "fill_timeout", path=path)
    if fill_timeout is not None and fill_timeout.total_seconds() < 0:
        raise InvalidFieldError(f"{path}fill_timeout", "must not be negative")
    return OrderRequest(
        client_order_id=client_order_id,
        symbol=instrument.symbol,
        side=_SIDES[types_pb2.OrderSide.ValueType(require_enum(message, "side", path=path))],
        type=_TYPES[types_pb2.OrderType.ValueType(require_enum(message, "type", path=path))],
        time_in_force=None if time_in_force is None else decode_time_in_force(time_in_force),
        quantity=require_decimal(message, "quantity", positive=True, path=path),
        price=optional_decimal(message, "price", positive=True, path=path),
        reduce_only=message.reduce_only,
        post_only=message.post_only,
        use_margin=message.use_margin,
        worst_price=optional_decimal(message, "worst_price", positive=True, path=path),
        slippage_bound_ratio=optional_decimal(
            message, "slippage_bound_ratio", positive=True, path=path
        ),
        fill_timeout=fill_timeout,
        order_class=None if order_class is None else decode_class(order_class),
    )


def decode_time_in_force(number: int) -> TimeInForce:
    """Return the domain's time in force of a known wire number."""
    name = types_pb2.TimeInForce.Name(types_pb2.TimeInForce.ValueType(number))
    return TimeInForce[name.removeprefix("TIME_IN_FORCE_")]


def decode_class(number: int) -> OrderClass:
    """Return the domain's order class of a known wire number."""
    name = types_pb2.OrderClass.Name(types_pb2.OrderClass.ValueType(number))
    return OrderClass[name.removeprefix("ORDER_CLASS_")]


def encode_order(state: OrderState, instrument: Instrument) -> resources_pb2.Order:
    """Return the wire form of an order's state; unknown figures stay absent."""
    order = resources_pb2.Order(
        order_id=to_order_number(state.exchange_order_id),
        client_order_id=state.client_order_id,
        symbol=state.symbol,
        side=_SIDE_TO_WIRE[state.side],
        type=_TYPE_TO_WIRE[state.type],
        price=decimal_to_proto(state.price),
        quantity=decimal_to_proto(state.quantity),
        executed_qty=decimal_to_proto(state.executed),
        avg_price=_limited(state.average_price),
        status=encode_status(state.status),
        update_time=0 if state.update_time is None else to_millis(state.update_time),
        trades=[encode_trade(fill, state.client_order_id) for fill in state.fills],
        exchange_order_id=state.exchange_order_id,
        fees=encode_fees(state),
        net_quantity=_limited(net_quantity(state, instrument)),
        cumulative_quote=_limited(state.cumulative_quote),
        time_in_force=encode_time_in_force(state.time_in_force),
        reduce_only=state.reduce_only,
        post_only=state.post_only,
        order_class=encode_class(state.order_class),
        use_margin=state.use_margin,
    )
    if state.create_time is not None:
        order.created_at.CopyFrom(to_timestamp(state.create_time))
    return order


def encode_update(
    state: OrderState,
    instrument: Instrument,
    exchange: str,
    *,
    last_fill: Fill | None = None,
    snapshot: bool = False,
    forced_fill: ForcedFill | None = None,
) -> events_pb2.OrderUpdate:
    """Return one row of the order stream."""
    update = events_pb2.OrderUpdate(
        exchange=exchange,
        order_id=to_order_number(state.exchange_order_id),
        client_order_id=state.client_order_id,
        symbol=state.symbol,
        side=_SIDE_TO_WIRE[state.side],
        type=_TYPE_TO_WIRE[state.type],
        status=encode_status(state.status),
        price=decimal_to_proto(state.price),
        quantity=decimal_to_proto(state.quantity),
        executed_qty=decimal_to_proto(state.executed),
        avg_price=_limited(state.average_price),
        update_time=0 if state.update_time is None else to_millis(state.update_time),
        exchange_order_id=state.exchange_order_id,
        fees=encode_fees(state),
        net_quantity=_limited(net_quantity(state, instrument)),
        cumulative_quote=_limited(state.cumulative_quote),
        time_in_force=encode_time_in_force(state.time_in_force),
        reduce_only=state.reduce_only,
        snapshot=snapshot,
    )
    if forced_fill is ForcedFill.LIQUIDATION:
        update.forced_fill = types_pb2.FORCED_FILL_LIQUIDATION
    elif forced_fill is ForcedFill.AUTO_DELEVERAGING:
        update.forced_fill = types_pb2.FORCED_FILL_AUTO_DELEVERAGING
    if last_fill is not None:
        update.last_trade.CopyFrom(encode_trade(last_fill, state.client_order_id))
    return update


def encode_trade(fill: Fill, client_order_id: str = "") -> resources_pb2.Trade:
    """Return the wire form of one execution."""
    trade = resources_pb2.Trade(
        trade_id=fill.trade_id,
        order_id=to_order_number(fill.exchange_order_id),
        symbol=fill.symbol,
        side=_SIDE_TO_WIRE[fill.side],
        price=_limited(fill.price),
        quantity=decimal_to_proto(fill.quantity),
        fee=_limited(fill.fee),
        fee_asset=fill.fee_asset or "",
        realized_pnl=_limited(fill.realized_pnl),
        exchange_order_id=fill.exchange_order_id,
        maker=fill.maker is True,
        client_order_id=fill.client_order_id or client_order_id,
    )
    if fill.time is not None:
        trade.timestamp.CopyFrom(to_timestamp(fill.time))
    return trade


def encode_fees(state: OrderState) -> list[resources_pb2.AssetAmount]:
    """Return the fees by asset; empty while they are not known."""
    return [
        resources_pb2.AssetAmount(asset=asset, amount=_limited(amount))
        for asset, amount in state.fees or ()
    ]


def encode_status(status: OrderStatus) -> types_pb2.OrderStatus.ValueType:
    """Return the wire's word for a status."""
    return _STATUS_TO_WIRE[status]


def encode_time_in_force(value: TimeInForce | None) -> types_pb2.TimeInForce.ValueType:
    """Return the wire's word for a time in force; unspecified when there is none."""
    if value is None:
        return types_pb2.TIME_IN_FORCE_UNSPECIFIED
    return _TIME_IN_FORCE_TO_WIRE[value]


def encode_class(value: OrderClass | None) -> types_pb2.OrderClass.ValueType:
    """Return the wire's word for an order class; unspecified when there is none."""
    if value is None:
        return types_pb2.ORDER_CLASS_UNSPECIFIED
    return _CLASS_TO_WIRE[value]


def encode_batch_error(
    index: int, client_order_id: str, message: str, code: int, reason: str
) -> exchange_pb2.BatchOrderError:
    """Return one row of a batch's errors."""
    return exchange_pb2.BatchOrderError(
        index=index,
        client_order_id=client_order_id,
        error_message=message,
        code=code,
        reason=reason,
    )


def _limited(value: Decimal | None) -> decimal_pb2.Decimal | None:
    # A venue may write more digits than the wire has: no order may become unreadable for that.
    return None if value is None else decimal_to_proto(limit_fraction(value))
