"""The whole system with every service on a host of its own, joined by TLS over a lab's network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cli.clients import engine_client
from cli.demo.control import SimulatorControl
from cli.demo.processes import ServiceProcess
from cli.demo.stack import PERPETUAL, SPOT, LocalStack, StackOptions
from tests.support.certificates import CertificateAuthority
from tests.support.network_lab import NetworkLab
from tests.support.stack import StackDriver

VENUE, SPOT_HOST, PERPETUAL_HOST = "simulator", f"connector-{SPOT}", f"connector-{PERPETUAL}"
HOSTS = (VENUE, SPOT_HOST, PERPETUAL_HOST, "scanner", "engine")


class LabStack(LocalStack):
    """A stack whose services listen on the addresses of their hosts."""

    def __init__(self, directory: Path, options: StackOptions, lab: NetworkLab) -> None:
        super().__init__(directory, options)
        self._lab = lab
        self._authority = CertificateAuthority(directory)
        self._certificate = self._authority.issue("services")

    @property
    def control(self) -> SimulatorControl:
        """The simulator's control endpoint, which asks for a token off loopback."""
        token = self.token_file.read_text(encoding="ascii")
        return SimulatorControl(self.addresses[VENUE], token=token)

    def process_of(self, name: str, module: str) -> ServiceProcess:
        """Return a service as it is started on its host."""
        plain = super().process_of(name, module)
        plain.prefix = self._lab.command(name)
        return plain

    def endpoint(self, name: str) -> dict[str, Any]:
        """Return how a service is reached: by TLS, with a certificate for `localhost`."""
        trust = {"ca_file": self._authority.file, "server_name": "localhost"}
        return {**super().endpoint(name), "tls": trust}

    def common_table(self, name: str) -> dict[str, Any]:
        """Return what the file of every service begins with, its address among it."""
        table = super().common_table(name)
        pair = {
            "certificate_file": self._certificate.certificate,
            "key_file": self._certificate.key,
        }
        where = {"host": self._lab.address(name), "tls": pair}
        return table if name == VENUE else {**table, "grpc": {**table["grpc"], **where}}

    def simulator_table(self) -> dict[str, Any]:
        """Return the tables of the simulator, which is on a network now."""
        return {
            **super().simulator_table(),
            "http": {"host": self._lab.address(VENUE), "public": True},
            "control_token_file": self.token_file,
        }


@asynccontextmanager
async def driving(stack: LocalStack) -> AsyncIterator[StackDriver]:
    """Start a stack and yield its driver; stops it at the end."""
    try:
        await stack.start()
        async with engine_client(stack.arb_settings().engine) as engine:
            yield StackDriver(stack, engine)
    finally:
        await stack.stop()
