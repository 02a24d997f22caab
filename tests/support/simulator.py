"""Starting the simulator in tests, in this process or in one of its own, and talking to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

from services.simulator.app import Application
from services.simulator.bootstrap import make_application
from services.simulator.core.clock import WireClock
from services.simulator.market.source import MarketSource
from services.simulator.settings import SimulatorSettings

API_KEY = "test-api-key"
API_SECRET = "test-api-secret"
ACCOUNT = "trader"
READY_SECONDS = 60.0


def simulator_settings(**changes: Any) -> SimulatorSettings:
    """Return settings of a small market with one account; keywords replace whole fields."""
    values: dict[str, Any] = {
        "accounts": [
            {
                "name": ACCOUNT,
                "api_key": API_KEY,
                "api_secret": API_SECRET,
                "spot": {"USDT": Decimal(100_000), "BTC": Decimal("0.5")},
                "margin": {"USDT": Decimal(50_000)},
                "futures": {"USDT": Decimal(100_000)},
            }
        ],
        # A fixed hour: prices and depths that depend on the day would fail a test on some days.
        "market": {"symbol_count": 12, "seed": 7, "start": "2026-03-20T10:00:00Z"},
        "rules": {"tick_seconds": 0.02, "processing_bound_seconds": 1.0},
    }
    return SimulatorSettings(**{**values, **changes})


@contextlib.asynccontextmanager
async def running_simulator(
    settings: SimulatorSettings | None = None,
    *,
    wire: WireClock | None = None,
    source: MarketSource | None = None,
) -> AsyncIterator[Application]:
    """Run a simulator on a free port of this process while the block lasts."""
    chosen = settings or simulator_settings()
    async with make_application(chosen, wire=wire, source=source) as application:
        yield application


def loopback_urls(value: Any, address: str) -> Any:
    """Return ccxt's url tree with every scheme and host replaced by the simulator's.

    The spot stream keeps `/stream` in its path: ccxt tells spot from swap by that text in the url.
    """
    if isinstance(value, Mapping):
        return {key: loopback_urls(item, address) for key, item in value.items()}
    if not isinstance(value, str) or "://" not in value:
        return value
    scheme, rest = value.split("://", 1)
    host, slash, path = rest.partition("/")
    prefix = "/stream" if host.startswith("stream.") else ""
    return f"{'ws' if scheme.startswith('ws') else 'http'}://{address}{prefix}{slash}{path}"


@contextlib.asynccontextmanager
async def ccxt_exchange(
    name: str,
    address: str,
    *,
    keys: tuple[str, str] | None = (API_KEY, API_SECRET),
    options: Mapping[str, Any] | None = None,
    timeout_ms: int = 10_000,
) -> AsyncIterator[Any]:
    """Open an unmodified ccxt.pro exchange on the simulator; closes it at the end."""
    import ccxt.pro

    config: dict[str, Any] = {
        "enableRateLimit": False,
        "timeout": timeout_ms,
        "options": dict(options or {}),
    }
    if keys is not None:
        config |= {"apiKey": keys[0], "secret": keys[1]}
    exchange = getattr(ccxt.pro, name)(config)
    exchange.urls["api"] = loopback_urls(exchange.urls["api"], address)
    try:
        yield exchange
    finally:
        await exchange.close()


class Control:
    """A client of the control endpoint."""

    def __init__(self, address: str, token: str | None = None) -> None:
        self.address = address
        self._base = f"http://{address}/control/"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def get(self, name: str) -> Any:
        """Return the JSON of GET; raises AssertionError unless the answer is 200."""
        return await self._call("GET", name, None)

    async def post(self, name: str, body: Any = None) -> Any:
        """Return the JSON of POST; raises AssertionError unless the answer is 200."""
        return await self._call("POST", name, body)

    async def delete(self, name: str) -> Any:
        """Return the JSON of DELETE; raises AssertionError unless the answer is 200."""
        return await self._call("DELETE", name, None)

    async def fault(self, action: Mapping[str, Any], **match: Any) -> None:
        """Arm one fault rule; its id is the action's type."""
        await self.post("faults", [{"id": action["type"], "match": match, "action": action}])

    async def _call(self, method: str, name: str, body: Any) -> Any:
        async with (
            aiohttp.ClientSession(headers=self._headers) as session,
            session.request(method, self._base + name, json=body) as response,
        ):
            text = await response.text()
            assert response.status == 200, f"{method} {name}: {response.status} {text}"
            return json.loads(text)


@dataclass(frozen=True, slots=True)
class SimulatorProcess:
    """A simulator in a process of its own."""

    process: asyncio.subprocess.Process
    address: str


@contextlib.asynccontextmanager
async def simulator_process(
    folder: Path, config_lines: Sequence[str] = ()
) -> AsyncIterator[SimulatorProcess]:
    """Start `python -m services.simulator` with the test account and wait until it is ready.

    `config_lines` are TOML put behind the test's own. Stops the process at the end.
    """
    ready = folder / "simulator.ready"
    config = folder / "simulator.toml"
    config.write_text(
        "\n".join(
            [
                f'ready_file = "{ready}"',
                "[[accounts]]",
                f'name = "{ACCOUNT}"',
                f'api_key = "{API_KEY}"',
                f'api_secret = "{API_SECRET}"',
                'spot = { USDT = "100000", BTC = "0.5" }',
                'margin = { USDT = "50000" }',
                'futures = { USDT = "100000" }',
                *config_lines,
            ]
        )
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.simulator", "--config", str(config), env=dict(os.environ)
    )
    try:
        address = await _ready_address(ready, process)
        yield SimulatorProcess(process, address)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _ready_address(ready: Path, process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            assert process.returncode is None, "the simulator ended before it was ready"
            address = _read_address(ready)
            if address is not None:
                return address
            await asyncio.sleep(0.02)


def _read_address(ready: Path) -> str | None:
    try:
        return str(json.loads(ready.read_text())["http_address"])
    except FileNotFoundError:
        return None
