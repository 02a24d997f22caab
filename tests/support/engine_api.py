"""The engine's use cases, made by hand, and the engine's services on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from opensqt.market_maker.v1 import (
    engine_pb2_grpc,
    portfolio_pb2_grpc,
    position_pb2_grpc,
    risk_pb2_grpc,
)
from services.common.channels import open_channel
from services.common.clock import SystemClock
from services.common.errors import NotFoundError, OpensqtError
from services.common.metrics import ServiceMetrics
from services.common.server import GrpcServer
from services.common.settings import ServerSettings
from services.engine.commands import (
    CloseAllCommand,
    CloseCommand,
    Command,
    HaltCommand,
    OpenCommand,
    ReduceCommand,
    ResumeCommand,
    SwitchStrategyCommand,
)
from services.engine.events import DecisionTaken
from services.engine.servicer import EngineServicer
from services.engine.servicer_portfolio import OpportunityLister, PortfolioServicer
from services.engine.strategy_api import StrategyApi
from services.engine.strategy_words import StrategyMode
from services.engine.unserved import UnservedPositionService, UnservedRiskService
from services.engine.views import EngineMode, PositionView, StatusView
from services.engine.watching import PositionFeed
from tests.support.engine_views import position_view, status_view

PACKAGE = "opensqt.market_maker.v1"


class FakeEngine:
    """An `EngineApi` that notes what it is asked; mutable, the test scripts it.

    `failure`, when set, is raised by every use case in place of an answer.
    """

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.held: list[PositionView] = [position_view()]
        self.failure: OpensqtError | None = None

    def _take(self, command: Command | None = None) -> None:
        if self.failure is not None:
            raise self.failure
        if command is not None:
            self.commands.append(command)

    async def open(self, command: OpenCommand) -> PositionView:
        """Answer with the first position."""
        self._take(command)
        return self.held[0]

    async def close(self, command: CloseCommand) -> PositionView:
        """Answer with the first position."""
        self._take(command)
        return self.held[0]

    async def reduce(self, command: ReduceCommand) -> PositionView:
        """Answer with the first position."""
        self._take(command)
        return self.held[0]

    async def close_all(self, command: CloseAllCommand) -> tuple[PositionView, ...]:
        """Answer with every position."""
        self._take(command)
        return tuple(self.held)

    def get(self, position_id: str) -> PositionView:
        """Return a position by its id."""
        self._take()
        for view in self.held:
            if view.position_id == position_id:
                return view
        raise NotFoundError("no such position", reason="HEDGED_POSITION_NOT_FOUND")

    def positions(self) -> tuple[PositionView, ...]:
        """Return every position."""
        self._take()
        return tuple(self.held)

    async def halt(self, command: HaltCommand) -> StatusView:
        """Answer with a halted engine."""
        self._take(command)
        return status_view()

    async def resume(self, command: ResumeCommand) -> StatusView:
        """Answer with an active engine."""
        self._take(command)
        return status_view(mode=EngineMode.ACTIVE, reason="")

    def status(self) -> StatusView:
        """Return a halted engine."""
        self._take()
        return status_view()


class FakeStrategy:
    """A strategy that notes how it is switched; mutable, the test scripts it."""

    def __init__(self, *rows: DecisionTaken) -> None:
        self.mode = StrategyMode.MANUAL
        self.commands: list[SwitchStrategyCommand] = []
        self.rows = rows

    async def switch(self, command: SwitchStrategyCommand) -> StrategyMode:
        """Take the mode."""
        self.commands.append(command)
        self.mode = command.mode
        return self.mode

    def decisions(self) -> tuple[DecisionTaken, ...]:
        """Return what the test gave."""
        return self.rows


class NoScanner:
    """A scanner without opportunities."""

    async def opportunities(self) -> list[Any]:
        """Return nothing."""
        return []


@asynccontextmanager
async def served_engine(
    engine: FakeEngine | None = None,
    feed: PositionFeed | None = None,
    scanner: OpportunityLister | None = None,
    strategy: StrategyApi | None = None,
) -> AsyncIterator[grpc.aio.Channel]:
    """Serve everything the engine's process serves; yields a channel to it."""
    server = GrpcServer(ServerSettings(drain_seconds=0), metrics=ServiceMetrics("engine"))
    feed = feed or PositionFeed("epoch", SystemClock())
    server.add(
        engine_pb2_grpc.add_EngineServiceServicer_to_server,
        EngineServicer(engine or FakeEngine(), feed, strategy or FakeStrategy()),
        f"{PACKAGE}.EngineService",
    )
    server.add(
        portfolio_pb2_grpc.add_PortfolioServiceServicer_to_server,
        PortfolioServicer(scanner or NoScanner()),
        f"{PACKAGE}.PortfolioService",
    )
    server.add(
        risk_pb2_grpc.add_RiskServiceServicer_to_server,
        UnservedRiskService(),
        f"{PACKAGE}.RiskService",
    )
    server.add(
        position_pb2_grpc.add_PositionServiceServicer_to_server,
        UnservedPositionService(),
        f"{PACKAGE}.PositionService",
    )
    async with server:
        channel = open_channel(server.address)
        try:
            yield channel
        finally:
            await channel.close()
