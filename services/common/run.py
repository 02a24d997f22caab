"""The life of a service process: event loop, signals, exporter, ready file, drain, exit code."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from services.common.errors import OpensqtError
from services.common.logs import get_logger
from services.common.metrics import MetricsExporter
from services.common.readiness import Readiness, ready_file

if TYPE_CHECKING:
    from services.common.metrics import ServiceMetrics
    from services.common.server import GrpcServer
    from services.common.settings import ServiceSettings

EXIT_FAILED = 1
_log = get_logger(__name__)
_LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def run_service(
    main: Callable[[asyncio.Event], Coroutine[Any, Any, object]],
    exit_codes: Mapping[str, int] = MappingProxyType({}),
) -> int:
    """Run a service to its end and return the exit code of the process.

    `main` gets an event that SIGTERM or SIGINT sets; a second signal cancels it. Uses uvloop
    where it is installed. An OpensqtError or OSError is logged in one line; the code is that of its
    reason in `exit_codes`, else 1. Others pass through.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_supervise(main, exit_codes))


async def serve(
    settings: ServiceSettings,
    server: GrpcServer,
    metrics: ServiceMetrics,
    stop: asyncio.Event,
    page_address: str | None = None,
) -> int:
    """Serve until `stop` is set, then drain; return how many calls were cut off.

    Starts the server and the metrics exporter and keeps the ready file meanwhile, which names
    `page_address` too where the service has a page.
    Raises FatalError or OSError when an address is taken.
    """
    # The exporter first: a taken metrics port must fail before any call is let in.
    with MetricsExporter(settings.metrics, metrics.registry) as exporter:
        address = await server.start()
        readiness = Readiness(
            settings.service, address, exporter.address, page_address=page_address
        )
        try:
            with ready_file(settings.ready_file, readiness):
                page = {} if page_address is None else {"page": page_address}
                _log.info("service_ready", grpc=address, metrics=exporter.address, **page)
                await stop.wait()
                _log.info("service_stopping", drain_seconds=settings.grpc.drain_seconds)
        finally:
            cut = await server.drain()
            _log.info("service_stopped", calls_cut=cut)
    return cut


async def _supervise(
    main: Callable[[asyncio.Event], Coroutine[Any, Any, object]], exit_codes: Mapping[str, int]
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def on_signal() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.set()

    # Through the loop, not signal.signal: the handler runs between tasks and may touch them.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        await main(stop)
    except (OpensqtError, OSError) as error:
        _log.error("service_failed", problem=str(error))
        reason = error.reason if isinstance(error, OpensqtError) else ""
        return exit_codes.get(reason, EXIT_FAILED)
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        _log.warning("service_cancelled")
        return EXIT_FAILED
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    return 0


def _loop_factory() -> _LoopFactory | None:
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None
