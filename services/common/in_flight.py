"""The calls a server is working on, and how they end when it must stop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from services.common.auth import OPEN_METHODS
from services.common.ordered_set import OrderedSet
from services.common.principals import ANYBODY, Principal


# Mutable, hence compared and hashed by identity: two calls of one method are two calls.
@dataclass(slots=True, eq=False)
class Call:
    """One call at work. Not frozen: it follows the call's progress.

    `is_admitted` is true once its caller, its request and its room are settled. `is_waiting` is
    true while a streaming handler waits for its own next message: only then may a drain interrupt
    it, since cancelling inside a send of gRPC would end the stream without a status.
    """

    method: str
    is_streaming: bool
    task: asyncio.Task[object] | None = field(default_factory=asyncio.current_task)
    principal: Principal = ANYBODY
    is_admitted: bool = False
    is_waiting: bool = False
    is_interrupted: bool = False


class CallsInFlight:
    """Counts calls, ends streams on drain, and says how many calls were cut off."""

    def __init__(self) -> None:
        self._calls: OrderedSet[Call] = OrderedSet()
        self._idle = asyncio.Event()
        self._idle.set()
        self.is_draining = False
        self.cut_count = 0

    def __len__(self) -> int:
        """Return the number of calls at work."""
        return len(self._calls)

    def begin(self, method: str, *, is_streaming: bool) -> Call:
        """Note a call of the current task."""
        call = Call(method, is_streaming)
        self._calls.add(call)
        self._idle.clear()
        return call

    def end(self, call: Call) -> None:
        """Note that a call is over, however it ended."""
        self._calls.discard(call)
        if not self._calls:
            self._idle.set()

    def cut(self) -> None:
        """Note that a call was cancelled; it counts only during a drain, else its caller left."""
        if self.is_draining:
            self.cut_count += 1

    def start_drain(self) -> None:
        """End all streams but health watches at their next wait; calls with one reply go on."""
        self.is_draining = True
        # Health watches stay for now: through them the callers learn of the drain.
        self._interrupt([call for call in self._calls if call.method not in OPEN_METHODS])

    def end_probes(self) -> None:
        """End the health watches, which by now had time to send NOT_SERVING."""
        self._interrupt([call for call in self._calls if call.method in OPEN_METHODS])

    def _interrupt(self, calls: Iterable[Call]) -> None:
        for call in calls:
            if call.is_streaming and call.is_waiting and call.task is not None:
                call.is_interrupted = True
                call.task.cancel()

    async def wait_idle(self, seconds: float) -> int:
        """Wait at most `seconds` until no call is at work; return how many still are."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            pass
        return len(self._calls)
