"""Follow one sent order until everything about it is proven: outcome, end, fills, fees.

Evidence is the order stream, a query by id, the trades since the sending, and the position. "Not
found" proves something only when asked after the fence and when trades and position agree; a venue
without a fence proves nothing by it, ever.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.common.errors import AlreadyExistsError, OpensqtError
from services.common.logs import get_logger
from services.connector.order_evidence import Conclusion, judge_absence
from services.connector.order_mapping import matches_intent, to_fill, to_state, vanished_state
from services.connector.order_record import OrderRecord, not_arrived_error
from services.connector.profile import Priority
from services.connector.venue_orders import order_priority

if TYPE_CHECKING:
    from services.common.clock import Clock
    from services.connector.connector_metrics import ConnectorMetrics
    from services.connector.evidence_reader import EvidenceReader, Testimony
    from services.connector.order_types import OrderState, VenueOrder
    from services.connector.venue_orders import VenueOrders

_logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SettlePace:
    """Waits between questions; the stream usually answers within `grace_seconds`, before any.

    A venue that only acknowledged is asked after `acknowledged_seconds`: its reply told nothing.
    Where there is no fence only new events can end the doubt, hence `most_unfenced_seconds`. An
    order that the venue had and does not know is asked about for `lag_seconds` at least.
    """

    grace_seconds: float = 0.1
    acknowledged_seconds: float = 0.03
    first_seconds: float = 0.1
    factor: float = 2.0
    most_seconds: float = 2.0
    most_closed_seconds: float = 15.0
    most_unfenced_seconds: float = 30.0
    lag_seconds: float = 10.0


class OrderSettler:
    """Asks the venue about orders in doubt; used by the desk, one call per order at a time."""

    def __init__(
        self,
        orders: VenueOrders,
        evidence: EvidenceReader,
        clock: Clock,
        pace: SettlePace,
        metrics: ConnectorMetrics,
    ) -> None:
        self._orders = orders
        self._evidence = evidence
        self._clock = clock
        self._pace = pace
        self._metrics = metrics

    async def settle(self, record: OrderRecord) -> None:
        """Return when the record is finished, or is a resting order that the venue has.

        Never raises for what the venue does; it goes on asking, ever slower, up to a bound.
        """
        pace = self._pace
        delay = pace.acknowledged_seconds if record.acknowledged_id else pace.grace_seconds
        while not record.is_answerable:
            # News goes first: most orders are closed by the stream, and no question is asked.
            if await record.wait_change(delay):
                continue
            await self._try_ask(record)
            delay = self._next_delay(record, delay)

    async def chase(self, record: OrderRecord) -> None:
        """Ask about a live order that the venue does not know any more, until its end is sure."""
        while record.missing_since is not None and not record.is_finished:
            await record.wait_change(self._pace.most_seconds)
            await self._try_ask(record)

    async def _try_ask(self, record: OrderRecord) -> None:
        try:
            await self._ask(record)
        except OpensqtError as error:
            _logger.warning(
                "order_question_failed",
                client_order_id=record.client_order_id,
                reason=error.reason,
                problem=error.message,
            )
        except Exception as error:
            # An order that nobody follows would stay unknown until the next start.
            _logger.warning(
                "order_answer_broken",
                client_order_id=record.client_order_id,
                problem=repr(error),
            )

    def _next_delay(self, record: OrderRecord, delay: float) -> float:
        pace = self._pace
        most = pace.most_seconds
        if record.state is not None and record.state.is_closed:
            most = pace.most_closed_seconds
        elif record.state is None and math.isinf(record.fence_end):
            most = pace.most_unfenced_seconds
        least = 0.0 if record.acknowledged_id else pace.first_seconds
        delay = min(max(delay, least) * pace.factor, most)
        until_fence = record.fence_end - self._clock.monotonic()
        # The question that can prove absence is asked as soon as it can.
        return min(delay, until_fence) if until_fence > 0 else delay

    async def _ask(self, record: OrderRecord) -> None:
        if record.state is not None and record.state.is_closed:
            await self._ask_fills(record, record.state)
            return
        # Read before asking: an answer counts only if the question came after the fence.
        past_fence = self._clock.monotonic() >= record.fence_end
        row = await self._orders.query(record.key, _priority(record))
        foreign = row is not None and not _is_ours(record, row)
        if row is not None and not foreign:
            record.missing_since = None
            self._take_row(record, row)
        elif record.state is not None:
            if not foreign:
                await self._weigh_vanishing(record, record.state)
        elif past_fence or math.isinf(record.fence_end):
            await self._weigh_absence(record, past_fence=past_fence, foreign=foreign)

    async def _weigh_vanishing(self, record: OrderRecord, known: OrderState) -> None:
        now = self._clock.monotonic()
        if record.missing_since is None:
            record.missing_since = now
        # A replica may lag for a moment; past that, the live list and the fills decide.
        if now - record.missing_since < self._pace.lag_seconds:
            return
        live = await self._orders.open_orders(record.instrument, use_margin=record.use_margin)
        if any(row.exchange_order_id == known.exchange_order_id for row in live):
            return
        found = await self._orders.order_fills(record.key, _priority(record))
        fills = [
            to_fill(fill, known.side, record.instrument, record.client_order_id) for fill in found
        ]
        _logger.warning("order_vanished", client_order_id=record.client_order_id)
        record.learn(vanished_state(known, fills))

    async def _weigh_absence(self, record: OrderRecord, *, past_fence: bool, foreign: bool) -> None:
        found = await self._evidence.read(record)
        if found.row is not None and _is_ours(record, found.row):
            self._take_row(record, found.row)
            return
        conclusion = judge_absence(
            past_fence=past_fence, trades=found.trades, position=found.position
        )
        self._tell_suspicion(record, found, suspected=conclusion is Conclusion.SUSPECT)
        # The stream may have spoken while the venue was asked.
        if conclusion is Conclusion.NOT_ARRIVED and record.state is None:
            # Another's order under our id proves nothing before: it may end, and ours come next.
            name = record.client_order_id
            record.fail(_foreign_order_error(name) if foreign else not_arrived_error(name))

    def _tell_suspicion(self, record: OrderRecord, found: Testimony, *, suspected: bool) -> None:
        if suspected and not record.suspected:
            self._metrics.count_suspicion()
            _logger.error(
                "order_absence_contradicted",
                client_order_id=record.client_order_id,
                trades=found.trades.value,
                position=found.position.value,
            )
        record.suspected = suspected

    async def _ask_fills(self, record: OrderRecord, state: OrderState) -> None:
        found = await self._orders.order_fills(record.key, _priority(record))
        fills = tuple(
            to_fill(fill, state.side, record.instrument, record.client_order_id) for fill in found
        )
        record.learn(replace(state, fills=fills))

    def _take_row(self, record: OrderRecord, row: VenueOrder) -> None:
        record.learn(to_state(row, record.instrument, record.client_order_id))


def _is_ours(record: OrderRecord, row: VenueOrder) -> bool:
    intent = record.intent
    return intent is None or matches_intent(row, intent, record.instrument)


def _priority(record: OrderRecord) -> Priority:
    # The share that is kept for exits is not for questions about entries.
    return Priority.EXIT if record.intent is None else order_priority(record.intent)


def _foreign_order_error(client_order_id: str) -> AlreadyExistsError:
    return AlreadyExistsError(
        "the venue has another order under this client order id",
        metadata={"clientOrderId": client_order_id},
    )
