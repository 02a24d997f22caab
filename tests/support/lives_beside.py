"""Lives of the simulation beside the tests, in what these leave of the processors.

Many tests wait for a fence: the lives are niced, and fill those gaps. A violation fails the run as
a failed test does, and what they counted stands above pytest's closing line.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

_ROOT: Final = Path(__file__).parents[2]
_GRACE_SECONDS: Final = 60.0
"""What the lives under way when the time is up may still take."""


class LivesBeside:
    """A plugin of pytest that lives so many seeds, as far as they fit into so many seconds."""

    def __init__(self, seeds: int, seconds: float) -> None:
        self._seconds = seconds
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed when it has been told
        simulate = ["-m", "simulation", "--seeds", str(seeds), "--within", str(seconds)]
        self._process = subprocess.Popen(
            ["nice", "-n", "19", sys.executable, *simulate],  # noqa: S607 - the system's own
            cwd=_ROOT,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            # A group of its own, so that its workers end with it.
            start_new_session=True,
        )
        # Linux may share the processors between sessions first, whatever their processes' niceness.
        with suppress(OSError):
            Path(f"/proc/{self._process.pid}/autogroup").write_text("19", encoding="ascii")

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Wait for the lives; end them where the tests were not run to their end."""
        if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            self._kill()
            return
        try:
            code = self._process.wait(self._seconds + _GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
            code = 1
        if code:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Tell what the lives counted; all they said where any of them failed."""
        with self._said:
            self._said.seek(0)
            lines = self._said.read().splitlines()
        terminalreporter.section("lives of the simulation")
        for line in lines:
            # How often each kind of fault struck is for who runs them alone.
            if self._process.returncode or not line.startswith(" "):
                terminalreporter.write_line(line)
        if self._process.returncode:
            terminalreporter.write_line("LIVES FAILED", red=True)

    def _kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
