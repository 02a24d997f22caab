"""The composition root: settings in, a running connector out."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from opensqt.market_maker.v1 import events_pb2, exchange_pb2_grpc
from services.common.certificates import show_certificates
from services.common.clock import SystemClock
from services.common.errors import OpensqtError, UnreachableError
from services.common.garbage_keeper import GarbageKeeper
from services.common.ids import RandomIds
from services.common.logs import get_logger
from services.common.metrics import ServiceMetrics
from services.common.open_tracer import open_tracer
from services.common.rate_window import scale_allowances
from services.common.room_reserve import ReserveFile
from services.common.server import GrpcServer, serve
from services.connector.connection_warmer import ConnectionWarmer
from services.connector.connector_metrics import ConnectorMetrics
from services.connector.data_part import build_data_part
from services.connector.desk_options import DeskOptions
from services.connector.engine_epochs import EngineEpochs
from services.connector.evidence_reader import EvidenceReader
from services.connector.exchange_factory import build_exchange, new_session
from services.connector.instruments import InstrumentBook
from services.connector.kept_answers import ConfigWatch
from services.connector.ledger import Ledger
from services.connector.limits_gate import OrderGate
from services.connector.limits_part import build_limits
from services.connector.market_loader import MarketLoader
from services.connector.order_desk import OrderDesk
from services.connector.order_gap import OrderGap
from services.connector.order_part import OrderPart
from services.connector.order_reader import OrderReader
from services.connector.order_settler import OrderSettler, SettlePace
from services.connector.order_source import OrderSource
from services.connector.order_stream import OrderStream, close_sockets
from services.connector.position_witness import AccountWitness
from services.connector.profile import DEFAULT_RECV_WINDOW, Credentials
from services.connector.rate_budget import RateBudget
from services.connector.servicer import SERVICE_NAME, ExchangeServicer
from services.connector.stream_hub import HubOptions, StreamHub
from services.connector.stream_probe import ProbePace
from services.connector.trade_reader import TradeReader
from services.connector.venue import Venue
from services.connector.venue_ban import BanFile, ConnectGate
from services.connector.venue_http import HeaderObserver
from services.connector.venue_orders import VenueOrders
from services.connector.venue_stamps import VenueStamps
from services.connector.venue_upkeep import VenueUpkeep
from services.connector.venues import find_profile
from services.connector.websocket_entry import WebSocketEntry
from services.connector.withdrawal_guard import check_withdrawal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    import aiohttp

    from services.common.clock import Clock
    from services.connector.evidence_reader import PositionWitness
    from services.connector.limits_guard import LimitsGuard
    from services.connector.limits_part import Limits
    from services.connector.settings import ConnectorPart, ConnectorSettings

    Errand = Callable[[], Coroutine[Any, Any, None]]

_logger = get_logger(__name__)
_ORDER_STREAM_IDLE_SECONDS = 86_400.0
"""A user stream is silent while nobody trades: silence is no drop there."""

_FIRST_RETRY_SECONDS = 0.5
_MOST_RETRY_SECONDS = 10.0


async def run_connector(settings: ConnectorSettings, stop: asyncio.Event) -> None:
    """Serve one venue account until `stop` is set.

    Starts to serve once the venue's clock and markets are read. Raises FatalError when the ledger
    or an address is taken, UnreachableError when `stop` is set before the venue has answered.
    """
    metrics = ServiceMetrics(settings.service)
    metrics.add_process_metrics()
    show_certificates(metrics, settings)
    own = ConnectorMetrics(metrics)
    async with (
        open_tracer(settings.tracing, settings.service, SystemClock()) as tracer,
        open_servicer(settings.connector, own, stop=stop, owns_process=True) as servicer,
    ):
        # Made last, so that no call arrives before the ledger's open orders are taken up.
        server = GrpcServer(settings.grpc, metrics=metrics, tracer=tracer)
        server.add(exchange_pb2_grpc.add_ExchangeServiceServicer_to_server, servicer, SERVICE_NAME)
        await serve(settings, server, metrics, stop)


@asynccontextmanager
async def open_servicer(
    part: ConnectorPart,
    metrics: ConnectorMetrics,
    clock: Clock | None = None,
    stop: asyncio.Event | None = None,
    *,
    owns_process: bool = False,
) -> AsyncIterator[ExchangeServicer]:
    """Open ledger, ccxt instances and streams, yield the servicer, and close all in order.

    Waits for the venue; when `stop` is set meanwhile, UnreachableError is raised. With
    `owns_process` it also takes over what there is one of per process: the garbage collector.
    """
    async with AsyncExitStack() as stack:
        path = part.ledger_path
        reserve = ReserveFile(path.with_name(f"{path.name}.reserve"))
        ledger = Ledger(path, part.ledger_owner, reserve, metrics)
        ledger.open()
        # Closed last: orders under way write their end while the rest shuts down.
        stack.callback(ledger.close)
        held = clock or SystemClock()
        limits = _open_limits(part, ledger, held, metrics)
        _tell_paper(part, metrics)
        venue = await _open_venue(part, metrics, held, stack)
        metrics.watch_clock(venue.skew_seconds)
        upkeep = _build_upkeep(part, venue)
        stopping = stop or asyncio.Event()
        # Both public, so together; signed calls of a skewed host would all be refused (-1021).
        await asyncio.gather(
            _retry_first(upkeep.measure_clock, stopping),
            _retry_first(upkeep.load_markets, stopping),
        )
        bounds = HubOptions(
            queue_limit=part.subscriber_queue_limit, poll_seconds=part.funding_poll_seconds
        )
        data = build_data_part(
            venue,
            _reload(upkeep),
            bounds,
            observer=metrics,
            kept_seconds=part.kept_answers_seconds,
        )
        witness = AccountWitness(data.account)
        entry = _websocket_entry(part, venue)
        orders, stream = _build_orders(part, venue, ledger, limits.guard, witness, metrics, entry)
        venue.trading.observer = ConfigWatch(stream, data.kept.forget)
        stack.push_async_callback(data.close)
        stack.push_async_callback(orders.hub.close)
        if part.has_key:
            allowed = part.allow_withdrawal_key
            await check_withdrawal(data.account, held, allowed=allowed, is_paper=part.is_paper)
        errands: list[Errand] = [
            *(upkeep.keep_clock, upkeep.watch_clock, upkeep.keep_markets),
            *limits.errands(data),
        ]
        if part.has_key:
            metrics.expect_stream()
            errands.append(stream.run)
            errands.append(ConnectionWarmer(venue, part.keep_warm_seconds).run)
        if entry is not None:
            errands.append(entry.run)
        if owns_process:
            errands.append(_garbage_errand(part, orders.desk, held, metrics))
        await stack.enter_async_context(_errands(errands))
        # After the stream is started: it answers most of what was left open.
        await orders.desk.start()
        if part.has_key:
            orders.desk.read_ahead()
        stack.push_async_callback(_close_desk, orders.desk, part.drain_orders_seconds)
        yield ExchangeServicer(orders, data)


def _open_limits(
    part: ConnectorPart, ledger: Ledger, clock: Clock, metrics: ConnectorMetrics
) -> Limits:
    # Before the venue: a ledger without its halt file is taken for a halt at the next start.
    limits = build_limits(part.limits, part.ledger_path, ledger, clock, metrics)
    metrics.watch_halt(lambda: limits.guard.halt.state().halted)
    return limits


def _tell_paper(part: ConnectorPart, metrics: ConnectorMetrics) -> None:
    metrics.mark_paper(is_paper=part.is_paper)
    if part.is_paper:
        _logger.warning("paper_trading", exchange=part.exchange, paper_url=part.paper_url)


def _garbage_errand(
    part: ConnectorPart, desk: OrderDesk, clock: Clock, metrics: ConnectorMetrics
) -> Errand:
    keeper = GarbageKeeper(lambda: desk.is_idle, clock)
    metrics.watch_garbage(lambda: keeper.longest_seconds)
    return keeper.run if part.idle_collection else keeper.measure


async def _open_venue(
    part: ConnectorPart, metrics: ConnectorMetrics, clock: Clock, stack: AsyncExitStack
) -> Venue:
    profile = find_profile(part.exchange)
    fence = part.fence()
    allowances = scale_allowances(profile.allowances, part.allowance_scale)
    # One for both instances: the venue counts by address and account, not by connection.
    ban = BanFile(part.ledger_path, clock)
    budget = RateBudget(
        allowances,
        clock,
        scan_calls_at_once=part.scan_calls_at_once,
        observer=metrics,
        keep_ban=ban.keep,
    )
    ban.restore(budget)
    for name in budget.classes:
        metrics.watch_budget(name, partial(budget.used_ratio, name))

    async def build() -> Any:
        # Connections of its own, too: reads that wait for one stand in no order's way.
        session = await stack.enter_async_context(new_session(ConnectGate(budget, profile.bans)))
        exchange = _build_exchange(part, session, part.read_credentials())
        exchange.observer = HeaderObserver(budget)
        exchange.budget = budget
        stack.push_async_callback(_close_exchange, exchange)
        return exchange

    return Venue(
        code=part.exchange,
        name=part.venue_name,
        kind=profile.kind,
        # Two instances: a flood of reads or a reload must not share state with orders.
        exchange=await build(),
        trading=await build(),
        instruments=InstrumentBook(),
        budget=budget,
        clock=clock,
        profile=profile,
        fence=fence,
        observer=metrics,
    )


def _websocket_entry(part: ConnectorPart, venue: Venue) -> WebSocketEntry | None:
    form = venue.profile.websocket
    if part.order_entry != "websocket" or form is None or not part.has_key:
        return None
    session = venue.trading.session
    return WebSocketEntry(session, venue.trading, form, venue.clock, part.request_timeout())


def _build_exchange(
    part: ConnectorPart, session: aiohttp.ClientSession, credentials: Credentials
) -> Any:
    fence = part.fence()
    return build_exchange(
        find_profile(part.exchange),
        session,
        base_url=part.venue_url,
        credentials=credentials,
        recv_window=DEFAULT_RECV_WINDOW if fence is None else fence.recv_window,
        request_timeout=part.request_timeout(),
    )


def _build_upkeep(part: ConnectorPart, venue: Venue) -> VenueUpkeep:
    loader = MarketLoader(
        # Without keys: what the loader asks is public, and no thread but the loop's holds secrets.
        lambda session: _build_exchange(part, session, Credentials()),
        venue.profile,
        frozenset(part.symbols) or None,
    )
    return VenueUpkeep(
        venue,
        loader,
        reload_seconds=part.market_reload_seconds,
        clock_seconds=part.clock_check_seconds,
    )


def _build_orders(
    part: ConnectorPart,
    venue: Venue,
    ledger: Ledger,
    guard: LimitsGuard,
    witness: PositionWitness,
    metrics: ConnectorMetrics,
    entry: WebSocketEntry | None,
) -> tuple[OrderPart, OrderStream]:
    calls = VenueOrders(venue, entry)
    options = DeskOptions(
        max_wait_seconds=part.order_wait_seconds, fill_seconds=part.fill_wait_seconds
    )
    stamps = VenueStamps(venue)
    evidence = EvidenceReader(venue, calls, ledger, stamps, witness)
    settler = OrderSettler(calls, evidence, venue.clock, SettlePace(), metrics)
    gate = OrderGate(guard, ledger)
    desk = OrderDesk(venue, calls, settler, ledger, stamps, RandomIds(), options, metrics, gate)
    gap = OrderGap(venue, calls, desk, stamps)
    stream = OrderStream(venue, desk, gap, stamps, metrics, ProbePace())
    # The stream must see messages before the first watch is made, or it misses the first.
    venue.trading.observer = stream
    reader = OrderReader(venue, calls, desk)
    hub: StreamHub[str, events_pb2.OrderUpdate] = StreamHub(
        "orders",
        lambda _key: OrderSource(venue, stream, reader),
        venue.clock,
        HubOptions(
            queue_limit=part.subscriber_queue_limit, idle_seconds=_ORDER_STREAM_IDLE_SECONDS
        ),
        observer=metrics,
    )
    trades = TradeReader(venue, calls, desk)
    epochs = EngineEpochs(part.ledger_path)
    return OrderPart(venue, desk, reader, trades, hub, guard, epochs), stream


def _reload(upkeep: VenueUpkeep) -> Any:
    async def reload() -> None:
        await upkeep.load_markets()

    return reload


async def _retry_first(read: Any, stop: asyncio.Event) -> None:
    """Repeat a first read until it succeeds: a connector may start before its venue is up."""
    wait = _FIRST_RETRY_SECONDS
    while True:
        try:
            await read()
        # Only what may pass or names itself; a bug in a first read should stop the start.
        except OpensqtError as error:
            _logger.warning("venue_not_ready", reason=error.reason, problem=error.message)
        else:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await stop.wait()
            raise UnreachableError("stopped before the venue answered")
        wait = min(wait * 2, _MOST_RETRY_SECONDS)


@asynccontextmanager
async def _errands(work: list[Errand]) -> AsyncIterator[None]:
    """Run endless errands beside the block and cancel them at its end."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(keep_running(one)) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def keep_running(errand: Errand, pause_seconds: float = _MOST_RETRY_SECONDS) -> None:
    """Run an endless errand, again after whatever ends it; ends with the cancellation of its task.

    A clock or an order stream that stops being kept would show only much later, in orders.
    """
    while True:
        try:
            await errand()
        except Exception:
            _logger.exception("errand_broke", errand=getattr(errand, "__qualname__", ""))
        await asyncio.sleep(pause_seconds)


async def _close_desk(desk: OrderDesk, seconds: float) -> None:
    left = await desk.close(seconds)
    if left:
        _logger.warning("orders_left_to_ledger", count=left)


async def _close_exchange(exchange: Any) -> None:
    await close_sockets(exchange)
    await exchange.close()
