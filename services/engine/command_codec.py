"""Requests of engine.proto as commands; every bad field is named in the error."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from services.common.codec import optional_decimal, optional_enum, require_enum, require_text
from services.common.errors import InvalidFieldError
from services.engine import wire_enums as wire
from services.engine.commands import (
    CloseAllCommand,
    CloseCommand,
    HaltCommand,
    OpenCommand,
    ReduceCommand,
    ResumeCommand,
)
from services.engine.instruments import InstrumentRef, LegSide

if TYPE_CHECKING:
    from opensqt.market_maker.v1 import engine_pb2

MAX_REASON_LENGTH = 500
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ONE = Decimal(1)


def request_id(
    request: engine_pb2.OpenHedgedPositionRequest
    | engine_pb2.CloseHedgedPositionRequest
    | engine_pb2.ReduceHedgedPositionRequest
    | engine_pb2.CloseAllHedgedPositionsRequest
    | engine_pb2.HaltRequest
    | engine_pb2.ResumeRequest
    | engine_pb2.SetStrategyModeRequest,
) -> str:
    """Read the required UUID; raises InvalidFieldError for anything else."""
    text = request.request_id
    if not _UUID.fullmatch(text):
        raise InvalidFieldError("request_id", "must be a UUID chosen by the caller")
    # One caller's upper-case UUID must meet its own lower-case repeat.
    return text.lower()


def read_reason(text: str, *, required: bool) -> str:
    """Read the words that say why; raises InvalidFieldError for control characters and novels."""
    if required and not text.strip():
        raise InvalidFieldError("reason", "say why; it is kept in the journal")
    # It goes to the journal, the logs and other people's terminals: no control characters, no
    # novels.
    if len(text) > MAX_REASON_LENGTH or not text.isprintable():
        raise InvalidFieldError(
            "reason", f"must be printable text of at most {MAX_REASON_LENGTH} characters"
        )
    return text


def _leg(
    request: engine_pb2.OpenHedgedPositionRequest, field: Literal["long_leg", "short_leg"]
) -> InstrumentRef | None:
    if not request.HasField(field):
        return None
    ref = request.long_leg if field == "long_leg" else request.short_leg
    path = f"{field}."
    require_enum(ref, "kind", path=path)
    return InstrumentRef(
        exchange=require_text(ref, "exchange", path=path),
        symbol=require_text(ref, "symbol", path=path),
        kind=wire.KIND_FROM_WIRE[ref.kind],
    )


def _slippage_bound(
    request: engine_pb2.OpenHedgedPositionRequest | engine_pb2.CloseHedgedPositionRequest,
) -> Decimal | None:
    bound = optional_decimal(request, "slippage_bound_ratio", positive=True)
    # A caller who means 0.2 percent and writes 20 would sell for nothing.
    if bound is not None and bound >= _ONE:
        raise InvalidFieldError("slippage_bound_ratio", "is a fraction below 1, as 0.002")
    return bound


def open_command(request: engine_pb2.OpenHedgedPositionRequest) -> OpenCommand:
    """Decode an entry: an opportunity or both legs, sized by notional or by quantity."""
    long_leg, short_leg = _leg(request, "long_leg"), _leg(request, "short_leg")
    opportunity_id = require_text(request, "opportunity_id") if request.opportunity_id else ""
    # Two answers to one question: whichever we took, the caller may have meant the other.
    if opportunity_id and (long_leg or short_leg):
        raise InvalidFieldError("opportunity_id", "give either the opportunity or both legs")
    if not opportunity_id and not (long_leg and short_leg):
        missing = "short_leg" if long_leg else "long_leg"
        raise InvalidFieldError(missing, "give an opportunity_id, or both legs")
    notional = optional_decimal(request, "notional", positive=True)
    quantity = optional_decimal(request, "quantity", positive=True)
    if (notional is None) == (quantity is None):
        raise InvalidFieldError("notional", "give either notional or quantity")
    lead = optional_enum(request, "lead_leg")
    return OpenCommand(
        request_id=request_id(request),
        opportunity_id=opportunity_id,
        long_leg=long_leg,
        short_leg=short_leg,
        notional=notional,
        quantity=quantity,
        slippage_bound_ratio=_slippage_bound(request),
        lead_leg=None if lead is None else _lead(lead),
        validate_only=request.validate_only,
    )


def _lead(number: int) -> LegSide:
    return next(leg for leg, value in wire.LEG_TO_WIRE.items() if value == number)


def close_command(request: engine_pb2.CloseHedgedPositionRequest) -> CloseCommand:
    """Decode an exit."""
    return CloseCommand(
        request_id=request_id(request),
        position_id=require_text(request, "position_id"),
        slippage_bound_ratio=_slippage_bound(request),
    )


def reduce_command(request: engine_pb2.ReduceHedgedPositionRequest) -> ReduceCommand:
    """Decode a reduction: a quantity of both legs or a share of the position."""
    quantity = optional_decimal(request, "quantity", positive=True)
    ratio = optional_decimal(request, "ratio", positive=True)
    if (quantity is None) == (ratio is None):
        raise InvalidFieldError("ratio", "give either quantity or ratio")
    if ratio is not None and ratio > _ONE:
        raise InvalidFieldError("ratio", "is a share above 0 and at most 1")
    return ReduceCommand(
        request_id=request_id(request),
        position_id=require_text(request, "position_id"),
        quantity=quantity,
        ratio=ratio,
    )


def close_all_command(request: engine_pb2.CloseAllHedgedPositionsRequest) -> CloseAllCommand:
    """Decode the exit of everything."""
    return CloseAllCommand(
        request_id=request_id(request), reason=read_reason(request.reason, required=False)
    )


def halt_command(request: engine_pb2.HaltRequest) -> HaltCommand:
    """Decode a halt; the reason is required."""
    return HaltCommand(
        request_id=request_id(request), reason=read_reason(request.reason, required=True)
    )


def resume_command(request: engine_pb2.ResumeRequest) -> ResumeCommand:
    """Decode a resume; the reason is required."""
    return ResumeCommand(
        request_id=request_id(request), reason=read_reason(request.reason, required=True)
    )
