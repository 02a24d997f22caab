"""The one way orders leave: all calls started before any is awaited, a result per order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from services.common.clock import Clock
from services.engine.orders import OrderOutcome, OrderPlan
from services.engine.ports import VenueGateway


@dataclass(frozen=True, slots=True)
class PlaceResult:
    """The answer to one order, or the error in its place; times on the monotonic clock."""

    plan: OrderPlan
    answer: OrderOutcome | Exception
    sent_at: float
    ended_at: float


class Dispatch:
    """Orders that left together. Each is waited for on its own."""

    def __init__(self, tasks: Mapping[str, asyncio.Task[PlaceResult]], sent: dict[str, float]):
        self._tasks = tasks
        self._sent = sent

    async def result(self, client_order_id: str) -> PlaceResult:
        """Wait for one order; a caller that gives up does not cancel it."""
        return await asyncio.shield(self._tasks[client_order_id])

    async def started(self) -> None:
        """Return once every order has been handed to its gateway."""
        while len(self._sent) < len(self._tasks):
            await asyncio.sleep(0)

    @property
    def skew(self) -> timedelta:
        """Time between the first and the last order leaving, as far as they have left."""
        times = self._sent.values()
        return timedelta(seconds=max(times) - min(times)) if times else timedelta(0)


class ParallelExecutor:
    """Dispatches orders across venues at once and owns the calls until they end."""

    def __init__(
        self, gateways: Mapping[str, VenueGateway], clock: Clock, place_timeout: timedelta
    ) -> None:
        self._gateways = gateways
        self._clock = clock
        self._timeout = place_timeout.total_seconds()
        self._running: set[asyncio.Task[PlaceResult]] = set()

    def dispatch(self, plans: Sequence[OrderPlan]) -> Dispatch:
        """Start all orders; nothing is awaited between them."""
        sent: dict[str, float] = {}
        tasks: dict[str, asyncio.Task[PlaceResult]] = {}
        for plan in plans:
            task = asyncio.create_task(self._place(plan, sent))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            tasks[plan.client_order_id] = task
        return Dispatch(tasks, sent)

    async def close(self) -> int:
        """Cancel what still runs and return how many calls that were."""
        running = tuple(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        return len(running)

    async def _place(self, plan: OrderPlan, sent: dict[str, float]) -> PlaceResult:
        gateway = self._gateways[plan.instrument.exchange]
        sent_at = self._clock.monotonic()
        sent[plan.client_order_id] = sent_at
        answer: OrderOutcome | Exception
        try:
            async with asyncio.timeout(self._timeout):
                answer = await gateway.place(plan)
        except Exception as error:
            answer = error
        return PlaceResult(plan, answer, sent_at, self._clock.monotonic())
