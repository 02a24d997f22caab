"""The processes of one run: a canned venue, an empty echo, and connectors on the venue."""

from __future__ import annotations

import urllib.request
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from benchmarks.processes import Started, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from types import TracebackType

_LONGEST_PAUSE = "opensqt_connector_garbage_pause_longest_seconds "


@dataclass(frozen=True, slots=True)
class Shape:
    """How a connector differs from another: reload pause in seconds, and who collects garbage."""

    name: str
    reload_seconds: float = 900.0
    idle_collection: bool = True


class Stage:
    """Starts what a run needs in `folder`; all of it ends with the block."""

    def __init__(self, folder: Path, symbol_count: int) -> None:
        self._folder = folder
        self._symbol_count = symbol_count
        self._bytecode = folder / "bytecode"
        self._stack = AsyncExitStack()
        self.venue: Started
        self.echo: Started

    async def __aenter__(self) -> Self:
        """Start venue and echo."""
        self.venue = await self._start(
            "benchmarks.canned_venue", "venue", ["--symbols", str(self._symbol_count)]
        )
        self.echo = await self._start("benchmarks.echo_server", "echo", [])
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """End all processes."""
        await self._stack.aclose()

    @asynccontextmanager
    async def connector(self, shape: Shape) -> AsyncIterator[Started]:
        """Run a connector while the block lasts."""
        arguments, ready = self._configure(shape)
        async with started("services.connector", arguments, ready, self._bytecode) as one:
            yield one

    async def start_seconds(self, count: int) -> list[float]:
        """Return how long a connector took from exec to serving, bytecode compiled, each time."""
        arguments, ready = self._configure(Shape("start"))
        seconds = []
        for _ in range(count + 1):
            async with started("services.connector", arguments, ready, self._bytecode) as one:
                seconds.append(one.ready_seconds)
        # The first one has compiled.
        return seconds[1:]

    async def _start(self, module: str, name: str, arguments: list[str]) -> Started:
        ready = self._folder / f"{name}.ready"
        return await self._stack.enter_async_context(
            started(module, ["--ready", str(ready), *arguments], ready, self._bytecode)
        )

    def _configure(self, shape: Shape) -> tuple[list[str], Path]:
        ready = self._folder / f"{shape.name}.ready"
        config = self._folder / f"{shape.name}.toml"
        lines = [
            f'ready_file = "{ready}"',
            "[log]",
            'level = "warning"',
            "[connector]",
            'exchange = "binanceusdm"',
            f'base_url = "http://{self.venue.address}"',
            'api_key = "bench-key"',
            'api_secret = "bench-secret"',
            "allowance_scale = 1000",
            f'ledger_path = "{self._folder / shape.name}.ledger"',
            f"market_reload_seconds = {shape.reload_seconds}",
            f"idle_collection = {str(shape.idle_collection).lower()}",
        ]
        config.write_text("\n".join(lines))
        return ["--config", str(config)], ready


def longest_pause(connector: Started) -> float:
    """Return the longest collection of garbage of a connector so far, in seconds."""
    url = f"http://{connector.metrics_address}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(_LONGEST_PAUSE):
                return float(line.split()[1])
    raise RuntimeError("the connector does not tell its garbage pauses")
