"""The connectors of a world: the real composition root, on a disk and a wire of the world's."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from pydantic import SecretStr

from services.common.metrics import ServiceMetrics
from services.connector import bootstrap
from services.connector.connector_metrics import ConnectorMetrics
from services.connector.engine_epochs import EngineEpochs, EngineSender
from services.connector.profile import VenueProfile
from services.connector.settings import ConnectorPart
from services.simulator.gateway import Gateway
from services.simulator.simulation import Simulation
from simulation.loop import PROCESS, Process
from simulation.loop_time import SeededIds, SimClock
from simulation.transport import SimSession, VenueDoor
from simulation.transport_calls import CallDoor
from simulation.transport_network import Network
from simulation.transport_sockets import SocketDoor
from simulation.world_config import KINDS, WorldConfig
from simulation.world_disk import LedgerImage, SimLedger
from simulation.world_markets import (
    API_KEY,
    API_SECRET,
    BASE_URL,
    KeptLoader,
    copy_exchange,
    loaded_markets,
)
from simulation.world_trace import Trace


class SimEpochs(EngineEpochs):
    """The connector's epochs, and when each was first admitted."""

    def __init__(self, path: Path, grants: list[tuple[float, int]]) -> None:
        super().__init__(path)
        self._grants = grants

    async def admit(self, principal: str, epoch: int) -> EngineSender | None:
        """Admit as the connector does, and note it."""
        sender = await super().admit(principal, epoch)
        if sender is not None and (not self._grants or epoch > self._grants[-1][1]):
            self._grants.append((asyncio.get_running_loop().time(), epoch))
        return sender


# Not frozen: processes come and go.
@dataclass(slots=True)
class Connector:
    """One venue account's connector: what outlives a crash of it, and its present life."""

    name: str
    part: ConnectorPart
    image: LedgerImage
    door: CallDoor
    process: Process | None = None


@dataclass(frozen=True, slots=True)
class Wires:
    """What the connectors of a world meet outside of their processes."""

    network: Network
    rest: VenueDoor
    sockets: SocketDoor

    @classmethod
    def of(cls, simulation: Simulation, network: Network, trace: Trace, venue: Process) -> Wires:
        """Return the doors of a venue that acts in a process of its own."""
        gateway = Gateway(simulation)
        rest = VenueDoor(gateway, network, trace.tell, venue)
        return cls(network, rest, SocketDoor(simulation, gateway, network, venue))


class Connectors:
    """All connectors of a world; what they write beside their ledgers is in a folder in memory."""

    def __init__(
        self, config: WorldConfig, wires: Wires, trace: Trace, chance: random.Random, ids: SeededIds
    ) -> None:
        self._config = config
        self._wires = wires
        self._trace = trace
        self._chance = chance
        self._ids = ids
        self.by_name: dict[str, Connector] = {}
        self._exchanges: list[Any] = []
        self.grants: dict[str, list[tuple[float, int]]] = {name: [] for name in KINDS}

    def make(self, folder: Path) -> None:
        """Make their disks; none is started."""
        for name in KINDS:
            self.by_name[name] = Connector(
                name,
                _part(name, folder, self._config),
                LedgerImage(),
                CallDoor(self._wires.network),
            )

    async def begin(self, process: Process, clock: SimClock) -> None:
        """Start a connector in its process, in which this runs; returns when it serves."""
        connector = self.by_name[process.name]
        connector.process = process
        loop = asyncio.get_running_loop()
        serving: asyncio.Future[None] = loop.create_future()

        async def live() -> None:
            async with bootstrap.open_servicer(connector.part, _metrics(), clock) as servicer:
                connector.door.open(process, servicer)
                serving.set_result(None)
                await asyncio.Event().wait()

        life = loop.create_task(live())
        # A start that fails must be heard of, not waited for.
        await asyncio.wait({life, serving}, return_when=asyncio.FIRST_COMPLETED)
        if life.done():
            life.result()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Give the composition root what stands here for disk, wire and chance."""
        with mock.patch.multiple(
            bootstrap,
            new_session=self._session,
            Ledger=self._ledger,
            MarketLoader=self._loader,
            build_exchange=self._exchange,
            RandomIds=lambda: self._ids,
            EngineEpochs=self._epochs,
        ):
            yield

    def close(self) -> None:
        """Give the disks back."""
        for connector in self.by_name.values():
            connector.process = connector.door.process = connector.door.servicer = None
            connector.image.close()
        for exchange in self._exchanges:
            # Or it complains, when it is collected, that nobody closed it.
            exchange.session = None
            exchange.clients = {}

    def granted(self, name: str, at: float) -> int:
        """Return the highest epoch that a connector had admitted before a virtual second."""
        return max((epoch for when, epoch in self.grants[name] if when < at), default=0)

    def _epochs(self, path: Path) -> SimEpochs:
        return SimEpochs(path, self.grants[_here()])

    def _exchange(self, profile: VenueProfile, session: Any, **options: Any) -> Any:
        exchange = copy_exchange(profile, session, **options)
        self._exchanges.append(exchange)
        return exchange

    def _session(self, *gates: Any) -> SimSession:
        wires = self._wires
        return SimSession(_here(), wires.network, wires.rest, wires.sockets, gates)

    # Without the reserve file: a full disk here is one that has no room left at all.
    def _ledger(
        self, path: Path, venue: str, _reserve: object = None, _observer: object = None
    ) -> SimLedger:
        name = _here()

        def written() -> None:
            self._trace.tell("ledger", name)

        return SimLedger(self.by_name[name].image, self._chance, written, path, venue)

    def _loader(self, _build: Any, _profile: Any, _allowed: Any) -> KeptLoader:
        name, config = _here(), self._config
        return KeptLoader(
            self._wires.network,
            name,
            lambda: loaded_markets(name, config.symbol_count, config.market_seed),
        )


@cache
def _metrics() -> ConnectorMetrics:
    """Return the metrics of all connectors: nobody reads them, and they are long in the making."""
    return ConnectorMetrics(ServiceMetrics("connector"))


def _part(name: str, folder: Path, config: WorldConfig) -> ConnectorPart:
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


def _here() -> str:
    process = PROCESS.get()
    return "" if process is None else process.name
