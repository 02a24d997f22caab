"""The whole system as processes on loopback: simulator, two connectors, scanner, engine."""

from __future__ import annotations

import asyncio
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.demo.control import SimulatorControl
from cli.demo.processes import ServiceProcess, StackError
from cli.demo.toml_text import to_toml
from cli.settings import ArbSettings
from services.common.settings import EndpointSettings, VenueSettings

SPOT = "binance"
PERPETUAL = "binanceusdm"
ACCOUNT = "demo"
READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What the stack is made of; `tables` are merged into the files of the services they name.

    `data` is a directory of recordings, else the market is generated. The fence of the connectors
    is the sum of the three bounds, in seconds; the venue's own are 5, 10 and 1.
    """

    data: Path | None = None
    seed: int = 7
    symbol_count: int = 320
    # A fixed hour makes a generated market the same on every day and machine.
    start: str | None = "2026-03-20T04:10:00Z"
    recv_window_seconds: float = 5.0
    processing_bound_seconds: float = 10.0
    clock_bound_seconds: float = 1.0
    spot_balances: dict[str, str] = field(default_factory=lambda: {"USDT": "200000"})
    futures_balances: dict[str, str] = field(default_factory=lambda: {"USDT": "200000"})
    margin_balances: dict[str, str] = field(default_factory=lambda: {"USDT": "100000"})
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)


class LocalStack:
    """Starts, restarts and stops the processes; everything it writes is under `directory`."""

    def __init__(self, directory: Path, options: StackOptions) -> None:
        self.directory = directory
        self.options = options
        self.services: dict[str, ServiceProcess] = {}
        self.addresses: dict[str, str] = {}
        self._configs: dict[str, dict[str, Any]] = {}
        self.token_file = directory / "secrets" / "token"

    @property
    def control(self) -> SimulatorControl:
        """The simulator's control endpoint."""
        return SimulatorControl(self.addresses["simulator"])

    def arb_settings(self) -> ArbSettings:
        """Settings of an `arb` command for this stack."""
        return ArbSettings(
            engine=EndpointSettings.model_validate(self.endpoint("engine")),
            scanner=EndpointSettings.model_validate(self.endpoint("scanner")),
            connectors=(
                self._venue(SPOT, "spot"),
                self._venue(PERPETUAL, "perpetual"),
            ),
        )

    def _venue(self, name: str, kind: str) -> VenueSettings:
        return VenueSettings.model_validate(self._venue_table(name, kind))

    def _venue_table(self, name: str, kind: str) -> dict[str, Any]:
        return {"name": name, "kind": kind, **self.endpoint(f"connector-{name}")}

    def endpoint(self, name: str) -> dict[str, Any]:
        """Return how a service is reached that runs; a stack on hosts of its own adds TLS."""
        return {"address": self.addresses[name], "token_file": self.token_file}

    async def start(self) -> None:
        """Start everything in the order of dependence and wait until all serve.

        Raises StackError when a service does not come up; what was started is for `stop` to end.
        """
        # Each file names the addresses of the services before it, whose ports the system chose.
        self._write_secrets()
        await self._launch("simulator", "services.simulator", self.simulator_table())
        await self._launch_connectors()
        await self._launch("scanner", "services.scanner", self._scanner_table())
        await self._launch("engine", "services.engine", self._engine_table())

    async def stop(self) -> None:
        """Stop every process, the one that depends on the others first."""
        for service in reversed(list(self.services.values())):
            await service.stop()

    def kill_all(self) -> None:
        """Kill whatever `stop` did not get to end, as after a second Ctrl-C."""
        for service in self.services.values():
            service.kill_if_running()

    async def restart(self, name: str) -> None:
        """Start an ended service again, on the address it had."""
        service = self.services[name]
        await service.wait_ended()
        # The files of the others hold the address that it had.
        self._pin_address(name)
        await service.start()
        await service.wait_ready(READY_SECONDS)

    async def _launch_connectors(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for venue in (SPOT, PERPETUAL):
                    name, table = f"connector-{venue}", self.connector_table(venue)
                    group.create_task(self._launch(name, "services.connector", table))
        except* StackError as failed:
            problem = failed.exceptions[0]
        else:
            return
        # Alone, not in the group that a TaskGroup makes of it: callers expect a StackError.
        raise problem

    async def _launch(self, name: str, module: str, table: dict[str, Any]) -> None:
        extra = self.options.tables.get(name.partition("-")[0], {})
        self._configs[name] = _merged({**self.common_table(name), **table}, extra)
        service = self.services[name] = self.process_of(name, module)
        service.config_file.write_text(to_toml(self._configs[name]), encoding="utf-8")
        await service.start()
        ready = await service.wait_ready(READY_SECONDS)
        self.addresses[name] = ready.get("http_address") or ready["grpc_address"]

    def process_of(self, name: str, module: str) -> ServiceProcess:
        """Return a service as it is started; a stack on hosts of its own starts it there."""
        return ServiceProcess(
            name=name,
            module=module,
            config_file=self.directory / f"{name}.toml",
            ready_file=self.directory / f"{name}.ready.json",
            log_file=self.directory / f"{name}.log",
        )

    def _pin_address(self, name: str) -> None:
        if name == "simulator":
            raise StackError("a restarted simulator has lost its books")
        port = int(self.addresses[name].rpartition(":")[2])
        config = self._configs[name]
        config["grpc"] = {**config.get("grpc", {}), "port": port}
        self.services[name].config_file.write_text(to_toml(config), encoding="utf-8")

    def common_table(self, name: str) -> dict[str, Any]:
        """Return what the file of every service begins with."""
        table: dict[str, Any] = {"ready_file": self.directory / f"{name}.ready.json"}
        if name != "simulator":
            table["grpc"] = {"port": 0, "token_file": self.token_file, "drain_seconds": 5.0}
        return table

    def _write_secrets(self) -> None:
        folder = self.directory / "secrets"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("token", "api-key", "api-secret"):
            # Made with its mode: a chmod afterwards leaves a moment in which others can read.
            descriptor = os.open(folder / name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32))

    def _keys(self) -> dict[str, Path]:
        folder = self.directory / "secrets"
        return {"api_key_file": folder / "api-key", "api_secret_file": folder / "api-secret"}

    def simulator_table(self) -> dict[str, Any]:
        """Return the tables of the simulator."""
        options = self.options
        account = {
            "name": ACCOUNT,
            **self._keys(),
            "spot": options.spot_balances,
            "margin": options.margin_balances,
            "futures": options.futures_balances,
        }
        return {
            "accounts": [account],
            "market": {
                "seed": options.seed,
                "symbol_count": options.symbol_count,
                "data": options.data,
                # Recordings have an end of their own, which is where their market starts.
                "start": options.start if options.data is None else None,
            },
            "rules": {"processing_bound_seconds": options.processing_bound_seconds},
        }

    def connector_table(self, venue: str) -> dict[str, Any]:
        """Return the tables of a connector besides what every service has."""
        options = self.options
        return {
            "connector": {
                "exchange": venue,
                "base_url": f"http://{self.addresses['simulator']}",
                **self._keys(),
                "ledger_path": self.directory / f"ledger-{venue}.db",
                "recv_window_ms": int(options.recv_window_seconds * 1000),
                # The simulator's own bound: a shorter one would believe "not found" too soon.
                "venue_processing_seconds": options.processing_bound_seconds,
                "clock_bound_seconds": options.clock_bound_seconds,
            }
        }

    def _venue_tables(self) -> list[dict[str, Any]]:
        return [self._venue_table(SPOT, "spot"), self._venue_table(PERPETUAL, "perpetual")]

    def _scanner_table(self) -> dict[str, Any]:
        return {
            "venues": self._venue_tables(),
            "history": {"path": self.directory / "history.db"},
        }

    def _engine_table(self) -> dict[str, Any]:
        return {
            "venues": self._venue_tables(),
            "journal_path": self.directory / "journal.db",
            "scanner": self.endpoint("scanner"),
        }


def _merged(table: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    merged = dict(table)
    for key, value in extra.items():
        held = merged.get(key)
        both = isinstance(held, dict) and isinstance(value, dict)
        merged[key] = _merged(held, value) if both and isinstance(held, dict) else value
    return merged
