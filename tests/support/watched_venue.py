"""A venue in a container that tells of every request: `python watched_venue.py --config FILE.toml`.

Runs with what the simulator's image holds, on the standard library and the services alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

from services.common.logs import configure_logging
from services.common.run import run_service
from services.common.settings import load_settings
from services.simulator.bootstrap import make_application
from services.simulator.settings import SimulatorSettings

if TYPE_CHECKING:
    from services.simulator.gateway import Reply, Request


def tell(request: Request, reply: Reply) -> None:
    """Print a request as one line of JSON, behind a word that no other line begins with."""
    row = {
        "from": request.address,
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "has_key": request.api_key is not None,
        "has_body": bool(request.body),
        "status": reply.status,
    }
    sys.stdout.write(f"request {json.dumps(row)}\n")


async def serve(settings: SimulatorSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set."""
    async with make_application(settings, witness=tell):
        await stop.wait()


def main() -> int:
    """Read the settings, serve, return the exit code."""
    settings = load_settings(SimulatorSettings)
    configure_logging(settings.log, settings.service)
    return run_service(lambda stop: serve(settings, stop))


if __name__ == "__main__":
    sys.exit(main())
