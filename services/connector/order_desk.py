"""Place orders: each once, each known to the ledger before it leaves, each followed to its end.

An order's task belongs to the process. Callers wait for news of it; one who hangs up or runs out of
time cancels nothing, and whoever asks again with the same id and content joins what is under way.
"""

from __future__ import annotations

import asyncio
import traceback
from datetime import timedelta
from typing import TYPE_CHECKING

from services.common.errors import FatalError, OpensqtError, RejectedError
from services.common.logs import bind_context, get_logger
from services.common.ordered_set import OrderedSet
from services.connector.ledger import Ledger, LedgerRow, Phase
from services.connector.order_answer import await_answer
from services.connector.order_mapping import to_state
from services.connector.order_outcome import write_outcome
from services.connector.order_record import OrderRecord, write_refusal
from services.connector.order_request import check_request, hash_content
from services.connector.order_restore import (
    adopt_row,
    created_time,
    restore_record,
)
from services.connector.order_sender import OrderSender, other_content_error
from services.connector.order_text import write_state
from services.connector.profile import Priority
from services.connector.rate_budget import CALL_DEADLINE
from services.connector.record_shelf import RecordShelf
from services.connector.venue_client_ids import to_venue_client_id

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from services.common.ids import Ids
    from services.connector.connector_metrics import ConnectorMetrics
    from services.connector.desk_options import DeskOptions
    from services.connector.instruments import Instrument
    from services.connector.limits_gate import OrderGate
    from services.connector.order_request import OrderRequest
    from services.connector.order_settler import OrderSettler
    from services.connector.order_types import OrderState
    from services.connector.venue import Venue
    from services.connector.venue_orders import VenueOrders
    from services.connector.venue_stamps import VenueStamps

_logger = get_logger(__name__)
_TRACE_DEPTH = -5
"""The innermost frames, as text: a log that renders whole stacks would hold up other orders."""

_PROVEN_ENDS = {
    "ORDER_NOT_ARRIVED": Phase.NOT_ARRIVED,
    # The venue holds another's order under our id: ours cannot have been taken.
    "CLIENT_ORDER_ID_EXISTS": Phase.REJECTED,
}


class OrderDesk:
    """All orders of one venue account that this process sends or has sent."""

    def __init__(
        self,
        venue: Venue,
        orders: VenueOrders,
        settler: OrderSettler,
        ledger: Ledger,
        stamps: VenueStamps,
        ids: Ids,
        options: DeskOptions,
        metrics: ConnectorMetrics,
        gate: OrderGate | None = None,
    ) -> None:
        self._venue = venue
        self._orders = orders
        self._settler = settler
        self._ledger = ledger
        self._stamps = stamps
        self._ids = ids
        self._options = options
        self._metrics = metrics
        self.shelf = RecordShelf(options.kept_records)
        self._sender = OrderSender(venue, orders, ledger, stamps, self.shelf, metrics, gate)
        self._tasks: OrderedSet[asyncio.Task[None]] = OrderedSet()

    async def start(self) -> int:
        """Take up every order the ledger holds open, and return how many there are.

        Their sending ended with the last process at the latest, so the fence runs from now.
        """
        rows = await self._ledger.open_rows()
        if rows:
            # Trades are asked for from the sending on, by the stamps they carry.
            await self._stamps.learn()
        for row in rows:
            self._restore(row)
        return len(rows)

    def read_ahead(self) -> None:
        """Begin to read what the venue lists of live symbols, where the ledger began lately."""
        self._own(self._sender.sent_before.read_ahead(Priority.ORDER))

    async def close(self, seconds: float) -> int:
        """Wait for the orders under way, at most so long; return how many stay with the ledger."""
        tasks = list(self._tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        # Cancelling the task unsends nothing; the open row carries the question over.
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return len(left)

    @property
    def is_idle(self) -> bool:
        """Whether no order is being sent or followed."""
        return not self._tasks

    async def place(self, request: OrderRequest, instrument: Instrument) -> OrderState:
        """Place the order, or join or return the one that has its id and content; return its state.

        Raises InvalidFieldError, PreconditionError, AlreadyExistsError, RejectedError (refused, or
        proven never to have arrived), RetryableError (not sent), OutcomeUnknownError (sent, not
        known in time; the process goes on asking).
        """
        content = hash_content(request)
        client_order_id = request.client_order_id or self._ids.new_id()
        record = self.shelf.find(client_order_id)
        if record is None:
            try:
                # Before a record is made: a malformed request must not spend an id.
                check_request(request, instrument)
            except RejectedError:
                # The rules may have changed since this very order was sent; a refusal now would
                # be taken for proof that nothing was.
                record = await self.find(client_order_id)
                if record is None:
                    raise
        if record is None:
            record = OrderRecord(
                client_order_id=client_order_id,
                venue_client_id=to_venue_client_id(client_order_id, self._venue.profile),
                content_hash=content,
                instrument=instrument,
                use_margin=request.use_margin,
            )
            # On the shelf before the first await: a second call with the id must find this one.
            self.shelf.add(record)
            # A task of its own: the caller's cancellation must not reach the order.
            self._spawn(record, self._run(record, request))
        elif record.content_hash != content:
            raise other_content_error(client_order_id)
        return await self._answer(record, request.fill_timeout)

    async def find(self, client_order_id: str) -> OrderRecord | None:
        """Return the record of a client order id, from memory or the ledger; None when not ours."""
        record = self.shelf.find(client_order_id)
        if record is None:
            row = await self._ledger.find(client_order_id)
            record = None if row is None else self._restore(row)
        return record

    async def has_never_sent(
        self, client_order_id: str, instrument: Instrument, *, use_margin: bool
    ) -> bool:
        """Whether the ledger, being whole, proves that no order of an id was sent until now.

        Raises RetryableError and its branches when the venue's list must be read and cannot be.
        """
        name = to_venue_client_id(client_order_id, self._venue.profile)
        whole = await self._sender.sent_before.is_whole(
            instrument, use_margin=use_margin, priority=Priority.ORDER
        )
        row = await self._ledger.find(client_order_id)
        is_unsent = row is None or row.phase is Phase.NOT_SENT
        # Memory last: an order that came meanwhile stands there before its row is written.
        is_unheld = self.shelf.find(client_order_id) is None
        return whole and is_unsent and is_unheld and not self._ledger.has_seen(name)

    async def find_exchange_id(self, symbol: str, exchange_order_id: str) -> OrderRecord | None:
        """Return the record that has the venue's order id on a symbol; None when it is not ours."""
        record = self.shelf.find_exchange_id(symbol, exchange_order_id)
        if record is None:
            row = await self._ledger.find_exchange_id(symbol, exchange_order_id)
            record = None if row is None else self._restore(row)
        return record

    async def find_order_number(self, symbol: str, order_number: int) -> OrderRecord | None:
        """Return the record whose venue order id has this int64 form; None when it is not ours."""
        record = self.shelf.find_order_number(symbol, order_number)
        if record is None:
            row = await self._ledger.find_order_number(symbol, order_number)
            record = None if row is None else self._restore(row)
        return record

    async def await_outcome(
        self, record: OrderRecord, patience: timedelta = timedelta(0)
    ) -> OrderState:
        """Wait until something is proven about an order under way, within the caller's deadline.

        Raises as `place` does. An order that is known and not yet closed with all its fees is given
        `patience` to get there, then returned as it is.
        """
        return await self._answer(record, patience)

    async def refresh(self, record: OrderRecord) -> None:
        """Ask the venue for an order of ours now; raise RetryableError when it cannot be asked."""
        # A cancel of ours ends with it.
        row = await self._orders.query(record.key, Priority.EXIT)
        if row is not None:
            record.missing_since = None
            self.learn(record, to_state(row, record.instrument, record.client_order_id))
        else:
            self.note_missing(record)

    def note_missing(self, record: OrderRecord) -> None:
        """Take that the venue does not know an order of ours; one that it had is asked about."""
        if record.state is not None and not record.state.is_closed and not record.busy:
            # Its end is found out beside the caller, who gets what is known.
            record.missing_since = self._venue.clock.monotonic()
            self._spawn(record, self._chase(record))

    def learn(self, record: OrderRecord, seen: OrderState) -> bool:
        """Take what the stream or a query said of an order of ours; return whether it was news."""
        if record.error is not None:
            _logger.error(
                "order_evidence_contradicts",
                client_order_id=record.client_order_id,
                believed=record.error.reason,
                status=seen.status.value,
            )
        news = record.learn(seen)
        self.shelf.index(record)
        if news and not record.busy:
            self._spawn(record, self._follow(record))
        return news

    def _spawn(self, record: OrderRecord, work: Coroutine[None, None, None]) -> None:
        async def run() -> None:
            # Whoever began it: a caller, the order stream, or the start.
            bind_context(client_order_id=record.client_order_id)
            try:
                await work
            except Exception:
                # The row stays open in the ledger, so the next start takes the order up again.
                _logger.exception("order_task_broke", client_order_id=record.client_order_id)
            finally:
                record.busy = False

        record.busy = True
        self._own(run())

    def _own(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, record: OrderRecord, request: OrderRequest) -> None:
        try:
            known = await self._sender.prepare(record, request)
        except Exception as error:
            # Nothing was sent: the id is free again for its owner.
            record.fail(_told_error(record, error))
            self.shelf.remove(record)
            return
        if known is not None:
            adopt_row(record, known)
            self._date(record, known)
        # With a state the venue has the order already: sent by a ledger that is lost.
        elif record.state is None:
            await self._send(record)
        await self._follow(record)

    async def _send(self, record: OrderRecord) -> None:
        try:
            await self._sender.send(record)
        except Exception:
            # A bug behind the sending proves nothing: the order is followed like any in doubt.
            _logger.error(
                "order_reply_broke",
                client_order_id=record.client_order_id,
                trace=traceback.format_exc(limit=_TRACE_DEPTH),
            )
            record.doubted = True

    async def _chase(self, record: OrderRecord) -> None:
        CALL_DEADLINE.set(None)
        await self._settler.chase(record)
        await self._follow(record)

    async def _follow(self, record: OrderRecord) -> None:
        CALL_DEADLINE.set(None)
        while True:
            if record.error is None:
                await self._settler.settle(record)
            state = record.state
            if record.doubted:
                record.doubted = False
                self._metrics.count_resolved("not_arrived" if state is None else "found")
            if state is not None:
                self.shelf.index(record)
                phase = Phase.CLOSED if state.is_confirmed else Phase.OPEN
                # The caller's answer first: the row is open already, and its end can wait a turn.
                await asyncio.sleep(0)
                await write_outcome(
                    self._ledger, record, phase, state=write_state(state), patient=True
                )
            elif record.error is not None and record.error.reason in _PROVEN_ENDS:
                phase = _PROVEN_ENDS[record.error.reason]
                await write_outcome(
                    self._ledger, record, phase, refusal=write_refusal(record.error)
                )
            # News may have come while the row was written; without news nothing is left to do.
            if record.state is state:
                return

    async def _answer(self, record: OrderRecord, fill_timeout: timedelta | None) -> OrderState:
        return await await_answer(
            record,
            self._venue.clock,
            self._options,
            fill_timeout,
            has_fence=self._venue.fence is not None,
        )

    def _restore(self, row: LedgerRow) -> OrderRecord | None:
        held = self.shelf.find(row.client_order_id)
        if held is not None:
            return held
        instrument = self._venue.instruments.find(row.symbol)
        if instrument is None:
            order = row.client_order_id
            _logger.error("ledger_symbol_unknown", symbol=row.symbol, client_order_id=order)
            return None
        record = restore_record(row, instrument)
        self._date(record, row)
        # An order that never left holds no id: on the shelf it would block its own second try.
        if row.phase is not Phase.NOT_SENT:
            self.shelf.add(record)
        # Whoever finds an open row follows it, or its callers would wait for nobody.
        if row.phase is Phase.OPEN:
            self._spawn(record, self._follow(record))
        return record

    def _date(self, record: OrderRecord, row: LedgerRow) -> None:
        record.fence_end = self._sender.fence_end()
        age = self._venue.clock.now() - created_time(row)
        record.sent_stamp = self._stamps.now() - age


def _told_error(record: OrderRecord, error: Exception) -> OpensqtError:
    if isinstance(error, OpensqtError):
        return error
    _logger.error(
        "order_not_prepared",
        client_order_id=record.client_order_id,
        trace="".join(traceback.format_exception(error, limit=_TRACE_DEPTH)),
    )
    return FatalError("an unforeseen error before the sending", reason="INTERNAL")
