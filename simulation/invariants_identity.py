"""Rules of order identity and durability (I1 to I7), checked at every arrival or at rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.engine.events import (
    EngineHalted,
    EngineResumed,
    EntryIntended,
    Event,
    OrderIntended,
    OrderNotSent,
    OrderObserved,
    OrderRejected,
    PositionEvent,
)
from services.engine.orders import OrderClass
from services.engine.position import Position, begin, fold
from services.engine.pricing import is_within
from simulation.evidence import (
    Arrival,
    VenueBooks,
    Violation,
    intent_of,
    parse_name,
    position_of,
)

Found = list[Violation]


def one_order_per_id(arrival: Arrival, books: VenueBooks) -> Found:
    """I1: an id reaches the venues at most once, ever; `books` are those before the arrival."""
    if arrival.client_order_id in books.arrival_counts:
        return [Violation("I1", f"id sent again: {arrival.client_order_id}", arrival.at)]
    return []


def intent_before_order(arrival: Arrival, durable: Sequence[Event]) -> Found:
    """I2: the durable journal allows exactly this order, by its own row or by the entry's."""
    if any(isinstance(event, OrderIntended) and _is_of(arrival, event) for event in durable):
        return []
    name = parse_name(arrival.client_order_id)
    if name is not None and name.order_class is OrderClass.HEDGE:
        intent = intent_of(durable, name.position_id)
        if intent is not None and _is_allowed(arrival, intent):
            return []
    return [Violation("I2", f"sent without a durable intent: {arrival}", arrival.at)]


def one_attempt_at_a_time(arrival: Arrival, books: VenueBooks) -> Found:
    """I3: no order of a leg comes while another is live, and none after a later one of its series.

    Both mean that an attempt was begun before the one before it was proven to be over.
    """
    name = parse_name(arrival.client_order_id)
    if name is None:
        return []
    for order in books.of_leg(name.position_id, name.leg):
        other = parse_name(order.arrival.client_order_id)
        if other is None or other == name:
            continue
        overtaken = other.order_class is name.order_class and other.attempt > name.attempt
        if order.is_open or overtaken:
            text = f"{arrival.client_order_id} came beside {order.arrival.client_order_id}"
            return [Violation("I3", text, arrival.at)]
    return []


def absence_is_true(durable: Iterable[Event], books: VenueBooks) -> Found:
    """I4: what the journal calls refused or never arrived has no order that lives at a venue."""
    found: Found = []
    for event in durable:
        if isinstance(event, OrderNotSent | OrderRejected):
            order = books.orders.get(event.client_order_id)
            if order is not None and (order.executed > 0 or order.is_open):
                said = type(event).__name__
                found.append(Violation("I4", f"{said} of a live order {event.client_order_id}"))
    return found


def id_names_its_order(arrival: Arrival, durable: Sequence[Event]) -> Found:
    """I5: the id is of the engine's form and says position, leg and purpose of this very order."""
    name = parse_name(arrival.client_order_id)
    if name is None:
        return [Violation("I5", f"foreign id: {arrival.client_order_id}", arrival.at)]
    intent = intent_of(durable, name.position_id)
    if intent is None:
        return []
    rules = intent.long_rules if name.leg is name.leg.LONG else intent.short_rules
    if (rules.ref.exchange, rules.ref.symbol) != (arrival.exchange, arrival.symbol):
        return [Violation("I5", f"id of another leg: {arrival}", arrival.at)]
    return []


def newest_epoch_only(arrival: Arrival, granted: int) -> Found:
    """I6: an order of an engine whose epoch was superseded before it left reaches no venue."""
    if arrival.epoch is not None and arrival.epoch < granted:
        return [Violation("I6", f"epoch {arrival.epoch} under {granted}: {arrival}", arrival.at)]
    return []


def every_prefix_folds(durable: Sequence[Event]) -> Found:
    """I7: every prefix of the journal is a legal state, and an event folded twice adds nothing."""
    positions: dict[str, Position] = {}
    for index, event in enumerate(durable):
        if not isinstance(event, PositionEvent):
            continue
        known = positions.get(event.position_id)
        try:
            if known is None and isinstance(event, EntryIntended):
                positions[event.position_id] = begin(event)
                continue
            if known is None:
                return [Violation("I7", f"row {index} before its intent: {event}")]
            folded = fold(known, event)
        except ValueError as error:
            return [Violation("I7", f"row {index} does not fold: {error}")]
        if isinstance(event, OrderObserved) and fold(folded, event).orders != folded.orders:
            return [Violation("I7", f"row {index} folds twice: {event}")]
        positions[event.position_id] = folded
    return []


def halted_since(durable: Iterable[Event]) -> EngineHalted | None:
    """Return the halt in force by the durable journal; None while entries are allowed."""
    halt: EngineHalted | None = None
    for event in durable:
        if isinstance(event, EngineHalted):
            halt = halt or event
        elif isinstance(event, EngineResumed):
            halt = None
    return halt


def _is_of(arrival: Arrival, event: OrderIntended) -> bool:
    plan = event.plan
    return (
        plan.client_order_id,
        plan.instrument.exchange,
        plan.instrument.symbol,
        plan.side,
        plan.quantity,
        plan.worst_price,
        plan.reduce_only,
    ) == (
        arrival.client_order_id,
        arrival.exchange,
        arrival.symbol,
        arrival.side,
        arrival.quantity,
        arrival.worst_price,
        arrival.reduce_only,
    ) and event.position_id == position_of(arrival.client_order_id)


def _is_allowed(arrival: Arrival, intent: EntryIntended) -> bool:
    bounds = intent.hedge
    rules = intent.long_rules if bounds.leg is bounds.leg.LONG else intent.short_rules
    if bounds.widest_price is not None:
        priced = arrival.worst_price is not None and is_within(
            arrival.side, arrival.worst_price, bounds.widest_price
        )
    else:
        priced = True
    return (
        priced
        and arrival.exchange == rules.ref.exchange
        and arrival.side is bounds.side
        and arrival.quantity <= bounds.largest_quantity
    )
