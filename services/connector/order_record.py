"""One order in memory: what was asked, how far it is, and whoever waits for news of it."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.common.errors import Code, OpensqtError, RejectedError
from services.connector.order_calls import OrderKey
from services.connector.order_mapping import apply_intent, merge_states

if TYPE_CHECKING:
    from datetime import datetime

    from services.connector.instruments import Instrument
    from services.connector.order_types import OrderIntent, OrderState, VenueOrder


# Not frozen: it is the live state of one order, owned by the desk.
@dataclass(slots=True, eq=False)
class OrderRecord:
    """The desk's knowledge of one client order id.

    `state` is None while nothing is proven; `error` is the definite end of an order that never
    lived (refused, not sent, never arrived). `fence_end` is monotonic: before it "not found" means
    nothing. `sent_stamp` is when it was sent, by the venue's stamps; `acknowledged_id` the venue's
    order id from a reply that told no more; `dismissed` the orders whose trades are none of ours;
    `missing_since` (monotonic) from when on the venue has not known an order that it had.
    """

    client_order_id: str
    venue_client_id: str
    content_hash: str
    instrument: Instrument
    use_margin: bool = False
    intent: OrderIntent | None = None
    state: OrderState | None = None
    error: OpensqtError | None = None
    fence_end: float = math.inf
    sent_stamp: datetime | None = None
    acknowledged_id: str = ""
    dismissed: set[str] = field(default_factory=set)
    doubted: bool = False
    suspected: bool = False
    missing_since: float | None = None
    busy: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def exchange_order_id(self) -> str:
        """Return the venue's id of the order, empty until it is known."""
        known = "" if self.state is None else self.state.exchange_order_id
        return known or self.acknowledged_id

    @property
    def key(self) -> OrderKey:
        """Return how to name the order to the venue."""
        return OrderKey(
            self.instrument, self.venue_client_id, self.exchange_order_id, self.use_margin
        )

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will be learned: refused, or closed with all fees known."""
        return self.error is not None or (self.state is not None and self.state.is_confirmed)

    @property
    def is_answerable(self) -> bool:
        """Whether a caller can be told: finished, or resting at the venue."""
        if self.is_finished:
            return True
        resting = self.intent is not None and not self.intent.is_immediate
        return resting and self.state is not None and not self.state.is_closed

    def learn(self, seen: OrderState) -> bool:
        """Merge what the venue said; return whether anything changed."""
        # Binance takes a client id again once its order is closed: another order is not ours.
        if self.state is not None and _are_two(self.state, seen):
            return False
        # Once, on the first sight: later merges keep what only we know.
        if self.state is None and self.intent is not None:
            seen = apply_intent(seen, self.intent)
        merged = merge_states(self.state, seen)
        if merged == self.state:
            return False
        self.state = merged
        self.error = None
        self.announce()
        return True

    def fail(self, error: OpensqtError) -> None:
        """Record a definite end without an order."""
        self.error = error
        self.announce()

    def announce(self) -> None:
        """Wake everyone who waits for news."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_change(self, seconds: float) -> bool:
        """Wait for news at most so long; return whether there was any."""
        changed = self._changed
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await changed.wait()
        except TimeoutError:
            return False
        return True


def _are_two(known: OrderState, seen: OrderState) -> bool:
    return "" not in (known.exchange_order_id, seen.exchange_order_id) and (
        known.exchange_order_id != seen.exchange_order_id
    )


def is_about(record: OrderRecord, row: VenueOrder, instrument: Instrument) -> bool:
    """Whether a row that bears the record's client id or venue id is about its order."""
    known = "" if record.state is None else record.state.exchange_order_id
    same_order = "" in (known, row.exchange_order_id) or known == row.exchange_order_id
    return same_order and instrument.symbol == record.instrument.symbol


def write_refusal(error: OpensqtError) -> str:
    """Return a definite refusal as JSON for the ledger."""
    return json.dumps(
        {
            "message": error.message,
            "reason": error.reason,
            "code": error.code.value,
            "metadata": dict(error.metadata),
        }
    )


def read_refusal(text: str, client_order_id: str) -> RejectedError:
    """Return the refusal the ledger holds."""
    held = json.loads(text) if text else {}
    return RejectedError(
        held.get("message", "the order was refused"),
        reason=held.get("reason"),
        code=Code(held["code"]) if "code" in held else None,
        metadata={**held.get("metadata", {}), "clientOrderId": client_order_id},
    )


def not_arrived_error(client_order_id: str) -> RejectedError:
    """Return the end of an order that the venue does not know after the fence."""
    return RejectedError(
        "the venue does not know the order after its processing window, and no trade or position "
        "tells of it: nothing was executed; send again under a new client order id",
        reason="ORDER_NOT_ARRIVED",
        metadata={"clientOrderId": client_order_id},
    )
