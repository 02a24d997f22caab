"""Between the simulated venue and the judge: what the venue's core tells, as evidence."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from services.engine.event_codec import VERSION, decode_event
from services.engine.events import Event
from services.engine.orders import OrderSide
from services.simulator.core.events import Event as VenueEvent
from services.simulator.core.events import Execution as Told
from services.simulator.core.events import OrderEvent
from services.simulator.core.orders import Fill, OrderType, Product
from simulation.evidence import Arrival, Execution
from simulation.invariants import Judge
from simulation.transport import Sender

_ZERO = Decimal(0)
EXCHANGES: Final[Mapping[Product, str]] = {
    Product.SPOT: "binance",
    Product.MARGIN: "binance",
    Product.PERPETUAL: "binanceusdm",
}
"""The connector behind which each product is traded."""

_SIDES: Final = {1: OrderSide.BUY, -1: OrderSide.SELL}
_FORCED: Final = re.compile("adl_autoclose|autoclose-")
"""Ids of orders that are the venue's own."""

_ENDS: Final = (Told.CANCELED, Told.EXPIRED)


class DurableEvents:
    """The durable journal as events, each row decoded once: rows are only ever added."""

    def __init__(self, rows: Callable[[], list[tuple[str, str]]]) -> None:
        self._rows = rows
        self._events: list[Event] = []

    def __call__(self) -> list[Event]:
        """Return the events of all rows there are now."""
        rows = self._rows()
        for kind, body in rows[len(self._events) :]:
            self._events.append(decode_event(kind, VERSION, body))
        return self._events


class VenueWitness:
    """A listener of the venue's core; `now` is the virtual second."""

    def __init__(
        self,
        judge: Judge,
        now: Callable[[], float],
        senders: Mapping[str, Sender] = MappingProxyType({}),
    ) -> None:
        self._judge = judge
        self._now = now
        self._senders = senders
        self.traded: dict[tuple[str, str], Decimal] = {}

    def __call__(self, event: VenueEvent) -> None:
        """Tell the judge of an order's move; wallets speak for themselves at rest."""
        if not isinstance(event, OrderEvent):
            return
        request = event.order.request
        key = request.client_order_id
        if event.fill is not None:
            self.traded[EXCHANGES[request.product], request.symbol] = event.fill.price
        if event.execution is Told.CALCULATED and event.fill is not None:
            change = request.side.sign * event.fill.quantity
            self._judge.taken(EXCHANGES[request.product], request.symbol, change)
        elif _FORCED.match(key):
            return
        elif event.execution is Told.NEW:
            sender = self._senders.get(key)
            self._judge.arrived(
                Arrival(
                    exchange=EXCHANGES[request.product],
                    client_order_id=key,
                    symbol=request.symbol,
                    side=_SIDES[request.side.sign],
                    quantity=request.quantity or _ZERO,
                    worst_price=None if request.type is OrderType.MARKET else request.price,
                    reduce_only=request.is_reducing,
                    at=self._now(),
                    epoch=None if sender is None else sender.epoch or None,
                    sent_at=None if sender is None else sender.sent_at,
                )
            )
        elif event.fill is not None and key in self._judge.books.orders:
            self._judge.executed(self._execution(event.fill))
            if not event.order.status.is_open:
                self._judge.ended(key)
        elif event.execution in _ENDS:
            self._judge.ended(key)

    def _execution(self, fill: Fill) -> Execution:
        request = fill.request
        in_base = request.symbol.startswith(fill.fee_asset)
        return Execution(
            exchange=EXCHANGES[request.product],
            client_order_id=request.client_order_id,
            quantity=fill.quantity,
            base_fee=fill.fee if in_base else _ZERO,
            price=fill.price,
            at=self._now(),
        )
