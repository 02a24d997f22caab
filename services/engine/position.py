"""A hedged position as the fold of its journal events.

Folding is a join where the world may speak twice: observations of an order may be repeated, late or
out of order, and an exit request may cross a settlement in either order, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import TypeVar

from services.engine import events as ev
from services.engine.evolve import evolved
from services.engine.gone_record import GoneRecord, joined
from services.engine.instruments import InstrumentRules, LegSide
from services.engine.neutrality import residual, signed_change, tolerance
from services.engine.orders import (
    AssetAmount,
    OrderClass,
    OrderOutcome,
    OrderPlan,
    OrderSide,
    OrderState,
)
from services.engine.views import PositionStatus

_K = TypeVar("_K")
_V = TypeVar("_V")
_ZERO = Decimal(0)
_RESOLVED = frozenset({OrderState.ENDED, OrderState.REJECTED, OrderState.NOT_SENT})


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """One order with everything known of it; `pass_number` is the exit or reduce it served."""

    plan: OrderPlan
    create_time: datetime
    pass_number: int
    state: OrderState = OrderState.PENDING
    executed: Decimal = _ZERO
    net: Decimal = _ZERO
    average_price: Decimal | None = None
    fees: tuple[AssetAmount, ...] = ()
    cumulative_quote: Decimal | None = None
    update_time: datetime | None = None
    reason: str = ""
    retryable: bool = False

    @property
    def is_resolved(self) -> bool:
        """Whether nothing more is to be learned of it."""
        return self.state in _RESOLVED

    @property
    def change(self) -> Decimal:
        """What it changed its leg by so far, signed."""
        return signed_change(self.plan.side, self.executed, self.net)


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """What is to remain of each leg, unsigned, and how far its orders may go from the touch."""

    targets: Mapping[LegSide, Decimal]
    reason: str
    bound_ratio: Decimal | None = None
    is_final: bool = True


@dataclass(frozen=True, slots=True)
class Position:
    """State of one hedged position; made and changed by `fold` alone."""

    intent: ev.EntryIntended
    update_time: datetime
    revision: int
    orders: Mapping[str, OrderRecord] = field(default_factory=dict)
    status: PositionStatus = PositionStatus.OPENING
    exit: ExitRecord | None = None
    pass_number: int = 0
    entry_settled: bool = False
    was_open: bool = False
    dust: Mapping[LegSide, Decimal] = field(default_factory=dict)
    gone: Mapping[LegSide, GoneRecord] = field(default_factory=dict)
    # Of a short spot leg, in the coin that was borrowed; unsigned.
    interest: Decimal = _ZERO
    funding: Mapping[LegSide, AssetAmount] = field(default_factory=dict)
    unhedged_time: timedelta = timedelta(0)
    max_unhedged_notional: Decimal = _ZERO
    dispatch_skew: timedelta | None = None
    close_time: datetime | None = None
    reason: str = ""
    # What was traded and what is held of each leg, summed when first asked for: a decision asks
    # ten times.
    _sums: dict[LegSide, Decimal] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )
    _holdings: dict[LegSide, Decimal] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    @property
    def position_id(self) -> str:
        """Name of the position; also the key of its client order ids."""
        return self.intent.position_id

    @property
    def symbol(self) -> str:
        """Canonical symbol of both legs."""
        return self.intent.long_rules.ref.symbol

    @property
    def lead_leg(self) -> LegSide:
        """The leg that is traded first."""
        return self.intent.lead_leg

    @property
    def hedge_leg(self) -> LegSide:
        """The leg that follows the lead's fills."""
        return self.intent.lead_leg.other

    @property
    def larger_lot(self) -> Decimal:
        """The tolerance of neutrality."""
        return tolerance(self.intent.long_rules, self.intent.short_rules)

    @property
    def residual(self) -> Decimal:
        """Signed base quantity without a hedge, dust included."""
        return residual(self.quantity(LegSide.LONG), self.quantity(LegSide.SHORT))

    @property
    def total_dust(self) -> Decimal:
        """Signed base quantity booked as dust on both legs."""
        return sum(self.dust.values(), _ZERO)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is to be done: open and matched, closed or flat."""
        return self.status is PositionStatus.OPEN or self.status.is_final

    def rules(self, leg: LegSide) -> InstrumentRules:
        """Return the rules of a leg."""
        return self.intent.long_rules if leg is LegSide.LONG else self.intent.short_rules

    def quantity(self, leg: LegSide) -> Decimal:
        """Return the ledger quantity of a leg, signed, net of fees taken in the base coin.

        What a short spot leg owes counts with its interest.
        """
        traded, gone = self._traded(leg), self.gone_quantity(leg)
        return traded - gone if leg is LegSide.LONG else traded + gone

    def gone_quantity(self, leg: LegSide) -> Decimal:
        """Return the unsigned quantity that left a leg without an order of ours."""
        record = self.gone.get(leg)
        if record is None:
            return _ZERO
        traded = self._traded(leg) if leg is LegSide.LONG else -self._traded(leg)
        # A forced fill may take what the user had there too: ours ends at zero, never beyond.
        return min(record.total, max(traded, _ZERO))

    def held(self, leg: LegSide) -> Decimal:
        """Return a leg's quantity in its own direction, without booked dust.

        Below 0 where an order brought more than was needed and nobody has booked that yet: an
        account that pays its fees in another coin gets the whole of a buy that was grossed up.
        """
        known = self._holdings.get(leg)
        if known is None:
            signed = self.quantity(leg) - self.dust.get(leg, _ZERO)
            known = self._holdings[leg] = signed if leg is LegSide.LONG else -signed
        return known

    def of(
        self, leg: LegSide | None = None, order_class: OrderClass | None = None
    ) -> tuple[OrderRecord, ...]:
        """Return the orders of a leg and class, oldest first."""
        # No generator: one costs more than the few orders there are.
        return tuple(
            [
                r
                for r in self.orders.values()
                if (leg is None or r.plan.leg is leg)
                and (order_class is None or r.plan.order_class is order_class)
            ]
        )

    def unresolved(self, leg: LegSide | None = None) -> tuple[str, ...]:
        """Return the ids of orders whose outcome is not proven, oldest first."""
        return tuple(r.plan.client_order_id for r in self.of(leg) if not r.is_resolved)

    def next_attempt(self, leg: LegSide, order_class: OrderClass) -> int:
        """Return the number of the next order of a series."""
        return len(self.of(leg, order_class))

    def _traded(self, leg: LegSide) -> Decimal:
        known = self._sums.get(leg)
        if known is None:
            known = sum((r.change for r in self.orders.values() if r.plan.leg is leg), _ZERO)
            known -= self.interest if leg is LegSide.SHORT else _ZERO
            self._sums[leg] = known
        return known


def opening_side(leg: LegSide) -> OrderSide:
    """Return the side that makes a leg larger."""
    return OrderSide.BUY if leg is LegSide.LONG else OrderSide.SELL


def begin(event: ev.EntryIntended) -> Position:
    """Return the position an entry intent starts."""
    return Position(event, event.at, _micros(event.at))


def fold(position: Position, event: ev.PositionEvent) -> Position:
    """Return the position after one more event; a repeated entry intent changes nothing."""
    changed = _apply(position, event)
    if changed is position:
        return position
    # It is new and nobody else's yet: a second copy of all fields would double what a fold costs.
    object.__setattr__(changed, "update_time", max(position.update_time, event.at))
    # Micros of the event: a reload after a crash does not go back behind what watchers saw.
    revision = max(position.revision + 1, _micros(event.at))
    object.__setattr__(changed, "revision", revision)
    return changed


def fold_all(history: Iterable[ev.PositionEvent]) -> dict[str, Position]:
    """Return every position by its id.

    Raises ValueError for an event of a position without an intent: a broken journal.
    """
    positions: dict[str, Position] = {}
    for event in history:
        known = positions.get(event.position_id)
        if known is not None:
            positions[event.position_id] = fold(known, event)
        elif isinstance(event, ev.EntryIntended):
            positions[event.position_id] = begin(event)
        else:
            raise ValueError(f"event before the intent of position {event.position_id}")
    return positions


def _micros(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000 + at.microsecond


def _apply(position: Position, event: ev.PositionEvent) -> Position:
    match event:
        case ev.OrderIntended():
            return _intend(position, event)
        case ev.OrderObserved():
            return _order(position, event.outcome.client_order_id, lambda r: _join(r, event))
        case ev.OrderRejected() | ev.OrderUnknown() | ev.OrderNotSent():
            return _order(position, event.client_order_id, lambda r: _ended(r, event))
        case ev.ExitRequested() | ev.ReduceRequested():
            return _request(position, event)
        case ev.PositionSettled():
            return _settle(position, event)
        case ev.DustBooked():
            left = position.dust.get(event.leg, _ZERO) + event.quantity
            return replace(position, dust=_with(position.dust, event.leg, left))
        case ev.EntryMeasured():
            return replace(
                position,
                unhedged_time=position.unhedged_time + event.unhedged_time,
                max_unhedged_notional=max(
                    position.max_unhedged_notional, event.max_unhedged_notional
                ),
            )
        case ev.ExitDispatched():
            return replace(position, dispatch_skew=event.skew)
        case ev.FundingRead():
            if position.funding.get(event.leg) == event.total:
                return position
            return replace(position, funding=_with(position.funding, event.leg, event.total))
        case ev.EntryIntended():
            return position
        case ev.LegGone():
            return _lose(position, event)
        case ev.InterestCharged():
            is_new = event.total > position.interest
            return replace(position, interest=event.total) if is_new else position
        case ev.ExitResumed():
            return _resume(position, event)


def _intend(position: Position, event: ev.OrderIntended) -> Position:
    key = event.plan.client_order_id
    # A recovered hedge may be journaled twice; its fills must not be reset.
    if key in position.orders:
        return position
    record = OrderRecord(event.plan, event.at, position.pass_number)
    is_unwind = event.plan.order_class is OrderClass.UNWIND
    opening = position.status is PositionStatus.OPENING
    # It has traded nothing: what was summed of the legs holds on.
    return evolved(
        position,
        orders=_with(position.orders, key, record),
        status=PositionStatus.UNWINDING if is_unwind and opening else position.status,
    )


def _join(record: OrderRecord, event: ev.OrderObserved) -> OrderRecord:
    outcome: OrderOutcome = event.outcome
    # Closed is for ever: an older answer that overtakes the last one must not open it again.
    closed = outcome.closed or record.state is OrderState.ENDED
    state = OrderState.ENDED if closed else record.state
    # With equal fills the smaller net knows of a fee that the other did not know of yet.
    known_better = outcome.executed < record.executed or (
        outcome.executed == record.executed and outcome.net > record.net
    )
    if known_better:
        return evolved(record, state=state)
    return evolved(
        record,
        state=state,
        executed=outcome.executed,
        net=outcome.net,
        average_price=outcome.average_price,
        fees=outcome.fees,
        cumulative_quote=outcome.cumulative_quote,
        update_time=outcome.update_time or record.update_time,
        reason="" if closed else record.reason,
    )


def _ended(
    record: OrderRecord, event: ev.OrderRejected | ev.OrderUnknown | ev.OrderNotSent
) -> OrderRecord:
    # Evidence came first; a late word of doubt does not undo it.
    if record.is_resolved:
        return record
    match event:
        case ev.OrderRejected():
            return replace(
                record,
                state=OrderState.REJECTED,
                reason=event.reason,
                retryable=event.retryable,
            )
        case ev.OrderUnknown():
            return replace(record, state=OrderState.UNKNOWN, reason=event.reason)
        case ev.OrderNotSent():
            return replace(record, state=OrderState.NOT_SENT, reason="NOT_FOUND_AFTER_FENCE")


def _request(position: Position, event: ev.ExitRequested | ev.ReduceRequested) -> Position:
    closing = position.exit is not None and position.exit.is_final
    # A close is never replaced: a reduce after it would leave something open.
    if position.status.is_final or closing:
        return position
    if isinstance(event, ev.ExitRequested):
        targets = {LegSide.LONG: _ZERO, LegSide.SHORT: _ZERO}
        record = ExitRecord(MappingProxyType(targets), event.reason, event.bound_ratio)
        status = PositionStatus.CLOSING
    else:
        targets = {LegSide.LONG: event.long_target, LegSide.SHORT: event.short_target}
        if position.exit is not None:
            # Decided apart, folded in turn: neither may leave more than the other allows.
            targets = {leg: min(left, position.exit.targets[leg]) for leg, left in targets.items()}
        record = ExitRecord(MappingProxyType(targets), event.reason, is_final=False)
        status = PositionStatus.REDUCING
    return replace(
        position,
        exit=record,
        # Dust booked before may trade together with the rest of its leg: start from all of it.
        dust={},
        status=status,
        pass_number=position.pass_number + 1,
        reason=record.reason,
    )


def _settle(position: Position, event: ev.PositionSettled) -> Position:
    if position.status.is_final:
        return position
    opened = event.status is PositionStatus.OPEN
    settled = replace(position, entry_settled=True, was_open=position.was_open or opened)
    if opened and position.exit is not None and position.exit.is_final:
        # The exit was asked for while the entry (or a reduce) came to rest: the exit stands.
        return settled
    return replace(
        settled,
        status=event.status,
        exit=None if opened else position.exit,
        reason=event.reason,
        close_time=None if opened else event.at,
    )


def _lose(position: Position, event: ev.LegGone) -> Position:
    known = position.gone.get(event.leg, GoneRecord())
    record = joined(known, event.quantity, event.evidence, event.cause, event.price)
    if record == known:
        return position
    return replace(position, gone=_with(position.gone, event.leg, record))


def _resume(position: Position, event: ev.ExitResumed) -> Position:
    if not position.status.is_final:
        return position
    targets = MappingProxyType({LegSide.LONG: _ZERO, LegSide.SHORT: _ZERO})
    return replace(
        position,
        exit=ExitRecord(targets, event.reason),
        dust={},
        status=PositionStatus.CLOSING,
        pass_number=position.pass_number + 1,
        close_time=None,
        reason=event.reason,
    )


def _order(position: Position, key: str, change: Callable[[OrderRecord], OrderRecord]) -> Position:
    record = position.orders.get(key)
    if record is None:
        raise ValueError(f"outcome of an order without an intent: {key}")
    changed = change(record)
    if changed == record:
        return position
    return evolved(position, orders=_with(position.orders, key, changed), _sums={}, _holdings={})


def _with(mapping: Mapping[_K, _V], key: _K, value: _V) -> Mapping[_K, _V]:
    return MappingProxyType({**mapping, key: value})
