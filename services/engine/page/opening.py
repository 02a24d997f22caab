"""Putting the page together, where the settings ask for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.engine.page.offers import ScannerOffers
from services.engine.page.source import PageSource

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from opensqt.market_maker.v1 import scanner_pb2_grpc
    from services.common.clock import Clock
    from services.common.metrics import ServiceMetrics
    from services.engine.gauges import EngineGauges
    from services.engine.page.server import PageServer
    from services.engine.page.source import PageEngine
    from services.engine.risk_alerts import AlertFeed
    from services.engine.settings import EngineSettings
    from services.engine.strategy_desk import StrategyDesk


async def open_page(
    settings: EngineSettings, metrics: ServiceMetrics, clock: Clock, stack: AsyncExitStack
) -> PageServer | None:
    """Listen until the stack ends; None without a `[page]`. Raises FatalError; see `serving_page`.

    Until `show_engine` the page tells that there is no engine yet.
    """
    if settings.page is None:
        return None
    # Imported here: who has no page need not pay for a web server's memory.
    from services.engine.page.server import serving_page

    return await stack.enter_async_context(
        serving_page(settings.page, settings.grpc, metrics, clock)
    )


def show_engine(
    page: PageServer | None,
    engine: PageEngine,
    clock: Clock,
    scanner: scanner_pb2_grpc.ScannerServiceAsyncStub | None,
    alerts: AlertFeed,
    strategy: StrategyDesk,
    gauges: EngineGauges,
) -> None:
    """Show this engine on the page, if there is one."""
    if page is not None:
        source = PageSource(
            engine,
            clock,
            best=ScannerOffers(scanner, clock).best,
            alerts=lambda: alerts.recent,
            strategy=lambda: strategy.mode,
            day_result=lambda: gauges.day_result,
        )
        page.show(source)
