"""A real nats-server with JetStream on disk, that a test can kill and start again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.scanner_rig import until

# Debian puts it where the path of a plain user does not lead.
PROGRAM = shutil.which("nats-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@dataclass
class NatsServer:
    """One server on one folder; mutable, since a test starts and kills it."""

    folder: Path
    options: tuple[str, ...] = ()
    port: int = -1
    process: asyncio.subprocess.Process | None = field(default=None)

    @property
    def address(self) -> str:
        """Where it listens, the same after a restart."""
        return f"nats://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it and wait until it listens."""
        assert PROGRAM is not None
        ports = self.folder / "ports"
        ports.mkdir(parents=True, exist_ok=True)
        arguments = ["-js", "-sd", str(self.folder), "-a", "127.0.0.1", "-p", str(self.port)]
        self.process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *arguments,
            "--ports_file_dir",
            str(ports),
            *self.options,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        told = ports / f"{Path(PROGRAM).name}_{self.process.pid}.ports"
        await until(told.exists)
        await until(lambda: bool(told.read_text()))
        self.port = int(json.loads(told.read_text())["nats"][0].rpartition(":")[2])

    async def kill(self) -> None:
        """End it at once, as a machine that loses power."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
            self.process = None


@asynccontextmanager
async def nats_server(folder: Path, *options: str) -> AsyncIterator[NatsServer]:
    """Run a server for the length of the block."""
    server = NatsServer(folder, options)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()
