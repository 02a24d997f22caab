"""Faults of the host below a service: its wall clock jumps, its disk makes nothing durable.

The clock of the machine is everybody's, so a small library loaded before libc stands in for it.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

from cli.demo.processes import ServiceProcess
from cli.demo.stack import LocalStack, StackOptions

_SOURCE = Path(__file__).with_name("host_faults.c")
_FORM = struct.Struct("=qqqq")


def why_no_host_faults() -> str:
    """Return why they cannot be had here; empty where they can."""
    return "" if shutil.which("cc") else "it needs a C compiler: make test-engine-faults"


class HostFaults:
    """What the services of one host get instead of its clock and disk; nothing odd at first."""

    def __init__(self, folder: Path, name: str) -> None:
        self._file = folder / f"{name}.host"
        self._library = folder / "host_faults.so"
        self._file.write_bytes(_FORM.pack(0, 0, 0, 0))
        if not self._library.exists():
            make = ["cc", "-O1", "-shared", "-fPIC", "-o", str(self._library), str(_SOURCE), "-ldl"]
            subprocess.run(make, check=True)

    @property
    def environment(self) -> dict[str, str]:
        """What a process on the host has in its environment."""
        return {"LD_PRELOAD": str(self._library), "HOST_FAULTS_FILE": str(self._file)}

    @property
    def failed_syncs(self) -> int:
        """How many syncs have failed."""
        return int(_FORM.unpack(self._file.read_bytes())[2])

    @property
    def shifted_readings(self) -> int:
        """How many readings of the wall clock were off."""
        return int(_FORM.unpack(self._file.read_bytes())[3])

    def jump(self, seconds: float) -> None:
        """Put the wall clock so far off, ahead where it is positive; 0 puts it right."""
        self._put(0, round(seconds * 1_000_000_000))

    def break_sync(self, *, broken: bool) -> None:
        """Let fsync and fdatasync fail with EIO from now on, or work again."""
        self._put(8, int(broken))

    def _put(self, offset: int, value: int) -> None:
        # In place: the processes have the file mapped.
        with self._file.open("r+b", buffering=0) as file:
            file.seek(offset)
            file.write(value.to_bytes(8, "little", signed=True))


class FaultyHostStack(LocalStack):
    """A stack some of whose services run on hosts with faults, by the service's name."""

    def __init__(
        self, directory: Path, options: StackOptions, hosts: dict[str, HostFaults]
    ) -> None:
        super().__init__(directory, options)
        self._hosts = hosts

    def process_of(self, name: str, module: str) -> ServiceProcess:
        """Return a service as it is started on its host."""
        process = super().process_of(name, module)
        if name in self._hosts:
            process.environment = self._hosts[name].environment
        return process
