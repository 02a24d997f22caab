"""Keeping a process up as a supervisor does: started again as soon as it ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable

from cli.demo.processes import StackError
from cli.demo.stack import LocalStack
from tests.support.kill_plan import ENGINE, Moment, Strike
from tests.support.kill_tally import Tally

_KILLED = -signal.SIGKILL
_RECONCILED_SECONDS = 8.0


class Keeper:
    """Restarts one service of a stack whenever it ends, and says what state it is in."""

    def __init__(self, stack: LocalStack, name: str, tally: Tally) -> None:
        self._stack = stack
        self._name = name
        self._tally = tally
        self.started = asyncio.Event()
        self.serving = asyncio.Event()
        self.started.set()
        self.serving.set()

    async def keep(self) -> None:
        """Wait for each end and start the service again, until cancelled."""
        service = self._stack.services[self._name]
        while True:
            if service.process is None:
                raise AssertionError(f"{self._name} was never started")
            code = await service.process.wait()
            if code != _KILLED:
                text = f"{self._name} ended by itself with {code}:\n{service.log_tail()}"
                self._tally.findings.append(text)
            self.serving.clear()
            await self._start()

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(self._restart())
            # Its process is there at the next turn of the loop, long before it serves.
            await asyncio.sleep(0)
            self.started.set()
        if starting.result():
            self._tally.restarts[self._name].append(loop.time() - began)
            self.serving.set()

    async def _restart(self) -> bool:
        try:
            await self._stack.restart(self._name)
        except StackError:
            # Killed in its start, or failed: the code of its end tells which.
            return False
        return True

    def kill(self, *, counted: bool = True) -> bool:
        """SIGKILL it; false where it has just ended and is not started again yet."""
        try:
            self._stack.services[self._name].kill()
        except (StackError, ProcessLookupError):
            return False
        self.started.clear()
        self.serving.clear()
        if counted:
            self._tally.kills[self._name] += 1
        return True


class Striker:
    """Carries out the strikes of one leader, one after the other."""

    def __init__(
        self,
        keepers: dict[str, Keeper],
        reconciled: Callable[[], Awaitable[None]],
        tally: Tally,
    ) -> None:
        self._keepers = keepers
        self._reconciled = reconciled
        self._tally = tally

    async def strike(self, strikes: list[Strike]) -> None:
        """Kill by each strike in turn."""
        for one in strikes:
            await self._reach(one)
            await asyncio.sleep(one.life_seconds)
            hit = [name for name in one.victims if self._keepers[name].kill()]
            self._tally.moments[one.moment.value] += len(hit)
            self._tally.strikes_together += len(hit) > 1

    async def _reach(self, strike: Strike) -> None:
        leader = self._keepers[strike.victims[0]]
        await leader.started.wait()
        if strike.moment is Moment.STARTED:
            return
        await leader.serving.wait()
        if strike.moment is Moment.SERVING or strike.victims[0] != ENGINE:
            return
        # Another's strike may keep the engine from it for ever.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RECONCILED_SECONDS):
                await self._reconciled()
