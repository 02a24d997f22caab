"""The composition root of the scanner: names the concrete classes and owns their lives."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from opensqt.market_maker.v1 import exchange_pb2_grpc, scanner_pb2_grpc
from services.common.certificates import show_certificates
from services.common.channels import open_channel
from services.common.clock import Clock, SystemClock
from services.common.ids import Ids, RandomIds
from services.common.metrics import ServiceMetrics
from services.common.open_tracer import open_tracer
from services.common.server import GrpcServer, serve
from services.common.task_end import end_task
from services.common.watch_hub import WatchHub
from services.scanner.board import Board
from services.scanner.encoded import EncodedEvents
from services.scanner.histories import HistoryLoader
from services.scanner.history_disk import DiskHistoryStore
from services.scanner.instruments import InstrumentKind
from services.scanner.live_book import LiveBook
from services.scanner.live_refresh import Freshener, LiveRefresh
from services.scanner.live_stream import LiveStream
from services.scanner.metrics import RANKS, ScannerMetrics
from services.scanner.negative_results import NegativeResults
from services.scanner.news import NewsRules
from services.scanner.pool import WorkerPool
from services.scanner.queue_metrics import QueueMetrics
from services.scanner.scan import Scanner
from services.scanner.scan_desk import ScanDesk
from services.scanner.scan_traces import ScanTraces
from services.scanner.servicer import ScannerServicer
from services.scanner.single_flight import SingleFlight
from services.scanner.tasks import VenueTask, kind_of
from services.scanner.venue_bounds import venue_bounds
from services.scanner.venue_reader import VenueReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping

    from services.common.tracing import Tracer
    from services.scanner.history_store import HistoryStore
    from services.scanner.live_feeds import Feed
    from services.scanner.live_rules import LiveRules
    from services.scanner.opportunity import Opportunity
    from services.scanner.rules import ScanRules
    from services.scanner.settings import ScannerSettings
    from services.scanner.task_runner import TaskRunner
    from services.scanner.venue_codec import Reading

SERVICE_NAME = "opensqt.market_maker.v1.ScannerService"
# Changes kept for subscribers that come back: this many times the opportunities there can be.
_BACKLOG_SCANS = 4
# Freshness of numbers that stay the same is told in steps of this share of their lifetime.
_FRESHNESS_STEP = 0.1


async def run(settings: ScannerSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set."""
    metrics = ServiceMetrics(settings.service)
    metrics.add_process_metrics()
    show_certificates(metrics, settings)
    async with scanner(settings, metrics) as server:
        await serve(settings, server, metrics, stop)


@asynccontextmanager
async def scanner(
    settings: ScannerSettings,
    metrics: ServiceMetrics,
    *,
    clock: Clock | None = None,
    ids: Ids | None = None,
    store: HistoryStore | None = None,
) -> AsyncIterator[GrpcServer]:
    """Yield the server, not started yet, with channels, workers and scan desk behind it."""
    base = _Base(
        settings, clock or SystemClock(), ids or RandomIds(), metrics, ScannerMetrics(metrics)
    )
    hub = _hub(base)
    live_book, live_rules = LiveBook(), settings.live.rules(base.rules.quarantine.max_rate)
    board = Board(
        hub,
        max_opportunities=settings.max_opportunities,
        news=NewsRules(settings.live.min_change, base.rules.lifetime * _FRESHNESS_STEP),
        clock=base.clock,
        freshen=Freshener(live_book, base.rules, live_rules, base.clock),
    )
    base.measured.live.watch_age(board.oldest_age)
    # Streams and expiry change it between scans too.
    base.measured.opportunities.set_function(lambda: len(board.ranked()))
    base.measured.watch_best(lambda: [float(one.net_apr) for one in board.ranked()[:RANKS]])
    base.measured.scan_interval.set(settings.scan_interval_seconds)
    base.measured.lifetime.set(settings.lifetime_seconds)
    async with AsyncExitStack() as stack:
        tracer = await stack.enter_async_context(
            open_tracer(settings.tracing, settings.service, base.clock)
        )
        # First in, last out: what a scan read until its end is written.
        if store is None:
            store = await stack.enter_async_context(_disk_store(base))
        readers = await _readers(base, stack)
        pool = await stack.enter_async_context(_pool(base, readers))
        runner = await _runner(base, stack, pool, hub)
        desk = _desk(base, _scans(base, runner, store), board, readers, tracer)
        await stack.enter_async_context(_owned(desk.run()))
        if settings.live.count:
            refresh = LiveRefresh(
                board,
                live_book,
                runner,
                await _streams(base, stack, live_book, live_rules),
                settings=settings.live,
                book_depth=base.rules.costs.book_depth,
                is_scanning=lambda: desk.is_scanning,
                clock=base.clock,
                metrics=base.measured.live,
            )
            await stack.enter_async_context(_owned(refresh.run()))
        events = EncodedEvents(settings.max_opportunities)
        server = GrpcServer(settings.grpc, metrics=metrics, clock=base.clock, tracer=tracer)
        servicer = ScannerServicer(board, hub, desk, pool, events, base.clock)
        server.add(scanner_pb2_grpc.add_ScannerServiceServicer_to_server, servicer, SERVICE_NAME)
        # Last in, first out: streams end before the desk, the desk before the workers, those before
        # the channels they call through.
        stack.callback(hub.close)
        yield server


@dataclass(frozen=True, slots=True)
class _Base:
    """What nearly every part is made with."""

    settings: ScannerSettings
    clock: Clock
    ids: Ids
    metrics: ServiceMetrics
    measured: ScannerMetrics

    @property
    def rules(self) -> ScanRules:
        return self.settings.rules()

    @property
    def kinds(self) -> dict[str, InstrumentKind]:
        return {venue.name: InstrumentKind(venue.kind) for venue in self.settings.venues}


def _hub(base: _Base) -> WatchHub[Opportunity]:
    settings = base.settings
    hub: WatchHub[Opportunity] = WatchHub(
        base.ids.new_id(),
        conflate=True,
        backlog=_BACKLOG_SCANS * settings.max_opportunities,
        max_subscribers=settings.max_subscribers,
        heartbeat_seconds=settings.heartbeat_seconds,
        max_lag_seconds=settings.max_lag_seconds,
        clock=base.clock,
    )
    base.measured.subscribers.set_function(lambda: hub.subscriber_count)
    return hub


def _disk_store(base: _Base) -> DiskHistoryStore:
    failures = base.measured.history_write_failures
    return DiskHistoryStore(base.settings.history.path, base.clock, failures)


def _pool(base: _Base, readers: Mapping[str, VenueReader]) -> WorkerPool[VenueTask, Reading]:
    settings = base.settings
    flights: SingleFlight[Reading] = SingleFlight()
    return WorkerPool(
        lambda task: flights.run(task, lambda: readers[task.venue].read(task)),
        size=settings.workers,
        capacity=settings.queue_capacity,
        task_timeout=settings.task_timeout_seconds,
        bounds_of=partial(venue_bounds, list(readers), settings.venue_concurrency),
        venue_of=lambda task: task.venue,
        label_of=kind_of,
        clock=base.clock,
        metrics=base.measured.pool,
    )


def _scans(base: _Base, runner: TaskRunner[VenueTask, Reading], store: HistoryStore) -> Scanner:
    settings, rules = base.settings, base.rules
    draw = random.SystemRandom().random
    loader = HistoryLoader(
        store,
        rules,
        page_size=settings.history_page_size,
        negative=NegativeResults(settings.history.refusal_seconds, base.clock, draw),
    )
    return Scanner(
        base.kinds,
        runner,
        store,
        loader,
        rules,
        shortlist_count=settings.shortlist_count,
        clock=base.clock,
    )


def _desk(
    base: _Base,
    scans: Scanner,
    board: Board,
    readers: Mapping[str, VenueReader],
    tracer: Tracer,
) -> ScanDesk:
    return ScanDesk(
        scans.run,
        board,
        interval_seconds=base.settings.scan_interval_seconds,
        timeout_seconds=base.settings.scan_timeout_seconds,
        call_count=lambda: sum(reader.call_count for reader in readers.values()),
        ids=base.ids,
        clock=base.clock,
        metrics=base.measured,
        traces=ScanTraces(tracer),
    )


async def _readers(base: _Base, stack: AsyncExitStack) -> dict[str, VenueReader]:
    settings = base.settings
    readers: dict[str, VenueReader] = {}
    for venue in settings.venues:
        channel = await stack.enter_async_context(open_channel(venue))
        readers[venue.name] = VenueReader(
            venue.name,
            InstrumentKind(venue.kind),
            channel,
            attempts=settings.read_attempts,
            page_size=settings.history_page_size,
            clock=base.clock,
            metrics=base.measured,
        )
    return readers


async def _streams(
    base: _Base, stack: AsyncExitStack, book: LiveBook, rules: LiveRules
) -> Callable[[Feed], Awaitable[None]]:
    """Return what reads a stream, over connections of their own: long answers hold none up."""
    kinds = base.kinds
    stubs = {
        venue.name: exchange_pb2_grpc.ExchangeServiceStub(
            await stack.enter_async_context(open_channel(venue))
        )
        for venue in base.settings.venues
    }
    return lambda feed: LiveStream(
        feed,
        kinds[feed.venue],
        stubs[feed.venue],
        book,
        rules=rules,
        clock=base.clock,
        metrics=base.measured.live,
    ).run()


async def _runner(
    base: _Base,
    stack: AsyncExitStack,
    pool: WorkerPool[VenueTask, Reading],
    hub: WatchHub[Opportunity],
) -> TaskRunner[VenueTask, Reading]:
    """Return what scans hand their tasks to: the pool, or the queue shared with other machines."""
    settings = base.settings
    if settings.nats is None:
        return pool
    # Only now: without the setting no part of NATS is loaded.
    from services.scanner.nats_queue import QueueBounds, shared_queue

    bounds = QueueBounds(
        venue_bounds(list(base.kinds), settings.venue_concurrency, settings.workers),
        task_seconds=settings.scan_timeout_seconds,
        opportunity_seconds=settings.lifetime_seconds,
    )
    queue = shared_queue(
        settings.nats,
        bounds,
        pool,
        hub,
        clock=base.clock,
        ids=base.ids,
        metrics=QueueMetrics(base.metrics),
    )
    return await stack.enter_async_context(queue)


@asynccontextmanager
async def _owned(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a task for the length of the block; raises what ended the task before that."""
    task = asyncio.create_task(work)
    # The desk takes scans once its task has begun.
    await asyncio.sleep(0)
    try:
        yield
    finally:
        await end_task(task)
