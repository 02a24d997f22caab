"""What an engine is made of: its ports, its settings and the clocks it goes by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.common.clock import Clock
from services.common.ids import Ids
from services.engine.afterwards import Later, at_once
from services.engine.guard_desk import GuardNeeds
from services.engine.halt_desk import HaltFlagStore
from services.engine.journal import Journal
from services.engine.journal_parts import JournalParts
from services.engine.leadership import Leadership
from services.engine.order_news import OrderNews
from services.engine.policy import EngineLimits, EnginePolicy
from services.engine.ports import (
    EngineObserver,
    OpportunitySource,
    OrderEvents,
    PositionListener,
    VenueGateway,
)
from services.engine.risk_limits import RiskLimits
from services.engine.traces import PositionTraces
from services.engine.venue_pulse import VenuePulse


@dataclass(frozen=True, slots=True)
class EngineDependencies:
    """What the composition root gives the engine. The journal is open and stays its owner's.

    Where the journal can be read in `parts`, a start reads first what exits need.
    """

    journal: Journal
    gateways: Mapping[str, VenueGateway]
    opportunities: OpportunitySource
    listener: PositionListener
    observer: EngineObserver
    clock: Clock
    ids: Ids
    policy: EnginePolicy
    limits: EngineLimits
    order_events: OrderEvents = field(default_factory=OrderNews)
    risk: RiskLimits = field(default_factory=RiskLimits)
    halt_flag: HaltFlagStore | None = None
    guards: GuardNeeds | None = None
    leadership: Leadership = field(default_factory=Leadership)
    pulses: Mapping[str, VenuePulse] = field(default_factory=dict)
    later: Later = at_once
    parts: JournalParts | None = None
    traces: PositionTraces = field(default_factory=PositionTraces)
