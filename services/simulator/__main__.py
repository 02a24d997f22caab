"""Start the simulator: `python -m services.simulator --config FILE.toml`."""

from __future__ import annotations

import asyncio
import sys

from services.common.logs import configure_logging, get_logger
from services.common.process_guard import guard_process
from services.common.readiness import Readiness, ready_file
from services.common.run import run_service
from services.common.settings import load_settings
from services.simulator.bootstrap import make_application
from services.simulator.settings import SimulatorSettings


async def serve(settings: SimulatorSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set."""
    log = get_logger(__name__)
    async with make_application(settings) as application:
        readiness = Readiness(settings.service, http_address=application.address)
        # told only once it listens: whoever waits for the file calls the address at once
        with ready_file(settings.ready_file, readiness):
            log.info("simulator_ready", http=application.address)
            await stop.wait()
    log.info("simulator_stopped")


def main() -> int:
    """Read the settings, serve, return the exit code of the process."""
    guard_process()
    settings = load_settings(SimulatorSettings)
    configure_logging(settings.log, settings.service)
    return run_service(lambda stop: serve(settings, stop))


if __name__ == "__main__":
    sys.exit(main())
