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
import random
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from services.engine import commands as cmd
from services.engine.engine import Engine
from services.engine.events import EntryIntended, Event
from services.engine.instruments import InstrumentRef, LegSide
from services.engine.views import PositionStatus, PositionView
from services.simulator.bootstrap import make_simulation
from services.simulator.core.events import Event as VenueEvent
from services.simulator.core.events import OrderEvent
from services.simulator.market.source import MarketSource
from simulation.loop import PROCESS, Process, SimLoop, context_of
from simulation.loop_time import SeededIds, SimClock, own_time
from simulation.moved_market import MovedMarket
from simulation.transport_network import Network
from simulation.world_config import ENGINE, KINDS, PERPETUAL, SPOT, DiedError, WorldConfig, link_to
from simulation.world_connectors import Connector, Connectors, Wires
from simulation.world_disk import JournalImage
from simulation.world_engine import Ground, make_engine
from simulation.world_listener import Listener
from simulation.world_markets import market_source, prepare, simulator_settings
from simulation.world_quiet import memory_folder, quiet, unheard
from simulation.world_trace import Trace

__all__ = ["ENGINE", "KINDS", "PERPETUAL", "SPOT", "DiedError", "World", "WorldConfig"]

T = TypeVar("T")
_TICK_SECONDS: Final = 0.25
"""How often the venue looks at what happens by itself; requests make it look too."""

_LOOK_SECONDS: Final = 0.02
_RESTING: Final = (PositionStatus.OPEN, PositionStatus.CLOSED, PositionStatus.FLAT)


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
        self.engine: Engine | None = None
        self.engine_process: Process | None = None
        self._disk_chance = self._chance()
        self._ids = SeededIds(self._chance())
        self.entries: list[tuple[float, bool]] = []
        self._past: list[Process] = []
        self._venue = Process("venue")
        source = market_source(self.config.symbol_count, self.config.market_seed)
        self.market = MovedMarket(source)
        self.simulation = make_simulation(
            simulator_settings(
                self.config.symbol_count, self.config.market_seed, self.config.processing
            ),
            wire=self.clock,
            # The methods it does not name are the source's own.
            source=cast("MarketSource", self.market),
        )
        self.wires = Wires.of(self.simulation, self.network, self.trace, self._venue)
        self._connectors = Connectors(
            self.config, self.wires, self.trace, self._disk_chance, self._ids
        )

    @property
    def venue(self) -> Process:
        """The process in which the venues act."""
        return self._venue

    @property
    def connectors(self) -> dict[str, Connector]:
        """The connectors by name."""
        return self._connectors.by_name

    def run(self, scenario: Callable[[World], Awaitable[T]]) -> T:
        """Live a scenario and return its result.

        Raises what it raises, DeadlockError and TimeLimitError. What tasks raised that nobody
        awaited is in `loop.problems`.
        """
        config = self.config
        for name in KINDS:
            prepare(name, config.symbol_count, config.market_seed)
        self.loop.end = self.loop.time() + config.longest_seconds
        with contextlib.ExitStack() as stack:
            stack.enter_context(quiet())
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=memory_folder())))
            stack.enter_context(own_time(self.clock, self._chance()))
            stack.callback(self._end)
            self._make(folder)
            stack.enter_context(self._connectors.installed())
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
        process.mourners.append(lambda: self.trace.tell("crash", name))
        if name == ENGINE:
            await self.within(process, self._begin_engine(process))
        else:
            await self.within(process, self._connectors.begin(process, self.clock))
        self.trace.tell("serving", name)

    def crash(self, name: str) -> None:
        """Kill a process as SIGKILL does; one that is not running stays so."""
        process = self.process(name)
        if process is not None:
            process.die()

    def pause(self, name: str) -> Process | None:
        """Freeze a process as SIGSTOP does and return it; None when it is not running."""
        process = self.process(name)
        if process is not None:
            self.trace.tell("pause", name)
            self.loop.pause(process)
        return process

    def resume(self, process: Process) -> None:
        """Let a paused process go on, overtaken by a newer life of it or not."""
        self.trace.tell("resume", process.name)
        self.loop.resume(process)

    def granted(self, name: str, at: float) -> int:
        """Return the highest engine epoch that a connector had admitted before a second."""
        return self._connectors.granted(name, at)

    def process(self, name: str) -> Process | None:
        """Return the living process of a name, None when there is none."""
        found = self.engine_process if name == ENGINE else self.connectors[name].process
        return None if found is None or found.is_dead else found

    def heal(self) -> None:
        """End all faults of the venue, the wires, the disks and the clocks."""
        self.network.heal()
        self.simulation.faults.clear()
        self.journal.is_full = False
        self.journal.slow_seconds = 0.0
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
        async with asyncio.timeout(self.config.fence + 5.0 if seconds is None else seconds):
            await self._until(lambda: self.living_engine().get(position_id).status in _RESTING)
        return self.living_engine().get(position_id)

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():  # noqa: ASYNC110 - the engine has no event for each of these
            await asyncio.sleep(_LOOK_SECONDS)

    def counts(self) -> dict[str, int]:
        """Return the largest of what each living process has of everything that is bounded."""
        alive = [p for p in (self.process(name) for name in (ENGINE, *KINDS)) if p is not None]
        return {
            "tasks": max(sum(not task.done() for task in p.tasks) for p in alive),
            "calls": max(len(connector.door.calls) for connector in self.connectors.values()),
            "sockets": sum(not wire.client.closed for wire in self.wires.sockets.wires),
            "ready": len(self.loop._ready) + len(self.loop._scheduled),
        }

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
        self.simulation.exchange.listeners.append(self._venue_event)
        self.loop.call_later(_TICK_SECONDS, self._tick, context=context_of(self._venue))
        for name in KINDS:
            self.network.links[name] = config.venue_link
            self.network.links[link_to(name)] = config.engine_link
        self._connectors.make(folder)
        self._ground = Ground(
            loop=self.loop,
            clock=self.clock,
            network=self.network,
            doors={name: connector.door for name, connector in self.connectors.items()},
            journal=self.journal,
            folder=folder,
            chance=self._disk_chance,
            ids=self._ids,
            listener=self.listener,
            journal_written=self._journal_written,
        )

    async def _begin_engine(self, process: Process) -> None:
        self.engine_process, self.engine = process, None
        # Of a file that rises with each opening, as the journal's does.
        self.journal.epoch += 1
        process.epoch = self.journal.epoch
        engine = make_engine(self._ground, self.config, process, self.journal.epoch)
        process.serves_entries = lambda: engine.status().reconciled
        await engine.start()
        self.engine = engine

    def _tick(self) -> None:
        self.simulation.exchange.advance()
        self.wires.sockets.users.poll()
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
        process = PROCESS.get()
        if kind == EntryIntended.__name__ and process is not None:
            serves = process.serves_entries
            self.entries.append((self.loop.time(), serves is None or serves()))

    def _chance(self) -> random.Random:
        return random.Random(self.random.getrandbits(64))  # noqa: S311 - a seed must repeat

    def _end(self) -> None:
        """Stop everything where it is, and have it collected before the next world begins."""
        self.engine = self.engine_process = None
        problems = list(self.loop.problems)
        with unheard():
            for process in (*self._past, self._venue):
                process.mourners.clear()
                process.is_dead = True
                process.bury()
            self._past = []
            self._connectors.close()
            # Circles through what outlives the world: it would wait for a collection of all.
            self.simulation.exchange.listeners.clear()
            self.trace.listeners.clear()
            del self._ground
            self.wires.sockets.close()
            asyncio.set_event_loop(None)
            self.loop.close()
            # What last words bring back to life is collected with the next world.
            gc.collect()
        # Of the living alone: the dead leave tasks that were never awaited.
        self.loop.problems = problems


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
