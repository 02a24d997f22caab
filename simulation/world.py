"""A whole system in one process and in virtual time: venues, connectors and the engine.

    world = World(seed)
    world.run(scenario)   # async def scenario(world) -> result

Everything that a world draws comes from its seed, and everything that happens is told to its trace:
equal seeds give equal hashes, in any process. `crash` is a SIGKILL, `restart` a new process on the
same disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar
from unittest import mock

import structlog
from pydantic import SecretStr

from services.common.metrics import ServiceMetrics
from services.connector import bootstrap as connector_bootstrap
from services.connector.connector_metrics import ConnectorMetrics
from services.connector.settings import ConnectorPart
from services.engine import commands as cmd
from services.engine.connector_gateway import ConnectorGateway
from services.engine.engine import Engine, EngineDependencies
from services.engine.events import Event
from services.engine.instruments import InstrumentKind, InstrumentRef, LegSide
from services.engine.policy import EngineLimits, EnginePolicy
from services.engine.scanner_client import NoScanner
from services.engine.views import PositionStatus, PositionView
from services.simulator.bootstrap import make_simulation
from services.simulator.core.events import Event as VenueEvent
from services.simulator.core.events import OrderEvent
from services.simulator.gateway import Gateway
from simulation.loop import PROCESS, Process, SimLoop, context_of
from simulation.loop_time import SeededIds, SimClock, own_time
from simulation.transport import SimSession, VenueDoor
from simulation.transport_calls import CallDoor, ConnectorStub
from simulation.transport_network import LinkFaults, Network
from simulation.transport_sockets import SocketDoor
from simulation.world_disk import JournalImage, LedgerImage, SimJournal, SimLedger
from simulation.world_listener import Listener
from simulation.world_markets import (
    API_KEY,
    API_SECRET,
    BASE_URL,
    KeptLoader,
    loaded_markets,
    market_source,
    simulator_settings,
)
from simulation.world_trace import Trace

T = TypeVar("T")
SPOT: Final = "binance"
PERPETUAL: Final = "binanceusdm"
ENGINE: Final = "engine"
KINDS: Final[Mapping[str, InstrumentKind]] = {
    SPOT: InstrumentKind.SPOT,
    PERPETUAL: InstrumentKind.PERPETUAL,
}
_POLICY: Final = EnginePolicy(funding_read_interval=timedelta(seconds=60))
_LIMITS: Final = EngineLimits()
_VENUE_LINK: Final = LinkFaults(0.001, 0.02)
_ENGINE_LINK: Final = LinkFaults(0.0001, 0.001)
_TICK_SECONDS: Final = 0.1
_LOOK_SECONDS: Final = 0.02
_SILENT: Final = logging.CRITICAL + 1


class DiedError(Exception):
    """The process that was to answer has died."""


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """What worlds differ in beside their seed; times in seconds, the fence is the sum of three."""

    symbol_count: int = 12
    market_seed: int = 7
    recv_window: float = 1.0
    processing: float = 0.5
    clock_bound: float = 0.1
    policy: EnginePolicy = _POLICY
    limits: EngineLimits = _LIMITS
    venue_link: LinkFaults = _VENUE_LINK
    engine_link: LinkFaults = _ENGINE_LINK
    longest_seconds: float = 900.0

    @property
    def fence(self) -> float:
        """Return after how many seconds "not found" is proof."""
        return self.recv_window + self.processing + self.clock_bound


# Not frozen: processes come and go.
@dataclass(slots=True)
class Connector:
    """One venue account's connector: what outlives a crash of it, and its present life."""

    name: str
    part: ConnectorPart
    image: LedgerImage
    door: CallDoor
    process: Process | None = None


# Mutable: the world goes on inside. Its parts are made when it is run.
class World:
    """See the module's text."""

    def __init__(self, seed: int, config: WorldConfig | None = None) -> None:
        self.seed = seed
        self.config = config or WorldConfig()
        self.random = random.Random(seed)  # noqa: S311 - a seed must repeat
        self.loop = SimLoop()
        self.clock = SimClock(self.loop)
        self.trace = Trace(self.loop.time)
        self.network = Network(self.loop, self._chance())
        self.journal = JournalImage()
        self.listener = Listener(self.trace)
        self.connectors: dict[str, Connector] = {}
        self.engine: Engine | None = None
        self.engine_process: Process | None = None
        self._disk_chance = self._chance()
        self._ids = SeededIds(self._chance())
        self._past: list[Process] = []
        self._venue = Process("venue")

    def run(self, scenario: Callable[[World], Awaitable[T]]) -> T:
        """Live a scenario and return its result.

        Raises what it raises, DeadlockError, TimeLimitError, and AssertionError for an error in a
        task that nobody awaited.
        """
        config = self.config
        for name in KINDS:
            loaded_markets(name, config.symbol_count, config.market_seed)
        self.loop.end = self.loop.time() + config.longest_seconds
        with contextlib.ExitStack() as stack:
            stack.enter_context(_quiet())
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_memory())))
            stack.enter_context(own_time(self.clock, self._chance()))
            stack.callback(self._end)
            self._make(folder)
            stack.enter_context(self._own_connector_parts())
            asyncio.set_event_loop(self.loop)
            return self.loop.run_until_complete(scenario(self))

    async def start(self) -> None:
        """Start both connectors, then the engine; returns when entries are served."""
        await asyncio.gather(*(self.restart(name) for name in KINDS))
        await self.restart(ENGINE)
        await self._until(lambda: self.living_engine().status().reconciled)

    async def restart(self, name: str) -> None:
        """Start a process anew on its disk; raises DiedError when it dies on the way."""
        process = Process(name)
        self._past.append(process)
        self.trace.tell("start", name)
        begin = self._begin_engine if name == ENGINE else self._begin_connector
        await self.within(process, begin(process))
        self.trace.tell("serving", name)

    def crash(self, name: str) -> None:
        """Kill a process as SIGKILL does; one that is not running stays so."""
        process = self.process(name)
        if process is not None:
            process.die()

    def process(self, name: str) -> Process | None:
        """Return the living process of a name, None when there is none."""
        found = self.engine_process if name == ENGINE else self.connectors[name].process
        return None if found is None or found.is_dead else found

    def heal(self) -> None:
        """End all faults of the venue, the wires, the disks and the clocks."""
        self.network.heal()
        self.simulation.faults.clear()
        self.journal.is_full = False
        for connector in self.connectors.values():
            connector.image.is_full = False
        for process in self._past:
            process.wall_offset = 0.0
        self.trace.tell("heal", "")

    def living_engine(self) -> Engine:
        """Return the engine; raises DiedError when there is none."""
        if self.engine is None or self.process(ENGINE) is None:
            raise DiedError("the engine is not running")
        return self.engine

    async def open(
        self,
        symbol: str = "BTCUSDT",
        *,
        notional: Decimal | None = Decimal(400),
        spot_is_long: bool = True,
        lead: LegSide | None = None,
        request_id: str = "",
        **options: Any,
    ) -> PositionView:
        """Ask the engine to enter; returns when it has taken it, raises what it refuses with."""
        legs = {name: InstrumentRef(name, symbol, kind) for name, kind in KINDS.items()}
        command = cmd.OpenCommand(
            request_id or self._ids.new_uuid(),
            long_leg=legs[SPOT if spot_is_long else PERPETUAL],
            short_leg=legs[PERPETUAL if spot_is_long else SPOT],
            notional=notional,
            lead_leg=lead,
            **{"slippage_bound_ratio": Decimal("0.01"), **options},
        )
        return await self.ask(lambda engine: engine.open(command))

    async def close(self, position_id: str, *, request_id: str = "") -> PositionView:
        """Ask the engine to exit a position."""
        command = cmd.CloseCommand(request_id or self._ids.new_uuid(), position_id)
        return await self.ask(lambda engine: engine.close(command))

    async def reduce(self, position_id: str, ratio: Decimal) -> PositionView:
        """Ask the engine to take a share off both legs."""
        command = cmd.ReduceCommand(self._ids.new_uuid(), position_id, ratio=ratio)
        return await self.ask(lambda engine: engine.reduce(command))

    async def ask(self, use: Callable[[Engine], Coroutine[Any, Any, T]]) -> T:
        """Use the engine from inside its process; raises DiedError when it dies meanwhile."""
        engine = self.living_engine()
        process = self.process(ENGINE)
        if process is None:
            raise DiedError("the engine is not running")
        return await self.within(process, use(engine))

    async def settled(self, position_id: str, seconds: float | None = None) -> PositionView:
        """Wait until a position rests; raises TimeoutError when it does not in time."""
        resting = (PositionStatus.OPEN, PositionStatus.CLOSED, PositionStatus.FLAT)
        async with asyncio.timeout(self.config.fence + 5.0 if seconds is None else seconds):
            await self._until(lambda: self.living_engine().get(position_id).status in resting)
        return self.living_engine().get(position_id)

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():  # noqa: ASYNC110 - the engine has no event for each of these
            await asyncio.sleep(_LOOK_SECONDS)

    def journal_rows(self) -> tuple[Event, ...]:
        """Return the durable events of the engine's journal."""
        return self.journal.events()

    def ledger_rows(self, name: str) -> list[dict[str, Any]]:
        """Return the durable rows of a connector's ledger."""
        cursor = self.connectors[name].image.connection.execute("SELECT * FROM orders")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    async def within(self, process: Process, work: Coroutine[Any, Any, T]) -> T:
        """Do work inside a process and return its result; raises DiedError when that dies."""
        outcome: asyncio.Future[T] = self.loop.create_future()

        def mourn() -> None:
            if not outcome.done():
                error = DiedError(f"{process.name} has died")
                # Whoever kills it may do so in its own context, where nothing runs any more.
                self.loop.call_soon(_fail, outcome, error, context=context_of(None))

        def finish(done: asyncio.Task[T]) -> None:
            if outcome.done():
                return
            if done.cancelled():
                outcome.cancel()
            elif (error := done.exception()) is not None:
                outcome.set_exception(error)
            else:
                outcome.set_result(done.result())

        process.mourners.append(mourn)
        task = self.loop.create_task(work, context=context_of(process))
        task.add_done_callback(finish, context=context_of(process))
        try:
            return await outcome
        finally:
            process.mourners.remove(mourn)

    def _make(self, folder: Path) -> None:
        config = self.config
        self.simulation = make_simulation(
            simulator_settings(config.symbol_count, config.market_seed, config.processing),
            wire=self.clock,
            source=market_source(config.symbol_count, config.market_seed),
        )
        self.simulation.exchange.listeners.append(self._venue_event)
        gateway = Gateway(self.simulation)
        self._rest = VenueDoor(gateway, self.network, self.trace.tell, self._venue)
        self._sockets = SocketDoor(self.simulation, gateway, self.network, self._venue)
        self.loop.call_later(_TICK_SECONDS, self._tick, context=context_of(self._venue))
        for name in KINDS:
            self.network.links[name] = config.venue_link
            self.network.links[f"{ENGINE}-{name}"] = config.engine_link
            self.connectors[name] = Connector(
                name, self._part(name, folder), LedgerImage(), CallDoor(self.network)
            )

    def _part(self, name: str, folder: Path) -> ConnectorPart:
        config = self.config
        return ConnectorPart(
            exchange=name,
            base_url=BASE_URL,
            api_key=SecretStr(API_KEY),
            api_secret=SecretStr(API_SECRET),
            ledger_path=folder / f"{name}.ledger",
            recv_window_ms=round(config.recv_window * 1_000),
            venue_processing_seconds=config.processing,
            clock_bound_seconds=config.clock_bound,
            request_timeout_seconds=5.0,
            allowance_scale=4.0,
        )

    @contextlib.contextmanager
    def _own_connector_parts(self) -> Any:
        """Give the connector's composition root what stands here for disk, wire and chance."""
        config = self.config

        def session(*gates: Any) -> SimSession:
            return SimSession(_here(), self.network, self._rest, self._sockets, gates)

        def ledger(path: Path, venue: str) -> SimLedger:
            image = self.connectors[_here()].image
            return SimLedger(image, self._disk_chance, self._ledger_written, path, venue)

        def loader(build: Any, profile: Any, allowed: Any) -> KeptLoader:
            del build, profile, allowed
            name = _here()
            return KeptLoader(
                self.network,
                name,
                lambda: loaded_markets(name, config.symbol_count, config.market_seed),
            )

        with mock.patch.multiple(
            connector_bootstrap,
            new_session=session,
            Ledger=ledger,
            MarketLoader=loader,
            RandomIds=lambda: self._ids,
        ):
            yield

    async def _begin_connector(self, process: Process) -> None:
        connector = self.connectors[process.name]
        connector.process = process
        process.mourners.append(lambda: self.trace.tell("crash", process.name))
        serving: asyncio.Future[None] = self.loop.create_future()

        async def live() -> None:
            opened = connector_bootstrap.open_servicer(
                connector.part, _connector_metrics(process.name), self.clock
            )
            async with opened as servicer:
                connector.door.open(process, servicer)
                serving.set_result(None)
                await asyncio.Event().wait()

        life = self.loop.create_task(live())
        # A start that fails must be heard of, not waited for.
        await asyncio.wait({life, serving}, return_when=asyncio.FIRST_COMPLETED)
        if life.done():
            life.result()

    async def _begin_engine(self, process: Process) -> None:
        self.engine_process, self.engine = process, None
        process.mourners.append(lambda: self.trace.tell("crash", process.name))
        config = self.config
        gateways = {
            name: ConnectorGateway(
                name,
                kind,
                ConnectorStub(  # type: ignore[arg-type]  # stands for the generated stub
                    f"{ENGINE}-{name}", self.network, self.connectors[name].door, process
                ),
                call_seconds=config.policy.call_timeout.total_seconds(),
                place_seconds=config.policy.place_timeout.total_seconds(),
            )
            for name, kind in KINDS.items()
        }
        engine = Engine(
            EngineDependencies(
                journal=SimJournal(self.journal, self._disk_chance, self._journal_written),
                gateways=gateways,
                opportunities=NoScanner(),
                listener=self.listener,
                observer=self.listener,
                clock=self.clock,
                ids=self._ids,
                policy=config.policy,
                limits=config.limits,
            )
        )
        await engine.start()
        self.engine = engine

    def _tick(self) -> None:
        self.simulation.exchange.advance()
        self._sockets.users.poll()
        self.loop.call_later(_TICK_SECONDS, self._tick)

    def _venue_event(self, event: VenueEvent) -> None:
        if isinstance(event, OrderEvent):
            order = event.order
            request = order.request
            self.trace.tell(
                "venue",
                f"{event.execution} {request.product} {request.symbol} {request.side}"
                f" {request.client_order_id} {order.status} {order.executed}/{request.quantity}",
            )

    def _journal_written(self, kind: str) -> None:
        self.trace.tell("journal", kind)

    def _ledger_written(self) -> None:
        self.trace.tell("ledger", _here())

    def _chance(self) -> random.Random:
        return random.Random(self.random.getrandbits(64))  # noqa: S311 - a seed must repeat

    def _end(self) -> None:
        """Stop everything where it is."""
        for process in (*self._past, self._venue):
            process.mourners.clear()
            process.is_dead = True
            process.bury()
        for connector in self.connectors.values():
            connector.image.close()
        asyncio.set_event_loop(None)
        self.loop.close()


def _here() -> str:
    process = PROCESS.get()
    return "" if process is None else process.name


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


_METRICS: Final[dict[str, ConnectorMetrics]] = {}


def _connector_metrics(name: str) -> ConnectorMetrics:
    # Nothing decides by them, and to register a set of them takes longer than a start.
    if name not in _METRICS:
        _METRICS[name] = ConnectorMetrics(ServiceMetrics("connector"))
    return _METRICS[name]


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a folder of one's own in it


@contextlib.contextmanager
def _quiet() -> Any:
    """Log nothing, and collect no garbage: when it would is not the seed's to say."""
    before, was_on = logging.root.manager.disable, gc.isenabled()
    told = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_SILENT))
    logging.disable(logging.CRITICAL)
    gc.disable()
    try:
        yield
    finally:
        logging.disable(before)
        structlog.configure(**told)
        if was_on:
            gc.enable()
