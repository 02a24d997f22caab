"""The echo service as a process, to be signalled: `python -m tests.support.echo_process`."""

from __future__ import annotations

import asyncio
import sys
from typing import ClassVar

from services.common.logs import configure_logging
from services.common.metrics import ServiceMetrics
from services.common.server import GrpcServer, run_service, serve
from services.common.settings import ServiceSettings, load_settings
from tests.support.echo_service import ECHO_RULES, SERVICE, EchoService


class EchoSettings(ServiceSettings):
    """Settings of the echo process; nothing beyond the common ones."""

    service: ClassVar[str] = "echo"


async def run(settings: EchoSettings, stop: asyncio.Event) -> None:
    """Serve until told to stop."""
    metrics = ServiceMetrics("echo")
    metrics.add_process_metrics()
    server = GrpcServer(settings.grpc, metrics=metrics, rules=ECHO_RULES)
    service = EchoService()
    server.add(service.add_to, service, SERVICE)
    await serve(settings, server, metrics, stop)


def main() -> int:
    """Run the process and return its exit code."""
    settings = load_settings(EchoSettings)
    configure_logging(settings.log, settings.service)
    return run_service(lambda stop: run(settings, stop))


if __name__ == "__main__":
    sys.exit(main())
