"""One opportunity as the strategy takes it: decoded, with the moment it was heard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from opensqt.market_maker.v1 import instrument_pb2, opportunity_pb2
from services.common.codec import optional_decimal, require_decimal, require_text
from services.common.errors import InvalidFieldError
from services.common.time_codec import optional_duration, require_time
from services.engine import wire_enums as wire
from services.engine.instruments import InstrumentRef

_DEFAULT_HOLDING = timedelta(days=7)
MAX_CAVEATS = 32
"""Caveats that are kept of one opportunity; a stranger's list may be longer than any of ours."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A ranked pair of legs; APRs and costs are fractions of one leg's notional.

    `capacity_notional`, `current_apr` and `basis_ratio` are None where the scanner does not know
    them. `heard_at` is the engine's monotonic clock, `lifetime` what was left of it then: both
    together outlive no step of the wall clock.
    """

    opportunity_id: str
    revision: int
    symbol: str
    long_leg: InstrumentRef
    short_leg: InstrumentRef
    gross_apr: Decimal
    net_apr: Decimal
    round_trip_cost_ratio: Decimal
    current_apr: Decimal | None
    basis_ratio: Decimal | None
    capacity_notional: Decimal | None
    caveats: frozenset[str]
    expected_holding_time: timedelta
    expire_time: datetime
    heard_at: float
    lifetime: timedelta

    @property
    def legs(self) -> tuple[InstrumentRef, InstrumentRef]:
        """The leg to be long and the leg to be short."""
        return self.long_leg, self.short_leg

    @property
    def exit_cost_ratio(self) -> Decimal:
        """What getting out costs: half of the round trip, as a fraction of one leg's notional."""
        return self.round_trip_cost_ratio / 2


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
