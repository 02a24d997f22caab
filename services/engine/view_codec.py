"""Views of the engine as messages of engine.proto."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opensqt.market_maker.v1 import engine_pb2, instrument_pb2, resources_pb2
from services.common.codec import decimal_to_proto, limit_fraction
from services.common.time_codec import to_duration, to_timestamp
from services.engine import wire_enums as wire

if TYPE_CHECKING:
    from decimal import Decimal

    from google.type import decimal_pb2

    from services.engine.instruments import InstrumentRef
    from services.engine.orders import AssetAmount
    from services.engine.views import LegView, OrderView, PositionView, StatusView


def _number(value: Decimal | None) -> decimal_pb2.Decimal | None:
    # Averages and values in quote come from divisions: the wire carries 18 fraction digits of them.
    return None if value is None else decimal_to_proto(limit_fraction(value))


def ref_to_proto(ref: InstrumentRef) -> instrument_pb2.InstrumentRef:
    """Encode the name of an instrument."""
    return instrument_pb2.InstrumentRef(
        exchange=ref.exchange, symbol=ref.symbol, kind=wire.KIND_TO_WIRE[ref.kind]
    )


def _fees(fees: tuple[AssetAmount, ...]) -> list[resources_pb2.AssetAmount]:
    return [resources_pb2.AssetAmount(asset=f.asset, amount=_number(f.amount)) for f in fees]


def _leg(leg: LegView) -> engine_pb2.HedgedLeg:
    return engine_pb2.HedgedLeg(
        instrument=ref_to_proto(leg.instrument),
        quantity=_number(leg.quantity),
        average_entry_price=_number(leg.average_entry_price),
        average_exit_price=_number(leg.average_exit_price),
        fees=_fees(leg.fees),
        funding_received=_number(leg.funding_received),
        outcome_unknown=leg.outcome_unknown,
    )


def _order(order: OrderView) -> engine_pb2.PositionOrder:
    return engine_pb2.PositionOrder(
        client_order_id=order.client_order_id,
        leg=wire.LEG_TO_WIRE[order.leg],
        order_class=wire.CLASS_TO_WIRE[order.order_class],
        side=wire.SIDE_TO_WIRE[order.side],
        quantity=_number(order.quantity),
        worst_price=_number(order.worst_price),
        executed_quantity=_number(order.executed_quantity),
        net_quantity=_number(order.net_quantity),
        average_price=_number(order.average_price),
        fees=_fees(order.fees),
        state=wire.ORDER_STATE_TO_WIRE[order.state],
        create_time=to_timestamp(order.create_time),
        reason=order.reason,
    )


def position_to_proto(view: PositionView) -> engine_pb2.HedgedPosition:
    """Encode one position, complete."""
    return engine_pb2.HedgedPosition(
        position_id=view.position_id,
        revision=view.revision,
        symbol=view.symbol,
        state=wire.STATUS_TO_WIRE[view.status],
        long_leg=_leg(view.long_leg),
        short_leg=_leg(view.short_leg),
        lead_leg=wire.LEG_TO_WIRE[view.lead_leg],
        lead_requested_quantity=_number(view.lead_requested_quantity),
        lead_executed_quantity=_number(view.lead_executed_quantity),
        lead_net_quantity=_number(view.lead_net_quantity),
        hedge_executed_quantity=_number(view.hedge_executed_quantity),
        residual_quantity=_number(view.residual_quantity),
        dust_quantity=_number(view.dust_quantity),
        unhedged_time=to_duration(view.unhedged_time),
        max_unhedged_notional=_number(view.max_unhedged_notional),
        # Zero is a measurement; before an exit there is none.
        dispatch_skew=None if view.dispatch_skew is None else to_duration(view.dispatch_skew),
        funding_received=_number(view.funding_received),
        fees_paid=_number(view.fees_paid),
        trading_pnl=_number(view.trading_pnl),
        create_time=to_timestamp(view.create_time),
        update_time=to_timestamp(view.update_time),
        close_time=None if view.close_time is None else to_timestamp(view.close_time),
        state_reason=view.state_reason,
        opportunity_id=view.opportunity_id,
        orders=[_order(order) for order in view.orders],
    )


def status_to_proto(view: StatusView) -> engine_pb2.EngineStatus:
    """Encode the state of the engine as a whole."""
    return engine_pb2.EngineStatus(
        state=wire.MODE_TO_WIRE[view.mode],
        state_reason=view.reason,
        state_time=to_timestamp(view.mode_time),
        reconciled=view.reconciled,
        open_position_count=view.open_position_count,
        unknown_client_order_ids=view.unknown_client_order_ids,
        venues=[
            engine_pb2.VenueStatus(
                exchange=venue.exchange,
                kind=wire.KIND_TO_WIRE[venue.kind],
                reachable=venue.reachable,
                problem=venue.problem,
            )
            for venue in view.venues
        ],
    )
