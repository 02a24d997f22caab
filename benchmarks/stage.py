"""What stages of processes under measurement share: a folder, their files, their ends."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from benchmarks.processes import Started, started
from benchmarks.witnessed_venue import API_KEY, API_SECRET
from cli.demo.toml_text import to_toml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType


class Stage(ABC):
    """Processes that live as long as the block, with a folder of its own below the given one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / uuid.uuid4().hex
        self._folder.mkdir()
        self._bytecode = folder / "bytecode"
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start what lives as long as the block."""
        try:
            await self._start_all()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """End all processes; what they write at their ends is whole after it."""
        await self._stack.aclose()

    @abstractmethod
    async def _start_all(self) -> None:
        """Start what lives as long as the block."""

    async def _start(self, module: str, name: str, *arguments: str) -> Started:
        """Start a process that is told by an argument where to write its address."""
        ready = self._folder / f"{name}.ready"
        return await self._enter(module, ["--ready", str(ready), *arguments], ready)

    async def _start_connector(self, name: str, venue: str, **more: Any) -> Started:
        """Start the connector of a venue at an address; `more` are settings of it."""
        return await self._enter(
            "services.connector", *self._connector_arguments(name, venue, **more)
        )

    def _connector_arguments(self, name: str, venue: str, **more: Any) -> tuple[list[str], Path]:
        """Configure a connector; returns its arguments and the file it says its address in."""
        ready = self._folder / f"{name}.ready"
        part = {
            "exchange": name,
            "base_url": f"http://{venue}",
            "api_key": API_KEY,
            "api_secret": API_SECRET,
            "ledger_path": self._folder / f"{name}.ledger",
            **more,
        }
        settings = {"ready_file": ready, "log": {"level": "error"}, "connector": part}
        return self._configure(name, settings), ready

    async def _enter(self, module: str, arguments: list[str], ready: Path) -> Started:
        return await self._stack.enter_async_context(
            started(module, arguments, ready, self._bytecode)
        )

    def _configure(self, name: str, settings: Mapping[str, Any]) -> list[str]:
        """Write a configuration file and return the arguments that name it."""
        config = self._folder / f"{name}.toml"
        config.write_text(to_toml(settings), encoding="utf-8")
        return ["--config", str(config)]
