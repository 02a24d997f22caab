"""Which wire value stands for which word of the engine's core; the only table of each pair."""

from __future__ import annotations

from opensqt.market_maker.v1 import engine_pb2, instrument_pb2, types_pb2
from services.engine.instruments import InstrumentKind, LegSide, PositionMode
from services.engine.orders import OrderClass, OrderSide, OrderState
from services.engine.views import EngineMode, PositionStatus

KIND_TO_WIRE = {
    InstrumentKind.SPOT: instrument_pb2.INSTRUMENT_KIND_SPOT,
    InstrumentKind.PERPETUAL: instrument_pb2.INSTRUMENT_KIND_PERPETUAL,
}
KIND_FROM_WIRE = {wire: kind for kind, wire in KIND_TO_WIRE.items()}

LEG_TO_WIRE = {
    LegSide.LONG: engine_pb2.LEG_SIDE_LONG,
    LegSide.SHORT: engine_pb2.LEG_SIDE_SHORT,
}
LEG_FROM_WIRE = {wire: leg for leg, wire in LEG_TO_WIRE.items()}

SIDE_TO_WIRE = {
    OrderSide.BUY: types_pb2.ORDER_SIDE_BUY,
    OrderSide.SELL: types_pb2.ORDER_SIDE_SELL,
}

CLASS_TO_WIRE = {
    OrderClass.ENTRY: types_pb2.ORDER_CLASS_ENTRY,
    OrderClass.HEDGE: types_pb2.ORDER_CLASS_HEDGE,
    OrderClass.UNWIND: types_pb2.ORDER_CLASS_UNWIND,
    OrderClass.EXIT: types_pb2.ORDER_CLASS_EXIT,
}

ORDER_STATE_TO_WIRE = {
    OrderState.PENDING: engine_pb2.POSITION_ORDER_STATE_PENDING,
    OrderState.ENDED: engine_pb2.POSITION_ORDER_STATE_ENDED,
    OrderState.REJECTED: engine_pb2.POSITION_ORDER_STATE_REJECTED,
    # The wire has no word of its own for "never arrived": nothing was executed, as in a refusal.
    OrderState.NOT_SENT: engine_pb2.POSITION_ORDER_STATE_REJECTED,
    OrderState.UNKNOWN: engine_pb2.POSITION_ORDER_STATE_UNKNOWN,
}

STATUS_TO_WIRE = {
    PositionStatus.OPENING: engine_pb2.HEDGED_POSITION_STATE_OPENING,
    PositionStatus.OPEN: engine_pb2.HEDGED_POSITION_STATE_OPEN,
    PositionStatus.UNWINDING: engine_pb2.HEDGED_POSITION_STATE_UNWINDING,
    PositionStatus.REDUCING: engine_pb2.HEDGED_POSITION_STATE_REDUCING,
    PositionStatus.CLOSING: engine_pb2.HEDGED_POSITION_STATE_CLOSING,
    PositionStatus.CLOSED: engine_pb2.HEDGED_POSITION_STATE_CLOSED,
    PositionStatus.FLAT: engine_pb2.HEDGED_POSITION_STATE_FLAT,
}
STATUS_FROM_WIRE = {wire: status for status, wire in STATUS_TO_WIRE.items()}

MODE_TO_WIRE = {
    EngineMode.ACTIVE: engine_pb2.ENGINE_STATE_ACTIVE,
    EngineMode.REDUCING: engine_pb2.ENGINE_STATE_REDUCING,
    EngineMode.HALTED: engine_pb2.ENGINE_STATE_HALTED,
}

POSITION_MODE_FROM_WIRE = {
    types_pb2.POSITION_MODE_ONE_WAY: PositionMode.ONE_WAY,
    types_pb2.POSITION_MODE_HEDGE: PositionMode.HEDGE,
}

CLOSED_ORDER_STATUSES = frozenset(
    {
        types_pb2.ORDER_STATUS_FILLED,
        types_pb2.ORDER_STATUS_CANCELED,
        types_pb2.ORDER_STATUS_REJECTED,
        types_pb2.ORDER_STATUS_EXPIRED,
    }
)
"""Statuses after which nothing more can fill. How much filled is never read from the status."""
