"""What a guarded process gives away; looked at from outside, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, resource
from services.common.process_guard import guard_process
guard_process()
dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
print(dumpable, *resource.getrlimit(resource.RLIMIT_CORE))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_guarded_process_leaves_no_core_and_cannot_be_read() -> None:
    """PR_GET_DUMPABLE and both limits of core files are zero."""
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=True
    )
    assert ran.stdout.split() == ["0", "0", "0"]


@pytest.mark.parametrize("service", ["connector", "engine", "scanner", "simulator"])
def test_every_service_guards_itself_before_it_reads_a_secret(service: str) -> None:
    """The guard stands in front of the settings, which read the secret files."""
    from pathlib import Path

    text = (Path(__file__).parents[3] / "services" / service / "__main__.py").read_text()
    assert 0 < text.index("guard_process()") < text.index("= load_settings(")
