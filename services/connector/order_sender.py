"""Send an order: what comes before it leaves, the sending, and what the reply proves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from services.common.errors import AlreadyExistsError, NotFoundError, OpensqtError
from services.common.logs import get_logger
from services.common.tracing import traced
from services.connector.ledger import LedgerRow, Phase
from services.connector.order_mapping import matches_intent, to_state
from services.connector.order_outcome import write_outcome
from services.connector.order_record import OrderRecord, write_refusal
from services.connector.order_request import build_intent
from services.connector.order_restore import to_ledger_row
from services.connector.profile import Priority
from services.connector.rate_budget import CALL_DEADLINE
from services.connector.send_judgement import Verdict
from services.connector.sent_before import SentBefore
from services.connector.venue_orders import SENDER, order_priority

if TYPE_CHECKING:
    from services.connector.connector_metrics import ConnectorMetrics
    from services.connector.ledger import Ledger
    from services.connector.limits_gate import OrderGate
    from services.connector.order_request import OrderRequest
    from services.connector.order_types import OrderIntent
    from services.connector.record_shelf import RecordShelf
    from services.connector.venue import Venue
    from services.connector.venue_orders import VenueOrders
    from services.connector.venue_stamps import VenueStamps

_logger = get_logger(__name__)
_FEW_ORDERS: Final = 2
"""From so many on the wire on rows go to the ledger's thread, which groups what comes meanwhile."""


class OrderSender:
    """Takes an order from its request to the end of its one sending."""

    def __init__(
        self,
        venue: Venue,
        orders: VenueOrders,
        ledger: Ledger,
        stamps: VenueStamps,
        shelf: RecordShelf,
        metrics: ConnectorMetrics,
        gate: OrderGate | None,
    ) -> None:
        self._venue = venue
        self._orders = orders
        self._ledger = ledger
        self._stamps = stamps
        self._shelf = shelf
        self._metrics = metrics
        self._gate = gate
        self.sent_before = SentBefore(venue, orders, ledger)
        self._on_wire = 0

    async def prepare(self, record: OrderRecord, request: OrderRequest) -> LedgerRow | None:
        """Decide what is sent and write its row durably; return the row that has the id already.

        A record that has a state afterwards is at the venue already. Raises errors of the common
        tree when the order must not be sent; nothing was then.
        """
        try:
            return await self._prepare(record, request)
        except OpensqtError:
            # The repeat of an order that was sent must not be told that nothing was.
            known = await self._ledger.find(record.client_order_id)
            if known is None or known.phase is Phase.NOT_SENT:
                raise
            return _same_content(known, record)

    async def _prepare(self, record: OrderRecord, request: OrderRequest) -> LedgerRow | None:
        best = None
        if request.slippage_bound_ratio is not None:
            best = await self._orders.best_opposite_price(record.instrument, request.side)
        intent = build_intent(request, record.instrument, record.client_order_id, best)
        record.intent = intent
        priority = order_priority(intent)
        if request.client_order_id:
            await self._adopt_sent_before(record, intent, priority)
        # Last before the ledger: an order that the venue has already is not judged anew.
        if self._gate is not None and record.state is None:
            sent = await self._gate.admit(record, intent, self._shelf)
            if sent is not None:
                return _same_content(sent, record)
        row = to_ledger_row(
            record, intent, venue=self._venue.profile.code, now=self._venue.clock.now()
        )
        record.sent_stamp = self._stamps.now()
        # After all waits but the row's own: who is overtaken while it waits must not send.
        if request.sender is not None and record.state is None:
            request.sender.check()
        SENDER.set(request.sender)
        # From here on a crash leaves a row that the next start asks the venue about.
        with traced("ledger_write"):
            known = await self._ledger.record(
                row, urgent=priority is Priority.EXIT, brief=self._on_wire < _FEW_ORDERS
            )
        return None if known is None else _same_content(known, record)

    async def _adopt_sent_before(
        self, record: OrderRecord, intent: OrderIntent, priority: Priority
    ) -> None:
        """Adopt the order that the venue has under the caller's id, if any, instead of sending."""
        row = await self.sent_before.find(record, priority)
        if row is None:
            return
        if not matches_intent(row, intent, record.instrument):
            raise other_content_error(record.client_order_id)
        _logger.warning("order_adopted", client_order_id=record.client_order_id)
        record.learn(to_state(row, record.instrument, record.client_order_id))

    async def send(self, record: OrderRecord) -> None:
        """Send the order, once, and take into the record what the reply proves."""
        intent = _require_intent(record)
        started = self._venue.clock.monotonic()
        self._on_wire += 1
        try:
            with traced("venue_call", exchange=self._venue.name):
                result = await self._orders.place(intent, record.instrument, record.venue_client_id)
        finally:
            self._on_wire -= 1
            # Whatever came out of the sending, until then "not found" says nothing.
            record.fence_end = self.fence_end()
        seconds = self._venue.clock.monotonic() - started
        self._metrics.count_order(result.verdict.value, seconds)
        # What follows is the process's own errand: the caller's deadline bounds it no more.
        CALL_DEADLINE.set(None)
        if result.verdict is Verdict.ACCEPTED and result.row is not None:
            # A row under another id is no evidence about this order.
            if result.row.client_order_id in ("", record.venue_client_id):
                seen = to_state(result.row, record.instrument, record.client_order_id)
                self._stamps.observe(seen.update_time)
                record.learn(seen)
        elif result.exchange_order_id:
            record.acknowledged_id = result.exchange_order_id
            self._shelf.index(record)
            await write_outcome(self._ledger, record, Phase.OPEN)
        elif result.verdict is Verdict.UNKNOWN:
            _logger.warning(
                "order_outcome_unknown", client_order_id=record.client_order_id, note=result.note
            )
            record.doubted = True
        elif result.error is not None and record.state is None:
            # With a state the stream has shown the order alive, whatever the reply says.
            await self._end_without_order(record, result.verdict, result.error)

    async def _end_without_order(
        self, record: OrderRecord, verdict: Verdict, error: OpensqtError
    ) -> None:
        phase = Phase.NOT_SENT if verdict is Verdict.NOT_SENT else Phase.REJECTED
        await write_outcome(self._ledger, record, phase, refusal=write_refusal(error))
        if record.state is not None:
            # The stream spoke while the row was written, and it has seen the order.
            return
        record.fail(error)
        if phase is Phase.NOT_SENT:
            self._shelf.remove(record)

    def fence_end(self) -> float:
        """Return from when on "not found" proves something, on the monotonic clock; maybe never."""
        fence = self._venue.fence
        # Without a validity window a request may arrive at any time: absence proves nothing, ever.
        if fence is None:
            return math.inf
        return self._venue.clock.monotonic() + fence.total.total_seconds()


def _require_intent(record: OrderRecord) -> OrderIntent:
    if record.intent is None:
        raise NotFoundError("no such order", reason="ORDER_NOT_FOUND")
    return record.intent


def _same_content(row: LedgerRow, record: OrderRecord) -> LedgerRow:
    if row.content_hash != record.content_hash:
        raise other_content_error(record.client_order_id)
    return row


def other_content_error(client_order_id: str) -> AlreadyExistsError:
    """Return the refusal of an id that has another order."""
    return AlreadyExistsError(
        "the client order id was used for another order",
        metadata={"clientOrderId": client_order_id},
    )
