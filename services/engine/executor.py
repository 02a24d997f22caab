"""The one way orders leave: all calls started before any is awaited, a result per order.

No batch call is used: a venue's own batch endpoint does not tell which order of it failed how, and
a connector's batch is the same orders side by side, with one answer when the last one has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from services.common.clock import Clock
from services.engine.deadlines import Deadlines
from services.engine.orders import OrderClass, OrderOutcome, OrderPlan
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

    def __init__(self, count: int) -> None:
        self._count = count
        self._tasks: dict[str, asyncio.Task[PlaceResult]] = {}
        self._sent: dict[str, float] = {}
        self._told: dict[str, Callable[[], None]] = {}
        self._all_sent: asyncio.Event | None = None

    def add(self, client_order_id: str, task: asyncio.Task[PlaceResult]) -> None:
        """Take an order's call."""
        self._tasks[client_order_id] = task

    def mark_sent(self, client_order_id: str, at: float) -> None:
        """Note that one order is being handed to its gateway."""
        self._sent[client_order_id] = at
        if self._all_sent is not None and len(self._sent) == self._count:
            self._all_sent.set()

    def mark_ending(self, client_order_id: str) -> None:
        """Note that an order's call ends with the present step of its task."""
        tell = self._told.pop(client_order_id, None)
        if tell is not None:
            tell()

    def call(self, client_order_id: str) -> asyncio.Task[PlaceResult]:
        """Return an order's call itself; only its owner cancels it."""
        return self._tasks[client_order_id]

    def when_ending(self, client_order_id: str, tell: Callable[[], None]) -> None:
        """Have `tell` called as the order's call ends: it is done in the loop's next turn.

        A callback of the task itself would be called a turn later, between an answer and a hedge.
        """
        self._told[client_order_id] = tell

    def tell_nobody(self, client_order_id: str) -> None:
        """Have nothing called any more when the order's call ends."""
        self._told.pop(client_order_id, None)

    async def result(self, client_order_id: str) -> PlaceResult:
        """Wait for one order; a caller that gives up does not cancel it."""
        # Cancelling the wait must not cancel the order: its answer would be lost for nothing.
        return await asyncio.shield(self._tasks[client_order_id])

    async def started(self) -> None:
        """Return once every order has been handed to its gateway."""
        if len(self._sent) < self._count:
            self._all_sent = self._all_sent or asyncio.Event()
            await self._all_sent.wait()

    @property
    def skew(self) -> timedelta:
        """Time between the first and the last order leaving, as far as they have left."""
        return self.skew_of(self._sent)

    def skew_of(self, client_order_ids: Collection[str]) -> timedelta:
        """Return the time between the first and the last of these leaving."""
        times = [at for key, at in self._sent.items() if key in client_order_ids]
        return timedelta(seconds=max(times) - min(times)) if times else timedelta(0)


class ParallelExecutor:
    """Dispatches orders across venues at once and owns the calls until they end.

    At each venue at most `exits_at_once` exits are under way; more leave in turn, so that closing a
    thousand positions does not make each of them late. Hedges and unwinds never wait: something is
    naked while they do. `on_send` is told the id and the monotonic time of each order that leaves.
    """

    def __init__(
        self,
        gateways: Mapping[str, VenueGateway],
        clock: Clock,
        place_timeout: timedelta,
        exits_at_once: int = 128,
        on_send: Callable[[str, float], None] = lambda _key, _at: None,
    ) -> None:
        self._gateways = gateways
        self._clock = clock
        self._timeout = place_timeout.total_seconds()
        self._on_send = on_send
        self._running: set[asyncio.Task[PlaceResult]] = set()
        self._deadlines = Deadlines()
        # A lane per venue: one that hangs holds up nobody's exits elsewhere.
        self._lanes = {name: asyncio.Semaphore(exits_at_once) for name in gateways}

    def dispatch(self, plans: Sequence[OrderPlan]) -> Dispatch:
        """Start all orders; nothing is awaited between them."""
        dispatch = Dispatch(len(plans))
        for plan in plans:
            # A task runs to its first wait before any answer can be read: all requests are on the
            # wire first.
            task = asyncio.create_task(self._call(plan, dispatch))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            dispatch.add(plan.client_order_id, task)
        return dispatch

    async def close(self) -> int:
        """Cancel what still runs and return how many calls that were."""
        running = tuple(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        return len(running)

    async def _call(self, plan: OrderPlan, dispatch: Dispatch) -> PlaceResult:
        try:
            return await self._place(plan, dispatch)
        finally:
            dispatch.mark_ending(plan.client_order_id)

    async def _place(self, plan: OrderPlan, dispatch: Dispatch) -> PlaceResult:
        if plan.order_class is not OrderClass.EXIT:
            return await self._send(plan, dispatch)
        async with self._lanes[plan.instrument.exchange]:
            return await self._send(plan, dispatch)

    async def _send(self, plan: OrderPlan, dispatch: Dispatch) -> PlaceResult:
        sent_at = self._clock.monotonic()
        self._on_send(plan.client_order_id, sent_at)
        dispatch.mark_sent(plan.client_order_id, sent_at)
        answer: OrderOutcome | Exception
        try:
            # The gateway has the same bound; this one holds where a gateway forgets it.
            with self._deadlines.within(self._timeout):
                answer = await self._gateways[plan.instrument.exchange].place(plan)
        except Exception as error:
            answer = error
        return PlaceResult(plan, answer, sent_at, self._clock.monotonic())
