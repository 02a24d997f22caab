"""Health of entries beside the health of exits."""

from __future__ import annotations

import asyncio

from services.engine.readiness import ENTRIES_HEALTH, tell_readiness
from tests.support.virtual_clock import VirtualClock


class Told:
    """A server that remembers what it was told; mutable: it starts to listen."""

    def __init__(self) -> None:
        self.address = ""
        self.health: list[tuple[str, bool]] = []

    async def set_serving(self, name: str, *, serving: bool) -> None:
        """Remember."""
        self.health.append((name, serving))


async def test_entries_are_told_apart_and_only_when_they_change() -> None:
    """Nothing before the server listens; then each change once."""
    server, clock, ready = Told(), VirtualClock(), [False]
    telling = asyncio.get_running_loop().create_task(
        tell_readiness(server, lambda: ready[0], clock)
    )
    await clock.pass_time(1)
    assert server.health == []
    server.address = "127.0.0.1:1"
    await clock.pass_time(1)
    ready[0] = True
    await clock.pass_time(1)
    assert server.health == [(ENTRIES_HEALTH, False), (ENTRIES_HEALTH, True)]
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
