"""Peers of a queue inside the test's process: scripted workers in the place of venues."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from services.common.clock import SystemClock
from services.common.ids import RandomIds
from services.common.metrics import ServiceMetrics
from services.common.watch_hub import WatchHub
from services.scanner.nats_queue import QueueBounds, shared_queue
from services.scanner.nats_settings import NatsSettings
from services.scanner.opportunity import Opportunity
from services.scanner.queue_metrics import QueueMetrics
from services.scanner.task_runner import TaskEnd, TaskPriority
from services.scanner.tasks import ReadFees, VenueTask
from services.scanner.venue_codec import Reading

Handle = Callable[[VenueTask], Awaitable[Reading]]


@dataclass
class LocalRunner:
    """What a worker carries tasks out with; mutable, it counts them."""

    handle: Handle
    taken: Counter[VenueTask] = field(default_factory=Counter)
    cancelled_count: int = 0
    priorities: list[TaskPriority] = field(default_factory=list)

    async def run(
        self,
        tasks: Sequence[VenueTask],
        on_end: Callable[[TaskEnd[VenueTask, Reading]], None] | None = None,
        *,
        priority: TaskPriority = TaskPriority.SCAN,
        timeout_seconds: float | None = None,
    ) -> list[TaskEnd[VenueTask, Reading]]:
        """Carry tasks out one after the other."""
        ends: list[TaskEnd[VenueTask, Reading]] = []
        self.priorities.append(priority)
        for task in tasks:
            self.taken[task] += 1
            try:
                ends.append(TaskEnd(task, await self.handle(task), None))
            except asyncio.CancelledError:
                self.cancelled_count += 1
                raise
            except Exception as error:
                ends.append(TaskEnd(task, None, error))
            if on_end is not None:
                on_end(ends[-1])
        return ends


@dataclass(frozen=True, slots=True)
class Peer:
    """One process's half of the queue."""

    runner: Any
    local: LocalRunner
    hub: WatchHub[Opportunity]
    metrics: ServiceMetrics
    owner: str

    def count(self, event: str) -> float:
        """Return how many tasks had an event here."""
        name, labels = "opensqt_scanner_queue_tasks_total", {"event": event}
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def peer(
    address: str, handle: Handle, *, venues: tuple[str, ...] = ("perpy",), **options: Any
) -> AsyncIterator[Peer]:
    """Run a peer on a server."""
    metrics, local, ids = ServiceMetrics("scanner"), LocalRunner(handle), RandomIds()
    hub: WatchHub[Opportunity] = WatchHub(ids.new_id(), conflate=True)
    settings = NatsSettings(servers=(address,), **{"ack_wait_seconds": 0.5, **options})
    bounds = QueueBounds(dict.fromkeys(venues, 2), task_seconds=60.0, opportunity_seconds=60.0)
    async with shared_queue(
        settings,
        bounds,
        local,
        hub,
        clock=SystemClock(),
        ids=ids,
        metrics=QueueMetrics(metrics),
    ) as runner:
        owner: str = vars(runner)["_owner"]
        yield Peer(runner, local, hub, metrics, owner)


def fees(count: int, venue: str = "perpy") -> list[VenueTask]:
    """Return small tasks that can be told apart."""
    return [ReadFees(venue, f"C{number}") for number in range(count)]
