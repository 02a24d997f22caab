"""The engine of a world: composed as its process composes it, on the world's disk and wires."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.common.ids import Ids
from services.engine.connector_gateway import ConnectorGateway
from services.engine.connector_risk_reader import ConnectorRiskReader
from services.engine.engine import Engine
from services.engine.engine_needs import EngineDependencies
from services.engine.guard_desk import GuardNeeds
from services.engine.halt_flag import HaltFlagFile, halt_path
from services.engine.order_entry import OrderEntry
from services.engine.order_news import OrderNews
from services.engine.order_watch import OrderWatch
from services.engine.risk_alerts import AlertFeed
from services.engine.scanner_client import NoScanner
from services.engine.settings import GuardSettings
from simulation.loop import Process, SimLoop
from simulation.loop_time import SimClock
from simulation.transport_calls import CallDoor, ConnectorStub
from simulation.transport_network import Network
from simulation.world_config import KINDS, WorldConfig, link_to
from simulation.world_disk import JournalImage, SimJournal
from simulation.world_listener import Listener


@dataclass(frozen=True, slots=True)
class Ground:
    """What every life of an engine finds: its disk, its wires, its clock, who listens."""

    loop: SimLoop
    clock: SimClock
    network: Network
    doors: Mapping[str, CallDoor]
    journal: JournalImage
    folder: Path
    chance: random.Random
    ids: Ids
    listener: Listener
    journal_written: Callable[[str], None]


def make_engine(ground: Ground, config: WorldConfig, process: Process, epoch: int) -> Engine:
    """Return an engine that is not started; call it inside its process, which owns its streams."""
    news, clock = OrderNews(), ground.clock
    gateways: dict[str, ConnectorGateway] = {}
    readers: dict[str, ConnectorRiskReader] = {}
    guards = GuardSettings()
    for name, kind in KINDS.items():
        stub: Any = ConnectorStub(link_to(name), ground.network, ground.doors[name], process)
        entry = OrderEntry(name, stub, clock, epoch)
        watch = OrderWatch(name, stub, clock, news.tell, news.tell_forced)
        ground.loop.create_task(watch.run())
        if config.orders_by_stream:
            ground.loop.create_task(entry.run())
        readers[name] = ConnectorRiskReader(
            name, kind, stub, call_seconds=guards.call_timeout.total_seconds()
        )
        gateways[name] = ConnectorGateway(
            name,
            kind,
            stub,
            call_seconds=config.policy.call_timeout.total_seconds(),
            place_seconds=config.policy.place_timeout.total_seconds(),
            entry=entry,
            epoch=epoch,
        )
    return Engine(
        EngineDependencies(
            journal=SimJournal(ground.journal, ground.chance, ground.journal_written),
            gateways=gateways,
            opportunities=NoScanner(),
            listener=ground.listener,
            observer=ground.listener,
            clock=clock,
            ids=ground.ids,
            policy=config.policy,
            limits=config.limits,
            order_events=news,
            halt_flag=HaltFlagFile(halt_path(ground.folder / "journal.db")),
            guards=GuardNeeds(readers, AlertFeed(clock), guards.limits(), guards.pace()),
        )
    )
