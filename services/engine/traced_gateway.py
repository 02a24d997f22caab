"""A connector's gateway whose orders are spans: on the wire with the order, ended afterwards."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from services.common.order_names import position_of
from services.common.tracing import SPAN, problem_of
from services.engine.connector_gateway import ConnectorGateway
from services.engine.orders import OrderOutcome, OrderPlan

if TYPE_CHECKING:
    from services.common.tracing import Span
    from services.engine.afterwards import Later
    from services.engine.traces import PositionTraces


class TracedGateway(ConnectorGateway):
    """Makes nothing but a name and two times while an order is under way."""

    def __init__(self, *args: Any, traces: PositionTraces, later: Later, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._traces = traces
        self._later = later

    async def place(self, plan: OrderPlan) -> OrderOutcome:
        """See `ConnectorGateway.place`."""
        span = self._traces.order(plan)
        if span is None:
            return await super().place(plan)
        # Of this order's own task: it is taken back with it.
        SPAN.set(span)
        try:
            outcome = await super().place(plan)
        except BaseException as error:
            self._end(span, plan, None, problem_of(error))
            raise
        self._end(span, plan, outcome, "")
        return outcome

    def _end(self, span: Span, plan: OrderPlan, outcome: OrderOutcome | None, problem: str) -> None:
        # A hedge may follow this answer: what tells of it is put together when it has left.
        span.ended_at = span.tracer.monotonic()
        span.problem = problem
        self._later(partial(_tell, span, plan, outcome))


def _tell(span: Span, plan: OrderPlan, outcome: OrderOutcome | None) -> None:
    span.facts |= {
        "position_id": position_of(plan.client_order_id),
        "client_order_id": plan.client_order_id,
        "exchange": plan.instrument.exchange,
        "symbol": plan.instrument.symbol,
        "side": plan.side.value,
        "quantity": str(plan.quantity),
    }
    if outcome is not None:
        span.facts["executed"] = str(outcome.executed)
    span.tracer.record(span)
