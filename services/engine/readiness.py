"""Whether entries are taken, told by a health name of its own: exits are served before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from services.common.clock import Clock

ENTRIES_HEALTH = "opensqt.market_maker.v1.EngineService/entries"
"""Name asked of grpc.health.v1 for the entries alone; the service's own name stands for exits."""
_LOOK_SECONDS = 0.1


class HealthTeller(Protocol):
    """The part of a server that tells health; without an `address` it does not listen yet."""

    address: str

    async def set_serving(self, name: str, *, serving: bool) -> None:
        """Tell the health of one name."""
        ...


async def tell_readiness(
    server: HealthTeller, takes_entries: Callable[[], bool], clock: Clock
) -> None:
    """Keep the health of entries up with the engine for ever, at most a tenth of a second behind.

    A change of mode, recovery and breaks come from many places: looking is what misses none.
    """
    told: bool | None = None
    while True:
        ready = takes_entries()
        # Before it listens the server would list the name among its services.
        if server.address and ready != told:
            await server.set_serving(ENTRIES_HEALTH, serving=ready)
            told = ready
        await clock.sleep(_LOOK_SECONDS)
