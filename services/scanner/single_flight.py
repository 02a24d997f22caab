"""One request in flight for each key: who asks while it runs waits for the same answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

ResultT = TypeVar("ResultT")


@dataclass(slots=True)
class _Flight(Generic[ResultT]):
    """A request under way. Mutable: it counts who waits."""

    task: asyncio.Task[ResultT]
    waiter_count: int = 0


class SingleFlight(Generic[ResultT]):
    """Joins equal requests; the request is cancelled only when nobody waits for it any more."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[ResultT]] = {}

    async def run(
        self, key: Hashable, request: Callable[[], Coroutine[None, None, ResultT]]
    ) -> ResultT:
        """Return what `request` returns, from the one in flight for `key` if there is one.

        Raises what the request raises; every waiter gets the same error.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = _Flight(asyncio.create_task(request()))
            self._flights[key] = flight
            flight.task.add_done_callback(lambda _: self._flights.pop(key, None))
        flight.waiter_count += 1
        try:
            # Shielded, because a waiter that gives up must not take the answer from the others.
            return await asyncio.shield(flight.task)
        finally:
            flight.waiter_count -= 1
            if flight.waiter_count == 0 and not flight.task.done():
                # Out of the table at once: who asks now must not join a request that is ending.
                self._flights.pop(key, None)
                flight.task.cancel()
