"""What the engine needs from outside and what it offers, as Protocols.

Adapters (gRPC gateway, scanner client, SQLite journal, watch hub, metrics) implement these; the
engine's core knows nothing else of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

from services.engine.commands import (
    CloseAllCommand,
    CloseCommand,
    HaltCommand,
    OpenCommand,
    ReduceCommand,
    ResumeCommand,
)
from services.engine.instruments import (
    Book,
    InstrumentKind,
    InstrumentRef,
    InstrumentRules,
    PositionMode,
)
from services.engine.leg_gone import ForcedFill
from services.engine.orders import OrderClass, OrderOutcome, OrderPlan
from services.engine.pockets import Holdings
from services.engine.views import PositionStatus, PositionView, StatusView

NOT_ARRIVED_REASON = "ORDER_NOT_ARRIVED"
"""Reason of a connector's word that an order was proven never to have reached the venue."""
NEVER_SENT_REASON = "ORDER_NEVER_SENT"
"""Reason of a connector's word that it has not sent such an order until now."""


@dataclass(frozen=True, slots=True)
class VenueProfile:
    """What a venue's connector says of itself.

    `fence` is the time after sending from which "not found" proves that an order never arrived;
    None at a venue that takes a request however late: no waiting proves anything there.
    `position_mode` is None for spot.
    """

    name: str
    kind: InstrumentKind
    fence: timedelta | None
    position_mode: PositionMode | None = None


@dataclass(frozen=True, slots=True)
class FundingPayment:
    """One funding payment of one symbol, signed: above 0 was received."""

    asset: str
    amount: Decimal
    settle_time: datetime
    payment_id: str


class VenueGateway(Protocol):
    """One venue account; a read raises `RetryableError` (or its child) where nobody answered."""

    @property
    def name(self) -> str:
        """Configured name of the venue."""
        ...

    @property
    def kind(self) -> InstrumentKind:
        """Kind of the venue's instruments."""
        ...

    async def profile(self) -> VenueProfile:
        """Read kind, position mode and fence; may be answered from memory after the first time."""
        ...

    async def rules(self, symbol: str, *, use_margin: bool) -> InstrumentRules:
        """Read the trading rules; raises `NotFoundError` for a symbol the venue does not list."""
        ...

    async def book(self, symbol: str, depth: int) -> Book:
        """Read the order book now, never from a cache."""
        ...

    async def place(self, plan: OrderPlan) -> OrderOutcome:
        """Send the order once and return when it is closed; never retries.

        Raises `RejectedError` or `RetryableError` where the answer proves that nothing was
        executed, `OutcomeUnknownError` for everything else: every transport error, deadline and
        broken answer included, since over a wire nothing proves that a call was not delivered.
        """
        ...

    async def cancel_order(
        self, symbol: str, client_order_id: str, *, use_margin: bool
    ) -> OrderOutcome | None:
        """Take a resting order back; its state afterwards, fills included, None where unread.

        Whatever it raises proves nothing: the order may rest on, have filled or have ended.
        """
        ...

    async def get_order(
        self, symbol: str, client_order_id: str, *, use_margin: bool
    ) -> OrderOutcome | None:
        """Read one order; None where the venue says it does not know the id (ORDER_NOT_FOUND).

        Raises `NotFoundError` (ORDER_NOT_ARRIVED, ORDER_NEVER_SENT) on the connector's own word of
        absence, `OutcomeUnknownError` while it does not know yet itself, and `RetryableError` where
        it cannot be asked.
        """
        ...

    async def position(self, symbol: str) -> Decimal:
        """Read the account's signed position in a perpetual (long above 0, both modes summed)."""
        ...

    async def free_balance(self, asset: str) -> Decimal:
        """Read what is free of an asset to trade with or to post as margin."""
        ...

    async def funding_payments(self, symbol: str, since: datetime) -> Sequence[FundingPayment]:
        """Read the funding payments from `since` (venue time) on, all pages."""
        ...

    async def holdings(self) -> Holdings:
        """Read everything the account holds, with one question whatever is on."""
        ...


@dataclass(frozen=True, slots=True)
class OpportunityLegs:
    """The two legs behind an opportunity id; `observe_time` is that of its oldest figure.

    `scan_id` names the scan that found it, empty where nobody says.
    """

    opportunity_id: str
    long_leg: InstrumentRef
    short_leg: InstrumentRef
    observe_time: datetime | None = None
    scan_id: str = ""


class OpportunitySource(Protocol):
    """Where opportunity ids are looked up: the scanner."""

    async def resolve(self, opportunity_id: str) -> OpportunityLegs:
        """Return the legs; raises `NotFoundError` (OPPORTUNITY_NOT_FOUND), `PreconditionError`
        (OPPORTUNITY_STALE, past its expire time) or `UnreachableError`.
        """
        ...


class PositionListener(Protocol):
    """Told of every change of a position, in order per position; must not block or raise."""

    def position_changed(self, view: PositionView) -> None:
        """Take the whole position after the change."""
        ...


class EngineObserver(Protocol):
    """Metrics of the core; must not block or raise."""

    def order_ended(
        self,
        exchange: str,
        order_class: OrderClass,
        outcome: str,
        seconds: float,
        position_id: str,
    ) -> None:
        """One order came back: outcome is one of filled, partial, zero, rejected, unknown."""
        ...

    def order_slipped(
        self, exchange: str, order_class: OrderClass, ratio: float, position_id: str
    ) -> None:
        """An opening order filled this much worse than it was decided by; below 0 is better."""
        ...

    def position_settled(
        self,
        status: PositionStatus,
        unhedged_seconds: float,
        residual_notional: Decimal,
        position_id: str,
    ) -> None:
        """A position came to rest: open, flat or closed."""
        ...

    def hedge_dispatched(self, seconds: float, position_id: str) -> None:
        """A hedge left this long after the lead's fill was known."""
        ...

    def exit_dispatched(self, skew_seconds: float, position_id: str) -> None:
        """The legs of an exit left with this time between the first and the last.

        Of several positions that left together the id is one's.
        """
        ...

    def unhedged_alarm(self, exchange: str) -> None:
        """An unknown order outlived the unhedged budget; entries in its symbol are stopped."""
        ...

    def entry_refused(self, reason: str) -> None:
        """An entry was refused before anything was sent."""
        ...

    def journal_written(self, seconds: float) -> None:
        """A durable write took this long."""
        ...

    def journal_failed(self) -> None:
        """A durable write failed: what needed it was not done and is tried again."""
        ...

    def engine_changed(self, status: StatusView) -> None:
        """Take the state as it is now: told at every switch and every few seconds."""
        ...


class EngineApi(Protocol):
    """The use cases; what the servicers call. Every error is of `services.common.errors`.

    Reasons of refusals: ENGINE_HALTED, ENGINE_NOT_RECONCILED, ENTRY_CHECKS_FAILED (metadata
    `failures`: reasons joined by commas; the message names them all), POSITION_STATE_INVALID,
    HEDGED_POSITION_NOT_FOUND, REQUEST_ID_REUSED, VENUE_NOT_CONFIGURED, FIELD_INVALID.
    """

    async def open(self, command: OpenCommand) -> PositionView:
        """Check, journal the intent and start the entry."""
        ...

    async def close(self, command: CloseCommand) -> PositionView:
        """Start the exit; a second close returns the closing position."""
        ...

    async def reduce(self, command: ReduceCommand) -> PositionView:
        """Start a proportional exit of both legs."""
        ...

    async def close_all(self, command: CloseAllCommand) -> tuple[PositionView, ...]:
        """Start the exit of every position that is not closed."""
        ...

    def get(self, position_id: str) -> PositionView:
        """Return one position; raises `NotFoundError` (HEDGED_POSITION_NOT_FOUND)."""
        ...

    def positions(self) -> tuple[PositionView, ...]:
        """Return all positions, newest first."""
        ...

    async def halt(self, command: HaltCommand) -> StatusView:
        """Stop opening; durable."""
        ...

    async def resume(self, command: ResumeCommand) -> StatusView:
        """Allow opening again and reset tripped breakers; durable."""
        ...

    def status(self) -> StatusView:
        """Return the engine's state now."""
        ...


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """What a venue told of one order as it happened, cumulative like an answer."""

    exchange: str
    symbol: str
    outcome: OrderOutcome


class OrderEvents(Protocol):
    """Changes of orders as the venues tell them: faster than answers, but never promised."""

    def follow(self, position_id: str, take: Callable[[OrderEvent], None]) -> None:
        """Hand every event of a position's orders to `take`, which must not block or raise."""
        ...

    def unfollow(self, position_id: str) -> None:
        """Stop handing them over."""
        ...

    def follow_rest(
        self, others: Callable[[OrderEvent], None], forced: Callable[[ForcedFill], None]
    ) -> None:
        """Hand over what no drive follows; neither may block or raise."""
        ...
