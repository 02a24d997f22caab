"""What an engine serves while another works the shared journal: health, and refusals that say so.

Ready to read nothing: what it told of positions would be as old as its last look at the journal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opensqt.market_maker.v1 import (
    engine_pb2,
    engine_pb2_grpc,
    portfolio_pb2,
    portfolio_pb2_grpc,
    position_pb2,
    position_pb2_grpc,
    risk_pb2,
    risk_pb2_grpc,
)
from services.common.clock import SystemClock
from services.common.errors import UnreachableError
from services.common.server import GrpcServer, serve
from services.engine.owned_tasks import OwnedTasks
from services.engine.readiness import tell_readiness
from services.engine.unserved import refusing_servicer

if TYPE_CHECKING:
    import asyncio

    from services.common.metrics import ServiceMetrics
    from services.engine.settings import EngineSettings

_SERVICES: Final[tuple[tuple[Any, type, Any, str], ...]] = (
    (
        engine_pb2_grpc.add_EngineServiceServicer_to_server,
        engine_pb2_grpc.EngineServiceServicer,
        engine_pb2.DESCRIPTOR,
        "EngineService",
    ),
    (
        portfolio_pb2_grpc.add_PortfolioServiceServicer_to_server,
        portfolio_pb2_grpc.PortfolioServiceServicer,
        portfolio_pb2.DESCRIPTOR,
        "PortfolioService",
    ),
    (
        risk_pb2_grpc.add_RiskServiceServicer_to_server,
        risk_pb2_grpc.RiskServiceServicer,
        risk_pb2.DESCRIPTOR,
        "RiskService",
    ),
    (
        position_pb2_grpc.add_PositionServiceServicer_to_server,
        position_pb2_grpc.PositionServiceServicer,
        position_pb2.DESCRIPTOR,
        "PositionService",
    ),
)


async def serve_standby(
    settings: EngineSettings, metrics: ServiceMetrics, who: str, over: asyncio.Event
) -> EngineSettings:
    """Serve until `over` is set; return the settings with the port that was served on.

    `who` names the engine at work. Health is NOT_SERVING under every name but the process's own.
    """
    server = GrpcServer(settings.grpc, metrics=metrics)

    def refused(method: str) -> UnreachableError:
        text = f"{method}: this engine stands by, {who}"
        return UnreachableError(text, reason="ENGINE_STANDING_BY")

    for add, base, descriptor, name in _SERVICES:
        service = descriptor.services_by_name[name]
        made = refusing_servicer(base, service, refused)
        server.add(add, made(), service.full_name, serving=False)
    telling = OwnedTasks()
    telling.spawn(tell_readiness(server, lambda: False, SystemClock()), "readiness")
    try:
        await serve(settings, server, metrics, over)
    finally:
        await telling.close()
    # Clients know the port by now: the engine serves on the same one.
    port = int(server.address.rpartition(":")[2])
    grpc = settings.grpc.model_copy(update={"port": port})
    return settings.model_copy(update={"grpc": grpc})
