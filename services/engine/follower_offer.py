"""One opportunity as the strategy takes it: decoded, with the moment it was heard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from services.engine.instruments import InstrumentRef


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
