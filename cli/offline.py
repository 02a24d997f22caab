"""Commands that need no service: another part's offline program, run as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

EXIT_INTERRUPTED = 130


def run_offline(module: str, options: Mapping[str, object]) -> int:
    """Run `python -m module --option value …` on this terminal and return its exit code.

    A process, because services and `cli` meet in no import. Options whose value is None or False
    are left out; True is a flag.
    """
    arguments: list[str] = []
    for name, value in options.items():
        if value is True:
            arguments.append(f"--{name}")
        elif value is not None and value is not False:
            # One word, so that a value that begins with a dash is no option.
            arguments.append(f"--{name}={value}")
    command = [sys.executable, "-m", module, *arguments]
    try:
        return subprocess.run(command, check=False).returncode  # noqa: S603 - our own program
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
