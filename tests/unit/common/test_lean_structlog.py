"""The services log without the packages that only a terminal needs."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import services.common.logs
assert "rich" not in sys.modules, "structlog took rich in"
import rich.console
"""


def test_logging_leaves_rich_out_and_to_others() -> None:
    """A service starts without rich; whoever imports it later gets it."""
    subprocess.run([sys.executable, "-c", CODE], check=True, timeout=120)
