"""Rules of exposure (I8 to I16): what may be open, for how long, and who may make it larger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from services.engine.events import (
    DustBooked,
    EntryIntended,
    Event,
    ExitRequested,
    OrderIntended,
    ReduceRequested,
)
from services.engine.instruments import InstrumentKind, LegSide
from services.engine.orders import OrderClass, OrderSide
from services.engine.position import opening_side
from services.engine.views import PositionView
from simulation.evidence import (
    Arrival,
    Execution,
    VenueBooks,
    Violation,
    intent_of,
    parse_name,
    rules_of,
)
from simulation.invariants_identity import Found, halted_since

_ZERO = Decimal(0)
_ENTRY = OrderClass.ENTRY


@dataclass(frozen=True, slots=True)
class NotionalLimits:
    """Limits that hold at every arrival, in quote asset; None leaves one out."""

    per_order: Decimal | None = None
    total: Decimal | None = None


def settled_is_neutral(view: PositionView, books: VenueBooks, step: Decimal) -> Found:
    """I8: a settled position's legs cancel by the venues' books, within a step and booked dust."""
    delta = books.net_delta(view.position_id)
    if abs(delta) < step + abs(view.dust_quantity):
        return []
    return [Violation("I8", f"{view.position_id} {view.status.value}: net delta {delta}")]


def exposure_within_clip(
    execution: Execution, books: VenueBooks, durable: Sequence[Event]
) -> Found:
    """I9: after a fill the net delta is at most the largest order of one leg, plus a lot.

    Not of an exit: its legs are driven in parallel, and none waits for the other.
    """
    name = parse_name(execution.client_order_id)
    intent = None if name is None else intent_of(durable, name.position_id)
    if name is None or intent is None or _is_exiting(books, name.position_id):
        return []
    if any((name.position_id, leg) in books.taken for leg in LegSide):
        # What a venue took by force is no order of ours.
        return []
    lot = max(intent.long_rules.lot_size, intent.short_rules.lot_size)
    clip = max(
        order.arrival.quantity for leg in LegSide for order in books.of_leg(name.position_id, leg)
    )
    delta = books.net_delta(name.position_id)
    if abs(delta) >= clip + lot:
        return [Violation("I9", f"net delta {delta} above the clip {clip}", execution.at)]
    entered = sum(o.executed for o in books.of_leg(name.position_id, intent.lead_leg, _ENTRY))
    if entered > intent.quantity:
        return [Violation("I9", f"entered {entered} of {intent.quantity}", execution.at)]
    return []


def hedge_follows_fills(arrival: Arrival, books: VenueBooks, durable: Sequence[Event]) -> Found:
    """I9: with this hedge, hedges never sum to more than the lead filled less what was unwound."""
    name = parse_name(arrival.client_order_id)
    intent = None if name is None else intent_of(durable, name.position_id)
    if name is None or intent is None or name.order_class is not OrderClass.HEDGE:
        return []
    hedged = abs(books.quantity(name.position_id, name.leg, OrderClass.HEDGE))
    lead = books.quantity(name.position_id, intent.lead_leg, _ENTRY, OrderClass.UNWIND)
    if hedged + _net(arrival, intent, name.leg) > abs(lead):
        return [Violation("I9", f"hedges more than the lead filled: {arrival}", arrival.at)]
    return []


def reduction_stays_within(arrival: Arrival, books: VenueBooks, durable: Sequence[Event]) -> Found:
    """I10, I15: an unwind or exit takes at most what the position holds of the leg, off it.

    On a perpetual it is reduce-only besides: the venue is the last guard against crossing zero.
    """
    name = parse_name(arrival.client_order_id)
    if name is None or name.order_class in (_ENTRY, OrderClass.HEDGE):
        return []
    intent = intent_of(durable, name.position_id)
    if intent is None:
        return []
    found: Found = []
    if arrival.side is opening_side(name.leg):
        found.append(Violation("I10", f"enlarges its leg: {arrival}", arrival.at))
    rules = rules_of(intent, name.leg)
    if rules.ref.kind is InstrumentKind.PERPETUAL and not arrival.reduce_only:
        found.append(Violation("I10", f"not reduce-only: {arrival}", arrival.at))
    held = abs(books.quantity(name.position_id, name.leg))
    if arrival.reduce_only and (name.position_id, name.leg) in books.taken:
        # It may have left before the venue took the position, and can open nothing.
        return found
    if _net(arrival, intent, name.leg) > held:
        found.append(Violation("I15", f"takes more than the {held} held: {arrival}", arrival.at))
    return found


def worst_case_within_limits(
    arrival: Arrival, books: VenueBooks, limits: NotionalLimits, price: Decimal
) -> Found:
    """I11, I12: with every live order counted as filled, an entry stays within the limits."""
    name = parse_name(arrival.client_order_id)
    if name is None or name.order_class is not _ENTRY:
        return []
    found: Found = []
    asked = arrival.quantity * (arrival.worst_price or price)
    if limits.per_order is not None and asked > limits.per_order:
        found.append(Violation("I12", f"order of {asked} above the limit: {arrival}", arrival.at))
    total = _worst_case(books, price) + asked
    if limits.total is not None and total > limits.total:
        found.append(Violation("I11", f"worst case {total} above the total limit", arrival.at))
    return found


def no_entry_while_halted(arrival: Arrival, durable: Sequence[Event]) -> Found:
    """I13: no entry arrives that was decided after a halt that is in force."""
    halt = halted_since(durable)
    name = parse_name(arrival.client_order_id)
    if halt is None or name is None or name.order_class is not _ENTRY:
        return []
    for event in durable:
        if isinstance(event, OrderIntended) and (
            event.plan.client_order_id == arrival.client_order_id and event.at > halt.at
        ):
            return [Violation("I13", f"entry after the halt: {arrival}", arrival.at)]
    return []


def dust_is_untradable(
    durable: Iterable[Event], untradable: Mapping[tuple[str, LegSide], Decimal]
) -> Found:
    """I8: what was given up as dust is less than its venue trades, of both legs together."""
    given: dict[tuple[str, LegSide], Decimal] = {}
    found: Found = []
    for event in durable:
        if isinstance(event, ExitRequested | ReduceRequested):
            # An exit takes up the dust of before together with the rest of its leg.
            given = {key: v for key, v in given.items() if key[0] != event.position_id}
        if not isinstance(event, DustBooked):
            continue
        key = event.position_id, event.leg
        given[key] = given.get(key, _ZERO) + event.quantity
        if abs(given[key]) >= untradable.get(key, abs(given[key]) + 1):
            found.append(Violation("I8", f"tradable rest given up: {event}"))
    return found


def exits_are_taken(refusals: Iterable[tuple[str, str]]) -> Found:
    """I14: no exit was refused; `refusals` are pairs of position and reason."""
    return [
        Violation("I14", f"exit of {position_id} refused: {reason}")
        for position_id, reason in refusals
    ]


def closed_is_flat(
    view: PositionView, books: VenueBooks, rests: Mapping[LegSide, Decimal]
) -> Found:
    """I16: a position that ended holds nothing on either leg but what its venue does not trade."""
    found: Found = []
    for leg in LegSide:
        held = books.quantity(view.position_id, leg)
        if view.status.is_final and abs(held) >= rests[leg]:
            text = f"{view.position_id} {view.status.value} holds {held} {leg.value}"
            found.append(Violation("I16", text))
    return found


def _is_exiting(books: VenueBooks, position_id: str) -> bool:
    return any(books.of_leg(position_id, leg, OrderClass.EXIT) for leg in LegSide)


def _net(arrival: Arrival, intent: EntryIntended, leg: LegSide) -> Decimal:
    fee = rules_of(intent, leg).base_fee_ratio if arrival.side is OrderSide.BUY else _ZERO
    return arrival.quantity * (1 - fee)


def _worst_case(books: VenueBooks, price: Decimal) -> Decimal:
    """Return the notional of all positions, the dearer leg each, what is live counted whole."""
    legs: dict[tuple[str, LegSide], Decimal] = {}
    prices: dict[tuple[str, LegSide], Decimal] = {}
    for key, order in books.orders.items():
        name = parse_name(key)
        if name is None:
            continue
        change = order.change
        if order.is_open and order.arrival.side is opening_side(name.leg):
            sign = 1 if order.arrival.side is OrderSide.BUY else -1
            change += sign * (order.arrival.quantity - order.executed)
        place = (name.position_id, name.leg)
        legs[place] = legs.get(place, _ZERO) + change
        prices[place] = order.arrival.worst_price or prices.get(place, price)
    dearer: dict[str, Decimal] = {}
    for place, quantity in legs.items():
        notional = abs(quantity + books.taken.get(place, _ZERO)) * prices[place]
        dearer[place[0]] = max(dearer.get(place[0], _ZERO), notional)
    return sum(dearer.values(), _ZERO)
