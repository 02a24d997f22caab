"""One request in flight for each key: who asks while it runs waits for the same answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from services.common.errors import FatalError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

ResultT = TypeVar("ResultT")


@dataclass(slots=True, eq=False)
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

        Raises what the request raises; every waiter gets the same error. A request that was
        cancelled from within, and not by who waits here, raises UnreachableError; one that raises
        what would end the process, FatalError.
        """
        flight = self._flights.get(key) or self._begin(key, request)
        flight.waiter_count += 1
        try:
            # Shielded, because a waiter that gives up must not take the answer from the others.
            return await asyncio.shield(flight.task)
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            # Told as a cancel of its own, the waiter would end as if somebody had stopped it.
            if flight.task.cancelled() and waiter is not None and not waiter.cancelling():
                raise UnreachableError("the request was given up") from None
            raise
        finally:
            flight.waiter_count -= 1
            if flight.waiter_count == 0 and not flight.task.done():
                # Out of the table at once: who asks now must not join a request that is ending.
                self._forget(key, flight)
                flight.task.cancel()

    def _begin(
        self, key: Hashable, request: Callable[[], Coroutine[None, None, ResultT]]
    ) -> _Flight[ResultT]:
        flight = _Flight(asyncio.create_task(_contained(request)))
        self._flights[key] = flight
        flight.task.add_done_callback(lambda task: self._end(key, flight, task))
        return flight

    def _end(self, key: Hashable, flight: _Flight[ResultT], task: asyncio.Task[ResultT]) -> None:
        self._forget(key, flight)
        # Taken note of: an error that comes when all have gone is nobody's any more.
        if not task.cancelled():
            task.exception()

    def _forget(self, key: Hashable, flight: _Flight[ResultT]) -> None:
        # A request that took long to end must not take its successor out of the table.
        if self._flights.get(key) is flight:
            del self._flights[key]


async def _contained(request: Callable[[], Coroutine[None, None, ResultT]]) -> ResultT:
    try:
        return await request()
    except (SystemExit, KeyboardInterrupt) as error:
        # Out of a task of its own these two go past every waiter and stop the event loop.
        raise FatalError(f"the request raised {type(error).__name__}") from error
