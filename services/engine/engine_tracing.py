"""How an engine is traced, as its settings say: the composition root takes its parts from here."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from services.common.open_tracer import open_tracer
from services.engine.connector_gateway import ConnectorGateway
from services.engine.traced_gateway import TracedGateway
from services.engine.traces import PositionTraces, TracedListener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from services.common.clock import Clock
    from services.common.tracing import Tracer
    from services.engine.afterwards import Later
    from services.engine.ports import PositionListener
    from services.engine.settings import EngineSettings


@dataclass(frozen=True, slots=True)
class EngineTracing:
    """A tracer with what works by it; without one each part is the plain one."""

    tracer: Tracer
    traces: PositionTraces
    clock: Clock

    def gateways(self, later: Later) -> Callable[..., ConnectorGateway]:
        """Return what makes gateways; `later` takes the telling of their orders."""
        if not self.tracer.is_on:
            return ConnectorGateway
        return partial(TracedGateway, traces=self.traces, later=later)

    def listener(self, inner: PositionListener) -> PositionListener:
        """Return what is told of positions and passes it on."""
        return TracedListener(inner, self.traces, self.clock) if self.tracer.is_on else inner


@asynccontextmanager
async def open_tracing(settings: EngineSettings, clock: Clock) -> AsyncIterator[EngineTracing]:
    """Open the tracer of the settings; raises what `open_tracer` raises."""
    async with open_tracer(settings.tracing, settings.service, clock) as tracer:
        yield EngineTracing(tracer, PositionTraces(tracer), clock)
