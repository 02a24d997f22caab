"""The strategy's mode and decisions as messages of engine.proto."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opensqt.market_maker.v1 import engine_pb2
from services.common.codec import decimal_to_proto, limit_fraction, require_enum
from services.common.time_codec import to_timestamp
from services.engine.command_codec import read_reason, request_id
from services.engine.commands import SwitchStrategyCommand
from services.engine.strategy_words import DecisionAction, StrategyMode

if TYPE_CHECKING:
    from services.engine.events import DecisionTaken

MODE_TO_WIRE = {
    StrategyMode.MANUAL: engine_pb2.STRATEGY_MODE_MANUAL,
    StrategyMode.ADVISE: engine_pb2.STRATEGY_MODE_ADVISE,
    StrategyMode.AUTO: engine_pb2.STRATEGY_MODE_AUTO,
}
MODE_FROM_WIRE = {wire: mode for mode, wire in MODE_TO_WIRE.items()}
ACTION_TO_WIRE = {
    DecisionAction.ENTER: engine_pb2.STRATEGY_ACTION_ENTER,
    DecisionAction.HOLD: engine_pb2.STRATEGY_ACTION_HOLD,
    DecisionAction.REDUCE: engine_pb2.STRATEGY_ACTION_REDUCE,
    DecisionAction.EXIT: engine_pb2.STRATEGY_ACTION_EXIT,
    DecisionAction.PASS: engine_pb2.STRATEGY_ACTION_PASS,
}


def switch_command(request: engine_pb2.SetStrategyModeRequest) -> SwitchStrategyCommand:
    """Decode a change of the mode; mode and reason are required."""
    require_enum(request, "mode")
    return SwitchStrategyCommand(
        request_id=request_id(request),
        mode=MODE_FROM_WIRE[request.mode],
        reason=read_reason(request.reason, required=True),
    )


def decision_to_proto(decision: DecisionTaken) -> engine_pb2.StrategyDecision:
    """Encode a decision with its figures."""
    notional = decision.notional
    message = engine_pb2.StrategyDecision(
        decide_time=to_timestamp(decision.at),
        mode=MODE_TO_WIRE[decision.mode],
        action=ACTION_TO_WIRE[decision.action],
        reason=decision.reason,
        symbol=decision.symbol,
        opportunity_id=decision.opportunity_id,
        revision=decision.revision,
        position_id=decision.position_id,
        notional=None if notional is None else decimal_to_proto(limit_fraction(notional)),
        detail=decision.text,
    )
    for figure in decision.figures:
        number = decimal_to_proto(limit_fraction(figure.value))
        message.figures[figure.name].CopyFrom(number)
    return message
