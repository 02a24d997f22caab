"""Complete views and plans of the engine, every field with a value of its own."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from services.engine.instruments import InstrumentKind, InstrumentRef, LegSide
from services.engine.orders import AssetAmount, OrderClass, OrderPlan, OrderSide, OrderState
from services.engine.views import (
    EngineMode,
    LegView,
    OrderView,
    PositionStatus,
    PositionView,
    StatusView,
    VenueView,
)

SPOT = InstrumentRef("binance", "BTCUSDT", InstrumentKind.SPOT)
PERPETUAL = InstrumentRef("binanceusdm", "BTCUSDT", InstrumentKind.PERPETUAL)
CREATED = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def order_view(**changes: Any) -> OrderView:
    """Return one order, complete."""
    view = OrderView(
        client_order_id="aorder1",
        leg=LegSide.SHORT,
        order_class=OrderClass.HEDGE,
        side=OrderSide.SELL,
        quantity=Decimal("0.5"),
        worst_price=Decimal("64000.1"),
        executed_quantity=Decimal("0.4"),
        net_quantity=Decimal("0.3996"),
        average_price=Decimal("64100.25"),
        fees=(AssetAmount("USDT", Decimal("10.5")), AssetAmount("BTC", Decimal("0.0004"))),
        state=OrderState.ENDED,
        create_time=CREATED,
        reason="nothing more to take",
    )
    return dataclasses.replace(view, **changes)


def leg_view(ref: InstrumentRef = SPOT, **changes: Any) -> LegView:
    """Return one leg, complete."""
    view = LegView(
        instrument=ref,
        quantity=Decimal("0.3996"),
        average_entry_price=Decimal("64100.25"),
        average_exit_price=Decimal("64200.5"),
        fees=(AssetAmount("BNB", Decimal("0.01")),),
        funding_received=Decimal("-1.25"),
        outcome_unknown=True,
    )
    return dataclasses.replace(view, **changes)


def position_view(**changes: Any) -> PositionView:
    """Return one hedged position, complete: no two figures are alike."""
    view = PositionView(
        position_id="position-1",
        revision=7,
        symbol="BTCUSDT",
        status=PositionStatus.CLOSING,
        long_leg=leg_view(SPOT),
        short_leg=leg_view(PERPETUAL, quantity=Decimal("-0.4"), outcome_unknown=False),
        lead_leg=LegSide.SHORT,
        lead_requested_quantity=Decimal("0.51"),
        lead_executed_quantity=Decimal("0.42"),
        lead_net_quantity=Decimal("0.41"),
        hedge_executed_quantity=Decimal("0.4"),
        residual_quantity=Decimal("-0.0004"),
        dust_quantity=Decimal("0.0003"),
        unhedged_time=timedelta(milliseconds=1_234),
        max_unhedged_notional=Decimal("25600.5"),
        dispatch_skew=timedelta(microseconds=350),
        funding_received=Decimal("-2.5"),
        fees_paid=Decimal("21.75"),
        trading_pnl=Decimal("12.125"),
        create_time=CREATED,
        update_time=CREATED + timedelta(seconds=1),
        close_time=CREATED + timedelta(seconds=2),
        state_reason="asked by an operator",
        opportunity_id="opportunity-9",
        orders=(order_view(), order_view(client_order_id="aorder2")),
    )
    return dataclasses.replace(view, **changes)


def status_view(**changes: Any) -> StatusView:
    """Return the state of an engine, complete."""
    view = StatusView(
        mode=EngineMode.HALTED,
        reason="the market is odd",
        mode_time=CREATED,
        reconciled=True,
        open_position_count=3,
        unknown_client_order_ids=("aorder1", "aorder2"),
        venues=(
            VenueView("binance", InstrumentKind.SPOT, reachable=True),
            VenueView(
                "binanceusdm", InstrumentKind.PERPETUAL, reachable=False, problem="no answer"
            ),
        ),
    )
    return dataclasses.replace(view, **changes)


def order_plan(**changes: Any) -> OrderPlan:
    """Return an order to send: a limit order, immediate-or-cancel."""
    plan = OrderPlan(
        client_order_id="aorder1",
        instrument=PERPETUAL,
        leg=LegSide.SHORT,
        order_class=OrderClass.EXIT,
        side=OrderSide.BUY,
        quantity=Decimal("0.5"),
        worst_price=Decimal("64000.1"),
        reduce_only=True,
        use_margin=False,
    )
    return dataclasses.replace(plan, **changes)
