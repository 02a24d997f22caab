"""Place orders: each once, each known to the ledger before it leaves, each followed to its end.

An order's task belongs to the process. Callers wait for news of it; one who hangs up or runs out of
time cancels nothing, and whoever asks again with the same id and content joins what is under way.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
from datetime import timedelta
from typing import TYPE_CHECKING

from services.common.errors import (
    AlreadyExistsError,
    NotFoundError,
    OpensqtError,
    RejectedError,
)
from services.common.logs import get_logger
from services.connector.ledger import Ledger, LedgerRow, Phase
from services.connector.order_answer import await_answer
from services.connector.order_mapping import matches_intent, to_state
from services.connector.order_numbers import to_order_number
from services.connector.order_record import OrderRecord, write_refusal
from services.connector.order_request import build_intent, check_request, hash_content
from services.connector.order_restore import (
    adopt_row,
    created_time,
    restore_record,
    to_ledger_row,
)
from services.connector.order_text import write_state
from services.connector.profile import Priority
from services.connector.rate_budget import CALL_DEADLINE
from services.connector.record_shelf import RecordShelf
from services.connector.send_judgement import Verdict
from services.connector.sent_before import SentBefore
from services.connector.venue_client_ids import to_venue_client_id
from services.connector.venue_orders import order_priority

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from services.common.ids import Ids
    from services.connector.connector_metrics import ConnectorMetrics
    from services.connector.desk_options import DeskOptions
    from services.connector.instruments import Instrument
    from services.connector.limits_gate import OrderGate
    from services.connector.order_request import OrderRequest
    from services.connector.order_settler import OrderSettler
    from services.connector.order_types import OrderIntent, OrderState
    from services.connector.venue import Venue
    from services.connector.venue_orders import VenueOrders
    from services.connector.venue_stamps import VenueStamps

_logger = get_logger(__name__)
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
        self._gate = gate
        self._venue = venue
        self._orders = orders
        self._settler = settler
        self._ledger = ledger
        self._stamps = stamps
        self._sent_before = SentBefore(venue, orders, ledger)
        self._ids = ids
        self._options = options
        self._metrics = metrics
        self.shelf = RecordShelf(options.kept_records)
        self._tasks: set[asyncio.Task[None]] = set()

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
        self._own(self._sent_before.read_ahead(Priority.ORDER))

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
            raise _other_content_error(client_order_id)
        return await self._answer(record, request.fill_timeout)

    async def find(self, client_order_id: str) -> OrderRecord | None:
        """Return the record of a client order id, from memory or the ledger; None when not ours."""
        record = self.shelf.find(client_order_id)
        if record is None:
            row = await self._ledger.find(client_order_id)
            record = None if row is None else self._restore(row)
        return record

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
        row = await self._orders.query(record.key)
        if row is not None:
            self.learn(record, to_state(row, record.instrument, record.client_order_id))

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
            known = await self._prepare(record, request)
            if known is not None:
                adopt_row(record, known)
                self._date(record, known)
            # With a state the venue has the order already: sent by a ledger that is lost.
            elif record.state is None:
                await self._send(record)
        except OpensqtError as error:
            # Nothing was sent: the id is free again for its owner.
            record.fail(error)
            self.shelf.remove(record)
            return
        await self._follow(record)

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
            sent = await self._gate.admit(record, intent, self.shelf)
            if sent is not None:
                return _same_content(sent, record)
        row = to_ledger_row(
            record, intent, venue=self._venue.profile.code, now=self._venue.clock.now()
        )
        record.sent_stamp = self._stamps.now()
        # From here on a crash leaves a row that the next start asks the venue about.
        known = await self._ledger.record(row, urgent=priority is Priority.EXIT)
        return None if known is None else _same_content(known, record)

    async def _adopt_sent_before(
        self, record: OrderRecord, intent: OrderIntent, priority: Priority
    ) -> None:
        """Adopt the order that the venue has under the caller's id, if any, instead of sending."""
        row = await self._sent_before.find(record, priority)
        if row is None:
            return
        if not matches_intent(row, intent, record.instrument):
            raise _other_content_error(record.client_order_id)
        _logger.warning("order_adopted", client_order_id=record.client_order_id)
        record.learn(to_state(row, record.instrument, record.client_order_id))

    async def _send(self, record: OrderRecord) -> None:
        intent = _require_intent(record)
        started = self._venue.clock.monotonic()
        result = await self._orders.place(intent, record.instrument, record.venue_client_id)
        seconds = self._venue.clock.monotonic() - started
        self._metrics.count_order(result.verdict.value, seconds)
        # What follows is the process's own errand: the caller's deadline bounds it no more.
        CALL_DEADLINE.set(None)
        record.fence_end = self._fence_end()
        if result.verdict is Verdict.ACCEPTED and result.row is not None:
            # A row under another id is no evidence about this order.
            if result.row.client_order_id in ("", record.venue_client_id):
                seen = to_state(result.row, record.instrument, record.client_order_id)
                self._stamps.observe(seen.update_time)
                record.learn(seen)
        elif result.exchange_order_id:
            record.acknowledged_id = result.exchange_order_id
            self.shelf.index(record)
            await self._write(record, Phase.OPEN)
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
        await self._write(record, phase, refusal=write_refusal(error))
        if record.state is not None:
            # The stream spoke while the row was written, and it has seen the order.
            return
        record.fail(error)
        if phase is Phase.NOT_SENT:
            self.shelf.remove(record)

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
                await self._write(record, phase, state=write_state(state), patient=True)
            elif record.error is not None and record.error.reason in _PROVEN_ENDS:
                phase = _PROVEN_ENDS[record.error.reason]
                await self._write(record, phase, refusal=write_refusal(record.error))
            # News may have come while the row was written; without news nothing is left to do.
            if record.state is state:
                return

    async def _write(
        self,
        record: OrderRecord,
        phase: Phase,
        *,
        state: str = "",
        refusal: str = "",
        patient: bool = False,
    ) -> None:
        order_id = record.exchange_order_id
        try:
            await self._ledger.update(
                record.client_order_id,
                phase,
                exchange_order_id=order_id,
                state=state,
                refusal=refusal,
                order_number=to_order_number(order_id),
                patient=patient,
            )
        except (sqlite3.Error, OpensqtError) as error:
            # The row stays open; the next start asks the venue again, which is slower, not wrong.
            _logger.error(
                "ledger_update_failed",
                client_order_id=record.client_order_id,
                problem=type(error).__name__,
            )

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
            _logger.error("ledger_symbol_unknown", symbol=row.symbol)
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
        record.fence_end = self._fence_end()
        age = self._venue.clock.now() - created_time(row)
        record.sent_stamp = self._stamps.now() - age

    def _fence_end(self) -> float:
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
        raise _other_content_error(record.client_order_id)
    return row


def _other_content_error(client_order_id: str) -> AlreadyExistsError:
    return AlreadyExistsError(
        "the client order id was used for another order",
        metadata={"clientOrderId": client_order_id},
    )
