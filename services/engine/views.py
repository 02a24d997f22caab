"""Read models of the engine: what the API shows of positions, orders and the engine itself.

Absent (None) means unknown, never zero. Quantities in base units, money in the quote asset.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from services.engine.instruments import InstrumentKind, InstrumentRef, LegSide
from services.engine.orders import AssetAmount, OrderClass, OrderSide, OrderState


class PositionStatus(StrEnum):
    """Where a hedged position stands; the values are those of HedgedPositionState."""

    OPENING = "opening"
    OPEN = "open"
    UNWINDING = "unwinding"
    REDUCING = "reducing"
    CLOSING = "closing"
    CLOSED = "closed"
    FLAT = "flat"

    @property
    def is_final(self) -> bool:
        """Whether no leg is on any more (but booked dust)."""
        return self in (PositionStatus.CLOSED, PositionStatus.FLAT)


class EngineMode(StrEnum):
    """State of the engine as a whole; the values are those of EngineState."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"


@dataclass(frozen=True, slots=True)
class OrderView:
    """One order of a position. `average_price` is None without a fill."""

    client_order_id: str
    leg: LegSide
    order_class: OrderClass
    side: OrderSide
    quantity: Decimal
    worst_price: Decimal | None
    executed_quantity: Decimal
    net_quantity: Decimal
    average_price: Decimal | None
    fees: tuple[AssetAmount, ...]
    state: OrderState
    create_time: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LegView:
    """One leg: `quantity` is the ledger's, signed, net of fees taken in the base coin."""

    instrument: InstrumentRef
    quantity: Decimal
    average_entry_price: Decimal | None
    average_exit_price: Decimal | None
    fees: tuple[AssetAmount, ...]
    funding_received: Decimal | None
    outcome_unknown: bool

    @property
    def takes_funding(self) -> bool:
        """Whether the leg ever held a perpetual."""
        is_perpetual = self.instrument.kind is InstrumentKind.PERPETUAL
        return is_perpetual and self.average_entry_price is not None


@dataclass(frozen=True, slots=True)
class PositionView:
    """One hedged position, complete.

    `lead_net_quantity` is what was to be hedged; `residual_quantity` the signed sum of both legs;
    `dispatch_skew` is None before a parallel exit; `trading_pnl` None until closed; `fees_paid`
    None where a fee is in an asset that cannot be valued; `funding_received` None where that of a
    leg was not read, or cannot be valued. `orders` are the newest few hundred.
    """

    position_id: str
    revision: int
    symbol: str
    status: PositionStatus
    long_leg: LegView
    short_leg: LegView
    lead_leg: LegSide
    lead_requested_quantity: Decimal
    lead_executed_quantity: Decimal
    lead_net_quantity: Decimal
    hedge_executed_quantity: Decimal
    residual_quantity: Decimal
    dust_quantity: Decimal
    unhedged_time: timedelta
    max_unhedged_notional: Decimal
    dispatch_skew: timedelta | None
    funding_received: Decimal | None
    fees_paid: Decimal | None
    trading_pnl: Decimal | None
    create_time: datetime
    update_time: datetime
    close_time: datetime | None
    state_reason: str
    opportunity_id: str
    orders: tuple[OrderView, ...]

    @property
    def made(self) -> Decimal | None:
        """What an ended position made: trading less fees, and funding; None where one is unknown.

        Without a fill on a perpetual there is no funding to be told of.
        """
        if self.trading_pnl is None or self.fees_paid is None:
            return None
        funding = self.funding_received
        if funding is None:
            if any(leg.takes_funding for leg in (self.long_leg, self.short_leg)):
                return None
            funding = Decimal(0)
        return self.trading_pnl - self.fees_paid + funding


@dataclass(frozen=True, slots=True)
class VenueView:
    """One venue as the engine sees it; `problem` is what went wrong last, else empty."""

    exchange: str
    kind: InstrumentKind
    reachable: bool
    problem: str = ""


@dataclass(frozen=True, slots=True)
class StatusView:
    """The engine as a whole. `reconciled` is false until start-up recovery is done."""

    mode: EngineMode
    reason: str
    mode_time: datetime
    reconciled: bool
    open_position_count: int
    unknown_client_order_ids: tuple[str, ...]
    venues: tuple[VenueView, ...]
