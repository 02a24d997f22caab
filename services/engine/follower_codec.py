"""Opportunities of the scanner's messages as offers; every bad field is named in the error."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from opensqt.market_maker.v1 import instrument_pb2, opportunity_pb2
from services.common.codec import optional_decimal, require_decimal, require_text
from services.common.errors import InvalidFieldError
from services.common.time_codec import optional_duration, require_time
from services.engine import wire_enums as wire
from services.engine.follower_offer import Offer
from services.engine.instruments import InstrumentRef

_DEFAULT_HOLDING = timedelta(days=7)
MAX_CAVEATS = 32
"""Caveats that are kept of one opportunity; a stranger's list may be longer than any of ours."""


def decode_offer(message: opportunity_pb2.Opportunity, now: datetime, heard_at: float) -> Offer:
    """Return the offer; raises InvalidFieldError for one that cannot be traded on as it is."""
    expire_time = require_time(message, "expire_time")
    holding = optional_duration(message, "expected_holding_time", positive=True)
    if message.revision <= 0:
        raise InvalidFieldError("revision", "must be greater than zero")
    return Offer(
        opportunity_id=require_text(message, "opportunity_id"),
        revision=message.revision,
        symbol=require_text(message, "symbol"),
        long_leg=_leg(message.long_leg, "long_leg."),
        short_leg=_leg(message.short_leg, "short_leg."),
        gross_apr=require_decimal(message, "gross_apr"),
        net_apr=require_decimal(message, "net_apr"),
        round_trip_cost_ratio=require_decimal(message, "round_trip_cost_ratio", minimum=Decimal(0)),
        current_apr=optional_decimal(message, "current_apr"),
        basis_ratio=optional_decimal(message, "basis_ratio"),
        capacity_notional=optional_decimal(message, "capacity_notional", minimum=Decimal(0)),
        caveats=frozenset(message.caveats[:MAX_CAVEATS]),
        expected_holding_time=holding or _DEFAULT_HOLDING,
        expire_time=expire_time,
        heard_at=heard_at,
        lifetime=expire_time - now,
    )


def _leg(ref: instrument_pb2.InstrumentRef, path: str) -> InstrumentRef:
    kind = wire.KIND_FROM_WIRE.get(ref.kind)
    if kind is None:
        raise InvalidFieldError(f"{path}kind", "is required")
    return InstrumentRef(
        require_text(ref, "exchange", path=path), require_text(ref, "symbol", path=path), kind
    )
