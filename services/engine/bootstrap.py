"""The composition root of the engine: names the concrete classes and owns their lives."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from opensqt.market_maker.v1 import (
    engine_pb2_grpc,
    exchange_pb2_grpc,
    portfolio_pb2_grpc,
    position_pb2_grpc,
    risk_pb2_grpc,
    scanner_pb2_grpc,
)
from services.common.certificates import show_certificates
from services.common.channels import Deadlines, open_channel
from services.common.clock import Clock, SystemClock
from services.common.errors import FatalError
from services.common.garbage_keeper import GarbageKeeper
from services.common.ids import Ids, RandomIds
from services.common.metrics import ServiceMetrics
from services.common.secrets_files import read_secret
from services.common.server import GrpcServer, serve
from services.engine.afterwards import Afterwards
from services.engine.connector_gateway import ConnectorGateway
from services.engine.connector_pulse import ConnectorPulse
from services.engine.connector_risk_reader import ConnectorRiskReader
from services.engine.engine import Engine
from services.engine.engine_needs import EngineDependencies
from services.engine.engine_tracing import open_tracing
from services.engine.follower import OpportunityFollower
from services.engine.follower_board import OfferBoard
from services.engine.gauges import EngineGauges
from services.engine.guard_desk import GuardNeeds
from services.engine.instruments import InstrumentKind
from services.engine.leadership import Leadership
from services.engine.metrics import EngineMetrics
from services.engine.open_journal import OpenJournal, open_file, take_turn
from services.engine.order_entry import open_order_entry
from services.engine.order_news import OrderNews
from services.engine.order_watch import open_order_watch
from services.engine.owned_tasks import OwnedTasks
from services.engine.page.opening import open_page, show_engine
from services.engine.readiness import tell_readiness
from services.engine.risk_alerts import AlertFeed
from services.engine.scanner_client import NoScanner, ScannerClient
from services.engine.servicer import EngineServicer
from services.engine.servicer_portfolio import PortfolioServicer
from services.engine.servicer_positions import PositionServicer
from services.engine.servicer_risk import RiskServicer
from services.engine.strategy_desk import StrategyDesk
from services.engine.strategy_words import StrategyMode
from services.engine.watching import PositionFeed

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Mapping

    from services.engine.guard_ports import RiskReader
    from services.engine.page.server import PageServer
    from services.engine.settings import EngineSettings
    from services.engine.venue_pulse import VenuePulse

_PACKAGE = "opensqt.market_maker.v1"


async def run(settings: EngineSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then let moving positions come to rest within the drain bound.

    With a shared journal it stands by until its turn. Raises FatalError (LEASE_LOST or
    EPOCH_SUPERSEDED) where another engine took its place: then nothing is let come to rest.
    """
    metrics = ServiceMetrics(settings.service)
    metrics.add_process_metrics()
    show_certificates(metrics, settings)
    leadership, opened = Leadership(), None
    async with AsyncExitStack() as stack:
        # Before the turn: who stands by is looked at too.
        page = await open_page(settings, metrics, SystemClock(), stack)
        if settings.shared_journal is not None:
            turn = await take_turn(
                settings,
                settings.shared_journal,
                stack,
                clock=SystemClock(),
                metrics=metrics,
                leadership=leadership,
                stop=stop,
            )
            settings, opened = turn.settings, turn.opened
            if opened is None:
                return
        serving = engine_server(
            settings, metrics, opened=opened, leadership=leadership, owns_process=True, page=page
        )
        server = await stack.enter_async_context(serving)
        watching = OwnedTasks()
        stack.push_async_callback(watching.close)
        watching.spawn(_stop_when_lost(leadership, stop), "leadership")
        await serve(settings, server, metrics, stop, None if page is None else page.address)
    if leadership.is_lost:
        raise FatalError(leadership.problem, reason=leadership.reason)


async def _stop_when_lost(leadership: Leadership, stop: asyncio.Event) -> None:
    await leadership.until_lost()
    stop.set()


@asynccontextmanager
async def engine_server(
    settings: EngineSettings,
    metrics: ServiceMetrics,
    *,
    clock: Clock | None = None,
    ids: Ids | None = None,
    opened: OpenJournal | None = None,
    leadership: Leadership | None = None,
    owns_process: bool = False,
    page: PageServer | None = None,
) -> AsyncIterator[GrpcServer]:
    """Yield the server, not started yet, with journal, venues and drives behind it.

    Without `opened` the journal is the file of the settings. Once `leadership` is lost every drive
    is cut. With `owns_process` garbage is collected between orders. `page` shows the engine once
    it runs. Raises JournalError when the journal cannot be opened or read.
    """
    clock, ids = clock or SystemClock(), ids or RandomIds()
    leadership = leadership or Leadership()
    async with AsyncExitStack() as stack:
        tracing = await stack.enter_async_context(open_tracing(settings, clock))
        later = Afterwards().do
        opened = opened or await open_file(settings, stack, clock)
        scanner, opportunities = await _scanner(settings, stack, clock)
        news = OrderNews()
        feed = PositionFeed(ids.new_id(), clock)
        alerts = AlertFeed(clock)
        readers: dict[str, RiskReader] = {}
        pulses: dict[str, VenuePulse] = {}
        makes, epoch = tracing.gateways(later), opened.epoch
        gateways = await _gateways(settings, stack, clock, news, epoch, readers, pulses, makes)
        engine = Engine(
            EngineDependencies(
                journal=opened.journal,
                gateways=gateways,
                opportunities=scanner,
                listener=tracing.listener(feed),
                observer=EngineMetrics(metrics, (venue.name for venue in settings.venues)),
                clock=clock,
                ids=ids,
                policy=settings.policy.policy(),
                limits=settings.limits.limits(),
                order_events=news,
                risk=settings.risk.limits(),
                halt_flag=opened.halt_flag,
                guards=_guards(settings, readers, alerts),
                leadership=leadership,
                pulses=pulses,
                later=later,
                parts=opened.parts,
                traces=tracing.traces,
            )
        )
        # Before the server: a client that can call must find the positions of the last run.
        await engine.start()
        stack.push_async_callback(_stop, engine, leadership, settings.grpc.drain_seconds)
        strategy = _strategy(settings, engine, opportunities, clock)
        stack.push_async_callback(strategy.stop)
        gauges = EngineGauges(metrics)
        show_engine(page, engine, clock, opportunities, alerts, strategy, gauges)
        # Streams must end before the server waits for its calls, else it waits for them in vain.
        stack.callback(feed.close)
        stack.callback(alerts.close)
        server = GrpcServer(settings.grpc, metrics=metrics, clock=clock, tracer=tracing.tracer)
        _register(server, engine, feed, alerts, scanner, strategy)
        telling = _telling(engine, server, gauges, clock, leadership)
        stack.push_async_callback(telling.close)
        if owns_process:
            telling.spawn(_keeper(gateways, clock).run(), "garbage")
        yield server


def _keeper(gateways: Mapping[str, ConnectorGateway], clock: Clock) -> GarbageKeeper:
    return GarbageKeeper(lambda: all(each.is_idle for each in gateways.values()), clock)


def _telling(
    engine: Engine,
    server: GrpcServer,
    gauges: EngineGauges,
    clock: Clock,
    leadership: Leadership,
) -> OwnedTasks:
    tasks = OwnedTasks()
    tasks.spawn(_cut_when_lost(leadership, engine), "leadership")
    showing = gauges.run(engine.ledger, engine.risk, engine.guards, clock)
    tasks.spawn(showing, "gauges")
    tasks.spawn(tell_readiness(server, lambda: engine.takes_entries, clock), "readiness")
    return tasks


async def _cut_when_lost(leadership: Leadership, engine: Engine) -> None:
    await leadership.until_lost()
    await engine.stop(timedelta(0))


async def _stop(engine: Engine, leadership: Leadership, drain_seconds: float) -> None:
    # What moves is another engine's then: it will not come to rest by us.
    await engine.stop(timedelta(seconds=0 if leadership.is_lost else drain_seconds))


def _guards(
    settings: EngineSettings, readers: dict[str, RiskReader], alerts: AlertFeed
) -> GuardNeeds | None:
    if not settings.guards.enabled:
        return None
    return GuardNeeds(readers, alerts, settings.guards.limits(), settings.guards.pace())


def _register(
    server: GrpcServer,
    engine: Engine,
    feed: PositionFeed,
    alerts: AlertFeed,
    scanner: ScannerClient | NoScanner,
    strategy: StrategyDesk,
) -> None:
    server.add(
        engine_pb2_grpc.add_EngineServiceServicer_to_server,
        EngineServicer(engine, feed, strategy),
        f"{_PACKAGE}.EngineService",
    )
    server.add(
        portfolio_pb2_grpc.add_PortfolioServiceServicer_to_server,
        PortfolioServicer(scanner),
        f"{_PACKAGE}.PortfolioService",
    )
    server.add(
        risk_pb2_grpc.add_RiskServiceServicer_to_server,
        RiskServicer(engine.risk, alerts, engine.comparisons),
        f"{_PACKAGE}.RiskService",
    )
    server.add(
        position_pb2_grpc.add_PositionServiceServicer_to_server,
        PositionServicer(engine.ledger, feed),
        f"{_PACKAGE}.PositionService",
    )


async def _scanner(
    settings: EngineSettings, stack: AsyncExitStack, clock: Clock
) -> tuple[ScannerClient | NoScanner, scanner_pb2_grpc.ScannerServiceAsyncStub | None]:
    endpoint = settings.scanner
    if endpoint is None:
        return NoScanner(), None
    channel = await stack.enter_async_context(
        open_channel(
            endpoint.address,
            token=None if endpoint.token_file is None else read_secret(endpoint.token_file),
            tls=endpoint.tls,
            deadlines=Deadlines(endpoint.call_timeout),
        )
    )
    stub = scanner_pb2_grpc.ScannerServiceStub(channel)
    return ScannerClient(stub, clock, call_seconds=endpoint.call_timeout.total_seconds()), stub


def _strategy(
    settings: EngineSettings,
    engine: Engine,
    stub: scanner_pb2_grpc.ScannerServiceAsyncStub | None,
    clock: Clock,
) -> StrategyDesk:
    ours = settings.strategy
    board = OfferBoard(ours.max_offer_age)
    policy, ledger = ours.policy(), engine.ledger
    desk = StrategyDesk(engine, ledger, board, clock, policy, ours.mode, engine.carries)
    if stub is not None:
        follower = OpportunityFollower(stub, clock, board, silence=ours.stream_silence)
        desk.start(follower.run(lambda: desk.mode is not StrategyMode.MANUAL))
    return desk


async def _gateways(
    settings: EngineSettings,
    stack: AsyncExitStack,
    clock: Clock,
    news: OrderNews,
    epoch: int,
    readers: dict[str, RiskReader],
    pulses: dict[str, VenuePulse],
    new_gateway: Callable[..., ConnectorGateway],
) -> dict[str, ConnectorGateway]:
    gateways: dict[str, ConnectorGateway] = {}
    for venue in settings.venues:
        channel = await stack.enter_async_context(open_channel(venue))
        stub = exchange_pb2_grpc.ExchangeServiceStub(channel)
        entry = await stack.enter_async_context(open_order_entry(venue.name, stub, clock, epoch))
        watch = open_order_watch(venue.name, stub, clock, news.tell, news.tell_forced)
        await stack.enter_async_context(watch)
        kind = InstrumentKind(venue.kind)
        pulses[venue.name] = ConnectorPulse(stub)
        guard_seconds = settings.guards.call_timeout.total_seconds()
        readers[venue.name] = ConnectorRiskReader(
            venue.name, kind, stub, call_seconds=guard_seconds
        )
        gateways[venue.name] = new_gateway(
            venue.name,
            kind,
            stub,
            call_seconds=settings.policy.call_timeout.total_seconds(),
            place_seconds=settings.policy.place_timeout.total_seconds(),
            entry=entry,
            epoch=epoch,
        )
    return gateways
