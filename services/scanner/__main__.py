"""Start the scanner: `python -m services.scanner --config FILE.toml`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from services.common.logs import configure_logging
from services.common.process_guard import guard_process
from services.common.server import run_service
from services.common.settings import load_settings
from services.scanner.bootstrap import run
from services.scanner.settings import ScannerSettings

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the service until a signal ends it; return the exit code."""
    guard_process()
    settings = load_settings(ScannerSettings, argv)
    configure_logging(settings.log, settings.service)
    return run_service(lambda stop: run(settings, stop))


if __name__ == "__main__":
    sys.exit(main())
