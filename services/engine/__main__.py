"""Start the engine: `python -m services.engine --config FILE.toml`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from services.common.logs import configure_logging
from services.common.process_guard import guard_process
from services.common.server import run_service
from services.common.settings import load_settings
from services.engine.bootstrap import run
from services.engine.settings import EngineSettings

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the service until a signal ends it; return the exit code."""
    guard_process()
    settings = load_settings(EngineSettings, argv)
    configure_logging(settings.log, settings.service)
    return run_service(lambda stop: run(settings, stop))


if __name__ == "__main__":
    sys.exit(main())
