"""Commands that need no running service: each is a module of one, run as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EXIT_INTERRUPTED = 130


def run_module(module: str, arguments: Sequence[str]) -> int:
    """Run `python -m module` with this process's input and output; return its exit code."""
    # A process, because a client of the services does not import them.
    command = [sys.executable, "-m", module, *arguments]
    try:
        return subprocess.run(command, check=False).returncode  # noqa: S603 - our own module
    except KeyboardInterrupt:
        # The terminal sent it to the module too, which ended by it.
        return EXIT_INTERRUPTED


def arguments_of(options: Mapping[str, object]) -> list[str]:
    """Return options as `--name=value`: None and False are left out, True is a flag."""
    arguments: list[str] = []
    for name, value in options.items():
        if value is True:
            arguments.append(f"--{name}")
        elif value is not None and value is not False:
            # One word, so that a value that begins with a dash is no option.
            arguments.append(f"--{name}={value}")
    return arguments
