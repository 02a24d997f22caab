"""Start the engine: `python -m services.engine --config FILE.toml`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from services.common.logs import configure_logging
from services.common.process_guard import guard_process
from services.common.server import run_service
from services.common.settings import load_settings
from services.engine.bootstrap import run
from services.engine.leadership import EPOCH_SUPERSEDED, LEASE_LOST
from services.engine.settings import EngineSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_OVERTAKEN = 3
"""Exit code of an engine whose place another engine took."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the service until a signal ends it; return the exit code."""
    guard_process()
    settings = load_settings(EngineSettings, argv)
    configure_logging(settings.log, settings.service)
    # Told apart from a failure: whoever starts services again lets it stand by.
    codes = dict.fromkeys((LEASE_LOST, EPOCH_SUPERSEDED), EXIT_OVERTAKEN)
    return run_service(lambda stop: run(settings, stop), codes)


if __name__ == "__main__":
    sys.exit(main())
