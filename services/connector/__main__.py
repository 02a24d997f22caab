"""Start a connector: `python -m services.connector --config FILE.toml`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from services.common.logs import configure_logging
from services.common.process_guard import guard_process
from services.common.server import run_service
from services.common.settings import load_settings
from services.connector.bootstrap import run_connector
from services.connector.settings import ConnectorSettings

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the connector until it is told to stop; return the exit code."""
    guard_process()
    settings = load_settings(ConnectorSettings, argv)
    # Before anything speaks: a line that escapes the masking cannot be taken back.
    configure_logging(settings.log, settings.service)
    return run_service(lambda stop: run_connector(settings, stop))


if __name__ == "__main__":
    sys.exit(main())
