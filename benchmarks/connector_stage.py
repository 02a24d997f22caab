"""The processes of one run: a canned venue, an empty echo, and connectors on the venue."""

from __future__ import annotations

import urllib.request
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.processes import Started, started
from benchmarks.stage import Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_LONGEST_PAUSE = "opensqt_connector_garbage_pause_longest_seconds "


@dataclass(frozen=True, slots=True)
class Shape:
    """How a connector differs from another: reload pause in seconds, and who collects garbage."""

    name: str
    reload_seconds: float = 900.0
    idle_collection: bool = True


class ConnectorStage(Stage):
    """Venue and echo live as long as the block; connectors come and go on them."""

    def __init__(self, folder: Path, symbol_count: int) -> None:
        super().__init__(folder)
        self._symbol_count = symbol_count
        self.venue: Started
        self.echo: Started

    async def _start_all(self) -> None:
        self.venue = await self._start(
            "benchmarks.canned_venue", "venue", "--symbols", str(self._symbol_count)
        )
        self.echo = await self._start("benchmarks.echo_server", "echo")

    @asynccontextmanager
    async def connector(self, shape: Shape) -> AsyncIterator[Started]:
        """Run a connector while the block lasts."""
        arguments, ready = self._arguments(shape)
        async with started("services.connector", arguments, ready, self._bytecode) as one:
            yield one

    async def start_seconds(self, count: int) -> list[float]:
        """Return how long a connector took from exec to serving, bytecode compiled, each time."""
        arguments, ready = self._arguments(Shape("start"))
        seconds = []
        for _ in range(count + 1):
            async with started("services.connector", arguments, ready, self._bytecode) as one:
                seconds.append(one.ready_seconds)
        # The first one has compiled.
        return seconds[1:]

    def _arguments(self, shape: Shape) -> tuple[list[str], Path]:
        return self._connector_arguments(
            shape.name,
            self.venue.address,
            exchange="binanceusdm",
            allowance_scale=1000,
            market_reload_seconds=shape.reload_seconds,
            idle_collection=shape.idle_collection,
        )


def longest_pause(connector: Started) -> float:
    """Return the longest collection of garbage of a connector so far, in seconds."""
    url = f"http://{connector.metrics_address}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(_LONGEST_PAUSE):
                return float(line.split()[1])
    raise RuntimeError("the connector does not tell its garbage pauses")
