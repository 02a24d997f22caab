"""Child processes of the local stack: started by config file, ready by file, stopped by pid."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Above the five seconds of drain in the stack's files and the cancelling after it.
STOP_SECONDS = 15.0
POLL_SECONDS = 0.05


class StackError(Exception):
    """A process of the stack did not start or ended too soon; the text says where to look."""


@dataclass(slots=True)
class ServiceProcess:
    """One service of the stack. Mutable: a restart replaces the process behind the same name.

    `prefix` and `environment` are what its command line begins with and gets besides.
    """

    name: str
    module: str
    config_file: Path
    ready_file: Path
    log_file: Path
    process: asyncio.subprocess.Process | None = None
    prefix: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        """Process id of the running child; StackError when it does not run."""
        if self.process is None or self.process.returncode is not None:
            raise StackError(f"{self.name} does not run; its log is {self.log_file}")
        return self.process.pid

    async def start(self) -> None:
        """Start the process; returns at once, `wait_ready` says when it serves."""
        self.ready_file.unlink(missing_ok=True)
        # Appended: after a crash and restart the end of the first life is still there.
        with self.log_file.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.prefix,
                sys.executable,
                "-m",
                self.module,
                "--config",
                str(self.config_file),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C must reach the stack's owner alone: it stops the children in order.
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.environment},
            )

    async def wait_ready(self, timeout_seconds: float) -> dict[str, Any]:
        """Wait for the ready file and return it.

        Raises StackError with the end of the log when the process ends or the time passes first.
        """
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        while True:
            ready = self._read_ready()
            if ready is not None:
                return ready
            if self.process is None or self.process.returncode is not None:
                raise StackError(f"{self.name} ended while starting:\n{self.log_tail()}")
            if asyncio.get_running_loop().time() > deadline:
                raise StackError(
                    f"{self.name} was not ready within {timeout_seconds:.0f} s:\n{self.log_tail()}"
                )
            await asyncio.sleep(POLL_SECONDS)

    def _read_ready(self) -> dict[str, Any] | None:
        try:
            ready: dict[str, Any] = json.loads(self.ready_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        # By pid: a predecessor that was killed could not remove its file.
        return ready if self.process is not None and ready.get("pid") == self.process.pid else None

    def log_tail(self, lines: int = 15) -> str:
        """Last lines of the log, for an error a person reads."""
        try:
            text = self.log_file.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])

    def kill(self) -> None:
        """SIGKILL: no drain, no farewell."""
        os.kill(self.pid, signal.SIGKILL)

    def kill_if_running(self) -> None:
        """SIGKILL when it still runs; needs no event loop, for the very last moment."""
        # A process nobody waited for keeps its pid, so this cannot hit a stranger.
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)

    async def wait_ended(self, timeout_seconds: float = STOP_SECONDS) -> int:
        """Wait for the end and return the exit code (negative: the signal)."""
        if self.process is None:
            return 0
        async with asyncio.timeout(timeout_seconds):
            return await self.process.wait()

    async def stop(self) -> int:
        """Terminate, wait for the drain, kill when its bound passes; returns the exit code."""
        process = self.process
        if process is None or process.returncode is not None:
            return 0 if process is None else process.returncode or 0
        process.terminate()
        try:
            return await self.wait_ended()
        except TimeoutError:
            process.kill()
            return await process.wait()
