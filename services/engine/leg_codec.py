"""Legs, orders and profits of the ledger as messages of position.proto."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from opensqt.market_maker.v1 import position_pb2, resources_pb2, types_pb2
from services.common.codec import decimal_to_proto, limit_fraction
from services.common.time_codec import to_millis, to_timestamp
from services.engine import wire_enums as wire
from services.engine.orders import OrderState

if TYPE_CHECKING:
    from datetime import datetime

    from google.type import decimal_pb2

    from services.engine.leg_rows import LegRow, SymbolProfit
    from services.engine.position import OrderRecord


def _number(value: Decimal | None) -> decimal_pb2.Decimal | None:
    return None if value is None else decimal_to_proto(limit_fraction(value))


def _millis(instant: datetime | None) -> int:
    return 0 if instant is None else to_millis(instant)


def leg_to_proto(row: LegRow) -> position_pb2.PositionData:
    """Encode a leg; its price now is not the ledger's to know."""
    return position_pb2.PositionData(
        symbol=row.ref.symbol,
        exchange=row.ref.exchange,
        quantity=_number(row.quantity),
        entry_price=_number(row.entry_price),
        realized_pnl=_number(row.realized_pnl),
        opened_at=_millis(row.open_time),
        updated_at=_millis(row.update_time),
    )


def order_to_proto(record: OrderRecord) -> resources_pb2.Order:
    """Encode an order; without a bound it is a market order."""
    plan = record.plan
    is_limit = plan.worst_price is not None
    return resources_pb2.Order(
        client_order_id=plan.client_order_id,
        symbol=plan.instrument.symbol,
        side=wire.SIDE_TO_WIRE[plan.side],
        type=types_pb2.ORDER_TYPE_LIMIT if is_limit else types_pb2.ORDER_TYPE_MARKET,
        price=_number(plan.worst_price),
        quantity=_number(plan.quantity),
        executed_qty=_number(record.executed),
        avg_price=_number(record.average_price),
        status=_status(record),
        created_at=to_timestamp(record.create_time),
        update_time=_millis(record.update_time),
        fees=[
            resources_pb2.AssetAmount(asset=f.asset, amount=_number(f.amount)) for f in record.fees
        ],
        net_quantity=_number(record.net) if record.executed > 0 else None,
        cumulative_quote=_number(record.cumulative_quote),
        time_in_force=_time_in_force(record),
        reduce_only=plan.reduce_only,
        post_only=plan.post_only,
        order_class=wire.CLASS_TO_WIRE[plan.order_class],
        use_margin=plan.use_margin,
    )


def profit_to_proto(profit: SymbolProfit) -> position_pb2.SymbolPnL:
    """Encode the realized profit of a symbol."""
    share = limit_fraction(Decimal(profit.winners) / profit.trades) if profit.trades else None
    return position_pb2.SymbolPnL(
        symbol=profit.symbol,
        realized_pnl=_number(profit.realized_pnl),
        num_trades=profit.trades,
        winning_trades=profit.winners,
        losing_trades=profit.losers,
        win_rate="" if share is None else format(share.normalize(), "f"),
    )


def _time_in_force(record: OrderRecord) -> types_pb2.TimeInForce.ValueType:
    if record.plan.worst_price is None:
        return types_pb2.TIME_IN_FORCE_UNSPECIFIED
    return types_pb2.TIME_IN_FORCE_GTX if record.plan.post_only else types_pb2.TIME_IN_FORCE_IOC


def _status(record: OrderRecord) -> types_pb2.OrderStatus.ValueType:
    """Return the status that the evidence proves; what filled is never read from it."""
    match record.state:
        case OrderState.UNKNOWN:
            return types_pb2.ORDER_STATUS_UNSPECIFIED
        case OrderState.REJECTED | OrderState.NOT_SENT:
            return types_pb2.ORDER_STATUS_REJECTED
        case OrderState.ENDED if record.executed < record.plan.quantity:
            return types_pb2.ORDER_STATUS_EXPIRED
        case OrderState.ENDED:
            return types_pb2.ORDER_STATUS_FILLED
    if record.executed > 0:
        return types_pb2.ORDER_STATUS_PARTIALLY_FILLED
    return types_pb2.ORDER_STATUS_NEW
