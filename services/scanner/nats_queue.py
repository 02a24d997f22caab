"""Puts the shared queue together: streams, this process's worker, its runner, its publisher.

Imported only where `[nats]` is set; without it no part of NATS is loaded.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StorageType, StreamConfig

from services.common.logs import get_logger
from services.common.task_end import end_task
from services.scanner.nats_lease import NatsLease
from services.scanner.nats_link import NatsLink, open_link
from services.scanner.nats_names import NatsNames, token
from services.scanner.nats_publisher import NatsPublisher
from services.scanner.nats_runner import NatsRunner
from services.scanner.nats_worker import NatsWorker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from services.common.clock import Clock
    from services.common.ids import Ids
    from services.common.watch_hub import WatchHub
    from services.scanner.nats_settings import NatsSettings
    from services.scanner.opportunity import Opportunity
    from services.scanner.queue_metrics import QueueMetrics
    from services.scanner.task_runner import TaskRunner
    from services.scanner.tasks import VenueTask
    from services.scanner.venue_codec import Reading

# A message sent twice within this time is stored once; longer than any outage that is waited for.
_DUPLICATE_SECONDS = 120.0
_RESTART_SECONDS = 1.0
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class QueueBounds:
    """What the rest of the settings means for the queue.

    `concurrency`: tasks of each venue at once in this process. `task_seconds`: how long a task may
    be of use to anybody. `opportunity_seconds`: the same of an opportunity.
    """

    concurrency: Mapping[str, int]
    task_seconds: float
    opportunity_seconds: float


@asynccontextmanager
async def shared_queue(
    settings: NatsSettings,
    bounds: QueueBounds,
    pool: TaskRunner[VenueTask, Reading],
    hub: WatchHub[Opportunity],
    *,
    clock: Clock,
    ids: Ids,
    metrics: QueueMetrics,
) -> AsyncIterator[TaskRunner[VenueTask, Reading]]:
    """Yield a runner over all scanners on the same server, of which this process is one.

    Raises UnreachableError QUEUE_UNREACHABLE when no server answers.
    """
    names = NatsNames(settings.prefix)
    owner = ids.new_id()
    async with AsyncExitStack() as stack:
        link = await stack.enter_async_context(open_link(settings, clock))
        metrics.connected.set_function(lambda: link.is_up)
        await _make_streams(link, names, bounds)
        for venue in bounds.concurrency:
            await link.add_consumer(names.stream("tasks"), _tasks_of(names, venue, settings))
        runner = await stack.enter_async_context(
            NatsRunner(
                link,
                names,
                pool,
                owner=owner,
                new_id=ids.new_id,
                max_ack_pending=settings.max_ack_pending,
                metrics=metrics,
            )
        )
        await stack.enter_async_context(_results(link, names, owner, bounds, runner))
        worker = NatsWorker(
            link,
            names,
            pool,
            concurrency=bounds.concurrency,
            ack_wait_seconds=settings.ack_wait_seconds,
            max_deliver=settings.max_deliver,
            new_id=ids.new_id,
            metrics=metrics,
        )
        lease = NatsLease(link, names, owner, clock, is_wanted=lambda: bool(hub.latest()))
        await lease.prepare()
        publisher = NatsPublisher(link, names, hub, lease, clock, metrics)
        await stack.enter_async_context(_running("worker", worker.run, clock))
        await stack.enter_async_context(_running("lease", lease.run, clock))
        await stack.enter_async_context(_running("publisher", publisher.run, clock))
        yield runner


async def _make_streams(link: NatsLink, names: NatsNames, bounds: QueueBounds) -> None:
    for kind in ("tasks", "results"):
        await link.add_stream(
            StreamConfig(
                name=names.stream(kind),
                subjects=[f"{names.prefix}.{kind}.>"],
                retention=RetentionPolicy.WORK_QUEUE,
                # On disk, so that a server that restarts gives out what it had.
                storage=StorageType.FILE,
                max_age=bounds.task_seconds,
                duplicate_window=min(_DUPLICATE_SECONDS, bounds.task_seconds),
            )
        )
    await link.add_stream(
        StreamConfig(
            name=names.stream("opportunities"),
            subjects=[f"{names.prefix}.opportunities.*"],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            max_age=bounds.opportunity_seconds,
            max_msgs_per_subject=1,
            duplicate_window=min(_DUPLICATE_SECONDS, bounds.opportunity_seconds),
        )
    )


def _tasks_of(names: NatsNames, venue: str, settings: NatsSettings) -> ConsumerConfig:
    return ConsumerConfig(
        durable_name=token(venue),
        filter_subject=names.tasks_of_venue(venue),
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=settings.ack_wait_seconds,
        # The bound on deliveries is the workers': the server would drop a task and tell nobody.
        max_deliver=-1,
        max_ack_pending=settings.max_ack_pending,
    )


@asynccontextmanager
async def _results(
    link: NatsLink, names: NatsNames, owner: str, bounds: QueueBounds, runner: NatsRunner
) -> AsyncIterator[None]:
    """Have the ends of this process's tasks delivered; they are kept while it is cut off."""
    inbox = link.client.new_inbox()
    await link.client.subscribe(inbox, cb=runner.receive)
    stream, name = names.stream("results"), f"owner-{owner}"
    await link.add_consumer(
        stream,
        ConsumerConfig(
            durable_name=name,
            filter_subject=names.results(owner),
            deliver_subject=inbox,
            ack_policy=AckPolicy.EXPLICIT,
            # Of a process that died nothing stays for longer than its results would.
            inactive_threshold=bounds.task_seconds,
        ),
    )
    try:
        yield
    finally:
        with suppress(NatsError, OSError, TimeoutError):
            await link.streams.delete_consumer(stream, name)


@asynccontextmanager
async def _running(
    part: str, run: Callable[[], Awaitable[None]], clock: Clock
) -> AsyncIterator[None]:
    """Keep a part of the queue going for the length of the block."""
    task = asyncio.create_task(_kept_up(part, run, clock))
    try:
        yield
    finally:
        await end_task(task)


async def _kept_up(part: str, run: Callable[[], Awaitable[None]], clock: Clock) -> None:
    while True:
        try:
            await run()
        except Exception:
            # Whatever the client or the server did: a process without its worker would look alive
            # and leave the scans of all the others waiting.
            _log.exception("queue_part_failed", part=part)
            await clock.sleep(_RESTART_SECONDS)
        else:
            return
