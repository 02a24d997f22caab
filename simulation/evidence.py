"""What a simulation is judged by: what the venues saw and did, never what a service remembers.

A world tells of arrivals, executions and endings as they happen; `VenueBooks` keeps them as the
venue's own books would. Quantities are base units, times virtual seconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache

from services.engine.events import EntryIntended
from services.engine.instruments import InstrumentRules, LegSide
from services.engine.order_ids import KEY_LENGTH
from services.engine.orders import OrderClass, OrderSide

_ZERO = Decimal(0)
_NAME = re.compile(r"(p[a-z0-9]{15})([ls])([ehux])([0-9a-z]{4})")
_LEGS = {"l": LegSide.LONG, "s": LegSide.SHORT}
_CLASSES = {
    "e": OrderClass.ENTRY,
    "h": OrderClass.HEDGE,
    "u": OrderClass.UNWIND,
    "x": OrderClass.EXIT,
}


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that did not hold: its number, what was seen, and when."""

    rule: str
    text: str
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class OrderName:
    """What a client order id says of its order."""

    position_id: str
    leg: LegSide
    order_class: OrderClass
    attempt: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """An order at the venue's door, before the venue judged it.

    `epoch` is that of the engine that sent it, `sent_at` when it left; None where nobody tells.
    """

    exchange: str
    client_order_id: str
    symbol: str
    side: OrderSide
    quantity: Decimal
    worst_price: Decimal | None
    reduce_only: bool
    at: float
    epoch: int | None = None
    sent_at: float | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """A fill the venue booked; `base_fee` is what it kept of the base coin."""

    exchange: str
    client_order_id: str
    quantity: Decimal
    base_fee: Decimal
    price: Decimal
    at: float


# Mutable: it fills and ends.
@dataclass(slots=True)
class BookedOrder:
    """One order in the venue's books; `refused` never traded."""

    arrival: Arrival
    executed: Decimal = _ZERO
    base_fee: Decimal = _ZERO
    is_open: bool = True
    refused: bool = False

    @property
    def change(self) -> Decimal:
        """What it changed the account's position by, signed, fees taken in the base coin off."""
        gross = self.executed if self.arrival.side is OrderSide.BUY else -self.executed
        return gross - self.base_fee


# Mutable: the books go on while the world runs.
@dataclass(slots=True)
class VenueBooks:
    """The orders of all venues by client order id, and how often each id came.

    `taken` is what a venue changed of a leg without an order of ours, signed: a forced closing.
    """

    orders: dict[str, BookedOrder] = field(default_factory=dict)
    arrival_counts: dict[str, int] = field(default_factory=dict)
    taken: dict[tuple[str, LegSide], Decimal] = field(default_factory=dict)

    def arrive(self, arrival: Arrival) -> None:
        """Book an order that came."""
        key = arrival.client_order_id
        self.arrival_counts[key] = self.arrival_counts.get(key, 0) + 1
        self.orders.setdefault(key, BookedOrder(arrival))

    def execute(self, execution: Execution) -> None:
        """Book a fill; raises KeyError for an order that never came."""
        order = self.orders[execution.client_order_id]
        order.executed += execution.quantity
        order.base_fee += execution.base_fee

    def take(self, position_id: str, leg: LegSide, change: Decimal) -> None:
        """Book what the venue changed of a leg by force."""
        key = position_id, leg
        self.taken[key] = self.taken.get(key, _ZERO) + change

    def end(self, client_order_id: str, *, refused: bool = False) -> None:
        """Book that an order can fill no more."""
        order = self.orders[client_order_id]
        order.is_open = False
        order.refused = refused

    def of_leg(self, position_id: str, leg: LegSide, *classes: OrderClass) -> list[BookedOrder]:
        """Return the orders of a leg, of these classes where any is named, as they came."""
        found = []
        for key, order in self.orders.items():
            name = parse_name(key)
            if name is None or (name.position_id, name.leg) != (position_id, leg):
                continue
            if not classes or name.order_class in classes:
                found.append(order)
        return found

    def quantity(self, position_id: str, leg: LegSide, *classes: OrderClass) -> Decimal:
        """Return what moved a leg, signed: orders (of these classes), and what was taken."""
        moved = sum((order.change for order in self.of_leg(position_id, leg, *classes)), _ZERO)
        return moved if classes else moved + self.taken.get((position_id, leg), _ZERO)

    def net_delta(self, position_id: str) -> Decimal:
        """Return the signed sum of both legs."""
        return sum((self.quantity(position_id, leg) for leg in LegSide), _ZERO)


@lru_cache(maxsize=4_096)
def parse_name(client_order_id: str) -> OrderName | None:
    """Return what an id says; None for one that the engine cannot have made."""
    match = _NAME.fullmatch(client_order_id)
    if match is None:
        return None
    key, leg, order_class, attempt = match.groups()
    return OrderName(key, _LEGS[leg], _CLASSES[order_class], int(attempt, 36))


def position_of(client_order_id: str) -> str:
    """Return the position an order belongs to by its id."""
    return client_order_id[:KEY_LENGTH]


def intent_of(events: Sequence[object], position_id: str) -> EntryIntended | None:
    """Return the durable intent of a position; None where there is none."""
    for event in events:
        if isinstance(event, EntryIntended) and event.position_id == position_id:
            return event
    return None


def rules_of(intent: EntryIntended, leg: LegSide) -> InstrumentRules:
    """Return the rules of a leg as the entry checked them."""
    return intent.long_rules if leg is LegSide.LONG else intent.short_rules
