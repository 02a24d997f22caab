"""The demo stops what it started, however it is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

WAIT_SECONDS = 60.0
# Never set: waiting for it gives the processor to the services between two looks.
_PAUSE = threading.Event()


def _children(folder: Path) -> list[int]:
    """Processes whose command line names the demo's folder."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in command:
                found.append(int(entry.name))
    return found


def _wait_for(folder: Path, count: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while len(_children(folder)) < count:
        assert time.monotonic() < deadline, "the demo did not start its services"
        _PAUSE.wait(0.05)


# Starting five services costs many seconds on a busy machine.
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("number", "presses"), [(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGTERM, 1)]
)
def test_no_process_is_left_behind(tmp_path: Path, number: int, presses: int) -> None:
    """Ctrl-C once, Ctrl-C twice and SIGTERM all end every child and the exit code tells."""
    demo = subprocess.Popen(
        # What a shell runs in the background ignores Ctrl-C, and so does all that it starts.
        ["/usr/bin/env", "--default-signal=INT", sys.executable, "-m", "cli.demo"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        _wait_for(tmp_path, 3)
        for _ in range(presses):
            demo.send_signal(number)
        output, _ = demo.communicate(timeout=WAIT_SECONDS)
    finally:
        demo.kill()
    assert demo.returncode == 130
    assert "interrupted" in output
    assert "Traceback" not in output
    deadline = time.monotonic() + WAIT_SECONDS
    while _children(tmp_path):
        assert time.monotonic() < deadline, "a service outlived the demo"
        _PAUSE.wait(0.05)
    assert list(tmp_path.iterdir()) == [], "the demo left files behind"
