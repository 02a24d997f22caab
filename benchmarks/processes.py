"""Processes under measurement: started with compiled bytecode, waited for, weighed and ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_READY_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.005


@dataclass(frozen=True, slots=True)
class Started:
    """A process that serves: where, its id, and the seconds from exec until it was ready."""

    address: str
    metrics_address: str
    pid: int
    ready_seconds: float

    def resident_bytes(self) -> int:
        """Return what the process holds in memory now."""
        return _status_bytes(self.pid, "VmRSS")

    def cpu_seconds(self) -> float:
        """Return the CPU time the process has used so far, its own and the kernel's for it."""
        # Linux only: the fields behind the name, which may hold blanks, are counted from its end.
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:  # noqa: PTH123 - not a file of ours
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def write_address(ready: Path, address: str) -> None:
    """Tell whoever waits for a server where it listens."""
    ready.write_text(json.dumps({"address": address}))


def read_ready(ready: Path) -> dict[str, str]:
    """Return what a ready file says, nothing while it is not whole."""
    try:
        found: dict[str, str] = json.loads(ready.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found


def _forget(ready: Path) -> None:
    ready.unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def started(
    module: str, arguments: list[str], ready: Path, bytecode: Path
) -> AsyncIterator[Started]:
    """Run `python -m module` until the block ends; its ready file holds JSON with an address.

    Bytecode is read from and kept in `bytecode`, whatever the caller's environment says.
    Raises RuntimeError when the process ends before it is ready, TimeoutError after a minute.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    _forget(ready)
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, env=environment
    )
    try:
        found = await _wait_ready(process, ready)
        seconds = time.perf_counter() - begun
        address = found.get("grpc_address") or found["address"]
        yield Started(address, found.get("metrics_address", ""), process.pid, seconds)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _wait_ready(process: asyncio.subprocess.Process, ready: Path) -> dict[str, str]:
    async with asyncio.timeout(_READY_SECONDS):
        while True:
            if process.returncode is not None:
                raise RuntimeError("a process under measurement ended before it was ready")
            found = read_ready(ready)
            if found:
                return found
            await asyncio.sleep(_POLL_SECONDS)


def _status_bytes(pid: int, field: str) -> int:
    # Linux only, as the figures of memory are; in kB there.
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:  # noqa: PTH123 - not a file of ours
        for line in lines:
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field} of process {pid}")
