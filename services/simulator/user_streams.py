"""Delivery of user stream messages, with the faults that make them late, double or out of order.

Sync: the WebSocket layer gives sinks, the tick calls `poll` for what was held back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from services.simulator.core.clock import millis
from services.simulator.core.events import Event, OrderEvent
from services.simulator.core.exchange import Exchange
from services.simulator.core.faults import (
    Action,
    Call,
    EventDuplicate,
    EventLate,
    EventReorder,
    Stage,
    StreamCut,
)
from services.simulator.core.orders import Product
from services.simulator.dialects import binance_spot_events, binance_usdm_events
from services.simulator.dialects.context import SPOT_VENUE, USDM_VENUE
from services.simulator.simulation import Simulation

Message = Mapping[str, object]
EventWriter = Callable[[Exchange, Event], Sequence[Message]]
# A reordered message goes out after the next one, or alone when none follows for this long.
REORDER_PATIENCE = timedelta(seconds=1)


def write_binance(exchange: Exchange, event: Event) -> Sequence[Message]:
    """Write an event down as Binance tells it, one message each."""
    if _product(event) is Product.PERPETUAL:
        return (binance_usdm_events.message(exchange, event),)
    return (binance_spot_events.message(exchange, event),)


# Compared by identity: written messages are kept under it.
@dataclass(frozen=True, slots=True, eq=False)
class StreamDialect:
    """How a family of venues tells events, and what its venues are called in fault rules."""

    venues: Mapping[Product, str]
    write: EventWriter


BINANCE_STREAM = StreamDialect(
    {
        Product.SPOT: SPOT_VENUE,
        Product.MARGIN: SPOT_VENUE,
        Product.PERPETUAL: USDM_VENUE,
    },
    write_binance,
)
Written = Mapping[StreamDialect, Sequence[Message]]


class Sink(Protocol):
    """One open user stream."""

    def send(self, message: Message) -> None:
        """Queue a message."""
        ...

    def cut(self) -> None:
        """Break the connection."""
        ...


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A sink with what it listens to; a listen key bounds its life on futures."""

    sink: Sink
    account: str
    product: Product
    listen_key: str | None = None
    dialect: StreamDialect = BINANCE_STREAM


@dataclass(frozen=True, slots=True)
class _Held:
    due: datetime
    account: str
    product: Product
    written: Written
    is_reordered: bool


class UserStreams:
    """Sends every event of the exchange to the streams of its account."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._subscribers: list[Subscriber] = []
        self._held: list[_Held] = []
        simulation.exchange.listeners.append(self.on_event)

    @property
    def count(self) -> int:
        """Return how many streams are open."""
        return len(self._subscribers)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Add a stream."""
        self._subscribers.append(subscriber)

    def subscribe_unified(self, sink: Sink, account: str, dialect: StreamDialect) -> None:
        """Add the one stream of a unified account: of spot and of perpetuals."""
        for product in (Product.SPOT, Product.PERPETUAL):
            self.subscribe(Subscriber(sink, account, product, dialect=dialect))

    def unsubscribe(self, sink: Sink) -> None:
        """Remove every subscription of a connection."""
        self._subscribers = [row for row in self._subscribers if row.sink is not sink]

    def cut_all(self) -> int:
        """Break every user stream and return how many there were."""
        rows, self._subscribers = self._subscribers, []
        for row in rows:
            row.sink.cut()
        return len(rows)

    def on_event(self, event: Event) -> None:
        """Write one event down as it is now and deliver it as the faults let it."""
        product = _product(event)
        dialects = [
            row.dialect
            for row in self._subscribers
            if row.account == event.account and row.product is product
        ]
        # unheard events must not use up the faults meant for heard ones
        if not dialects:
            return
        call = _call(event, dialects[0].venues[product])
        actions = self._simulation.faults.actions(Stage.EVENT, call)
        exchange = self._simulation.exchange
        written = {dialect: dialect.write(exchange, event) for dialect in dialects}
        self._deliver(event.account, product, written, actions)

    def poll(self) -> None:
        """Send what is due, and end the streams whose listen key has run out."""
        now = self._simulation.wire.now()
        if self._held:
            due = [row for row in self._held if row.due <= now]
            self._held = [row for row in self._held if row.due > now]
            for row in due:
                self._send(row.account, row.product, row.written)
        keys = self._simulation.listen_keys
        for subscriber in list(self._subscribers):
            key = subscriber.listen_key
            if key is not None and not keys.is_valid(key):
                # the venue keeps the socket open and says no more
                self._subscribers.remove(subscriber)
                subscriber.sink.send(binance_usdm_events.listen_key_expired(key, millis(now)))

    def _deliver(
        self, account: str, product: Product, written: Written, actions: list[Action]
    ) -> None:
        now = self._simulation.wire.now()
        # the first fault that withholds the message decides; a duplicate only adds
        copies = 1
        for action in actions:
            if isinstance(action, StreamCut):
                self._cut(account, product)
                return
            if isinstance(action, EventLate):
                due = now + timedelta(seconds=action.seconds)
                self._held.append(_Held(due, account, product, written, is_reordered=False))
                return
            if isinstance(action, EventReorder):
                due = now + REORDER_PATIENCE
                self._held.append(_Held(due, account, product, written, is_reordered=True))
                return
            if isinstance(action, EventDuplicate):
                copies = 2
        for _ in range(copies):
            self._send(account, product, written)
        self._release_reordered(account, product)

    def _release_reordered(self, account: str, product: Product) -> None:
        if not self._held:
            return
        mine = [
            row
            for row in self._held
            if row.is_reordered and row.account == account and row.product is product
        ]
        self._held = [row for row in self._held if row not in mine]
        for row in mine:
            self._send(account, product, row.written)

    def _send(self, account: str, product: Product, written: Written) -> None:
        for row in list(self._subscribers):
            if row.account == account and row.product is product:
                for message in written.get(row.dialect, ()):
                    row.sink.send(message)

    def _cut(self, account: str, product: Product) -> None:
        for row in list(self._subscribers):
            if row.account == account and row.product is product:
                # first out of the list: nothing is to be queued on a broken stream
                self.unsubscribe(row.sink)
                row.sink.cut()


def _product(event: Event) -> Product:
    return event.order.request.product if isinstance(event, OrderEvent) else event.product


def _call(event: Event, venue: str) -> Call:
    if isinstance(event, OrderEvent):
        request = event.order.request
        return Call(
            venue,
            "order_event",
            method=event.execution.value,
            symbol=request.symbol,
            side=request.side.value,
            reduce_only=request.reduce_only,
        )
    # a fault by symbol can only meet what names one; funding events do not
    symbol = event.positions[0][0] if event.positions else None
    return Call(venue, "wallet_event", method=event.reason.value, symbol=symbol)
