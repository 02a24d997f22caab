"""Our share of the venue's rate limits: per endpoint class, orders ahead of data, bans obeyed.

Each class has allowances (so many units in any window); an endpoint that the venue counts apart
spends its own and those of WEIGHT. Scans may use 60 % of an allowance, other data 70 %, orders
80 %, exits and cancels all of it, so neither a flood of reads nor one of entries delays a way out,
and no scan what is read before an entry.
The venue's own used-weight headers correct our count upwards; after 429 nothing of the class is
sent before Retry-After, after 418 nothing at all. A wait is bounded by the caller's deadline.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from services.common.errors import RetryableError
from services.common.rate_window import RateWindow, read_used
from services.connector.profile import EndpointClass, Priority
from services.connector.rate_lanes import SCAN_CALLS_AT_ONCE, CallLanes
from services.connector.rate_queue import PASS, RatePass, WaitingLine, current_pass

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from datetime import datetime

    from services.common.clock import Clock
    from services.common.rate_window import Allowance
    from services.connector.rate_queue import Waiter

CALL_DEADLINE: Final[ContextVar[float | None]] = ContextVar("call_deadline", default=None)
"""The present caller's deadline on the monotonic clock, None when it set none."""

CALL_PRIORITY: Final[ContextVar[Priority]] = ContextVar("call_priority", default=Priority.DATA)
"""What the present caller's reads are for: DATA, or SCAN where it said so."""

_SHARES: Final = {
    Priority.SCAN: 60,
    Priority.DATA: 70,
    Priority.ORDER: 80,
    Priority.EXIT: 100,
}
_DEFAULT_PAUSE_SECONDS: Final = {429: 30.0, 418: 120.0}
_NO_WAIT_SECONDS: Final = 0.001
"""A system clock moves on by itself, also for a request that waited for nothing."""
BANNED: Final = 418
TOO_MANY: Final = 429


class RateObserver(Protocol):
    """Who counts what the rate limits cost."""

    def count_wait(self, endpoint_class: str, seconds: float) -> None:
        """Count one request that waited."""
        ...

    def count_rate_refusal(self, endpoint_class: str) -> None:
        """Count one request that was not sent because its wait would have been too long."""
        ...

    def show_pause(self, endpoint_class: str | None, end: datetime) -> None:
        """Show until when the venue wants silence: of one class, or (None) of everything."""
        ...


class RateBudget:
    """The allowances of one host; every request to the venue goes through `take`."""

    def __init__(
        self,
        allowances: Mapping[str, tuple[Allowance, ...]],
        clock: Clock,
        *,
        max_wait_seconds: float = 60.0,
        scan_calls_at_once: int = SCAN_CALLS_AT_ONCE,
        observer: RateObserver | None = None,
        keep_ban: Callable[[datetime], None] | None = None,
    ) -> None:
        own = {name: [RateWindow(a) for a in group] for name, group in allowances.items()}
        self._own = own
        shared = own.get(EndpointClass.WEIGHT, [])
        self._windows = {
            name: group if isinstance(name, EndpointClass) else [*group, *shared]
            for name, group in own.items()
        }
        self._clock = clock
        self._max_wait = max_wait_seconds
        self._observer = observer
        self._keep_ban = keep_ban
        self._blocked_until: dict[str | None, float] = {}
        self._queues: dict[tuple[str, Priority], WaitingLine] = {}
        self._lanes = CallLanes(scan_calls_at_once)

    @asynccontextmanager
    async def take(
        self, endpoint_class: str, weight: int, priority: Priority
    ) -> AsyncIterator[None]:
        """Wait until `weight` units may be spent, spend them, and run the block.

        Raises RetryableError at once when the wait would outlast the caller's deadline, or when
        that has passed already: nothing is sent for a caller who is gone.
        """
        await self._admit(endpoint_class, weight, priority)
        leave = RatePass(endpoint_class, weight, priority)
        token = PASS.set(leave)
        try:
            yield
        finally:
            # Tasks that the call started inherit the pass, and must not go on with it.
            leave.valid = False
            PASS.reset(token)
            self.leave_place(leave)

    def leave_place(self, held: RatePass) -> None:
        """Give the call's place on the wire back, if it has one; its units stay spent."""
        if held.placed:
            held.placed = False
            self._lanes.leave(held.priority)

    async def take_place(self, held: RatePass) -> None:
        """Take a place on the wire again for a further request of a call that has given its back.

        Raises RetryableError when none came free before the caller's deadline.
        """
        if not held.placed:
            await self._enter_lane(held.endpoint_class, held.priority, self._clock.monotonic())
            held.placed = True

    async def take_more(self, held: RatePass) -> None:
        """Wait for a unit more than a call has taken, and spend it: a list goes on for pages.

        Raises RetryableError as `take`.
        """
        name, started = held.endpoint_class, self._clock.monotonic()
        while (wait := self.wait_seconds(name, 1, held.priority)) > 0:
            self._check_bound(name, wait, started)
            await self._clock.sleep(wait)
        self._spend(name, 1)

    async def _admit(self, name: str, weight: int, priority: Priority) -> None:
        """Wait for units and for a place on the wire, and take both at one instant."""
        started = self._clock.monotonic()
        queue = self._queues.setdefault((name, priority), WaitingLine())
        while True:
            # First come, first served within a priority; other priorities do not queue here.
            if queue.waiters or self.wait_seconds(name, weight, priority) > 0:
                await self._wait_turn(queue, name, weight, priority, started)
            waits = self._lanes.is_full(priority)
            await self._enter_lane(name, priority, started)
            # Units may be gone after a wait for a place; one without the other is given back.
            if not waits or self.wait_seconds(name, weight, priority) <= 0:
                break
            self._lanes.leave(priority)
        try:
            # Time also passes in the queues; an order sent late is the worst of both.
            self._check_bound(name, 0.0, started)
        except RetryableError:
            self._lanes.leave(priority)
            raise
        now = self._spend(name, weight)
        if self._observer is not None and now - started > _NO_WAIT_SECONDS:
            self._observer.count_wait(name, now - started)

    def _spend(self, name: str, weight: int) -> float:
        now = self._clock.monotonic()
        for window in self._windows.get(name, ()):
            window.spend(now, weight)
        return now

    async def _enter_lane(self, name: str, priority: Priority, started: float) -> None:
        left = self._bound(started) - self._clock.monotonic()
        try:
            await self._lanes.enter(priority, left)
        except TimeoutError:
            raise self._refuse(name, 0.0) from None

    async def _wait_turn(
        self,
        queue: WaitingLine,
        name: str,
        weight: int,
        priority: Priority,
        started: float,
    ) -> None:
        # Those ahead go first: whoever cannot be reached in time is told now, not at its deadline.
        backlog = self._backlog_seconds(name, queue.units + weight, priority)
        if queue.waiters:
            self._check_bound(name, backlog, started)
        waiter = queue.join(weight)
        try:
            if queue.waiters[0] is not waiter:
                await self._become_first(waiter, name, started)
            while True:
                wait = self.wait_seconds(name, weight, priority)
                if wait <= 0:
                    break
                self._check_bound(name, wait, started)
                await self._clock.sleep(wait)
        finally:
            queue.leave(waiter)

    async def _become_first(self, waiter: Waiter, name: str, started: float) -> None:
        left = self._bound(started) - self._clock.monotonic()
        try:
            async with asyncio.timeout(max(left, 0.0)):
                await waiter.turn.wait()
        except TimeoutError:
            raise self._refuse(
                name, self.wait_seconds(name, waiter.weight, Priority.EXIT)
            ) from None

    def _bound(self, started: float) -> float:
        deadline = CALL_DEADLINE.get()
        bound = started + self._max_wait
        return bound if deadline is None else min(bound, deadline)

    def _check_bound(self, name: str, wait: float, started: float) -> None:
        if self._clock.monotonic() + wait > self._bound(started):
            raise self._refuse(name, wait)

    def _refuse(self, name: str, wait: float) -> RetryableError:
        if self._observer is not None:
            self._observer.count_rate_refusal(name)
        end = self.ban_end
        if end is not None:
            return RetryableError(
                f"the venue has banned this address until {end:%Y-%m-%dT%H:%M:%SZ}",
                retry_after=end - self._clock.now(),
                reason="VENUE_BANNED",
                metadata={"endpointClass": str(name)},
            )
        return RetryableError(
            f"the venue's {name} allowance is used up"
            if wait > 0
            else "the caller's deadline passed before the request could be sent",
            retry_after=timedelta(seconds=wait),
            metadata={"endpointClass": str(name)},
        )

    @property
    def ban_end(self) -> datetime | None:
        """When the venue's ban of this address ends, None when there is none."""
        left = self._blocked_until.get(None, 0.0) - self._clock.monotonic()
        return self._clock.now() + timedelta(seconds=left) if left > 0 else None

    def wait_seconds(self, name: str, weight: int, priority: Priority) -> float:
        """Return how long a request of that weight would have to wait now, were it the next."""
        now = self._clock.monotonic()
        share = _SHARES[priority]
        waits = [window.wait(now, weight, share) for window in self._windows.get(name, ())]
        return max(waits + self._blocks(name, now), default=0.0)

    def _backlog_seconds(self, name: str, units: int, priority: Priority) -> float:
        now = self._clock.monotonic()
        share = _SHARES[priority]
        waits = [window.backlog_wait(now, units, share) for window in self._windows.get(name, ())]
        return max(waits + self._blocks(name, now), default=0.0)

    def _blocks(self, name: str, now: float) -> list[float]:
        if not self._blocked_until:
            return []
        return [self._blocked_until.get(key, now) - now for key in (None, name)]

    @property
    def classes(self) -> tuple[str, ...]:
        """The endpoint classes that have an allowance of their own."""
        return tuple(str(name) for name in self._own)

    def used_ratio(self, name: str) -> float:
        """Return the share of a class's own allowance that is spent, of its fullest window."""
        now = self._clock.monotonic()
        return max((window.used_ratio(now) for window in self._own.get(name, ())), default=0.0)

    def observe_headers(self, headers: Mapping[str, str]) -> None:
        """Correct our counts by what the venue says was used."""
        now = self._clock.monotonic()
        lower = {name.lower(): value for name, value in headers.items()}
        held = current_pass()
        for name, windows in self._own.items():
            own = held is not None and held.endpoint_class == name
            for window in windows:
                used = read_used(lower, window.allowance, own_reply=own)
                if used is not None:
                    window.correct(now, used)

    def observe_refusal(
        self,
        status: int,
        retry_after: timedelta | None,
        endpoint_class: str,
        *,
        by_code: bool = False,
        ban: timedelta | None = None,
    ) -> None:
        """Stop sending after 429 (that class) or 418 (everything) for as long as the venue asks.

        `by_code` is a refusal in the body for too many requests, whatever the HTTP status: without
        Retry-After it pauses the class for its shortest window. `ban` is how long a status of the
        venue's own shuts the address out.
        """
        if ban is not None:
            self._pause(None, (retry_after or ban).total_seconds())
            return
        if by_code and status != BANNED:
            status = TOO_MANY
        if status not in _DEFAULT_PAUSE_SECONDS:
            return
        pause = _DEFAULT_PAUSE_SECONDS[status]
        if retry_after is not None:
            pause = retry_after.total_seconds()
        elif by_code and status == TOO_MANY:
            windows = self._windows.get(endpoint_class, ())
            pause = min((one.allowance.window_seconds for one in windows), default=1.0)
        self._pause(None if status == BANNED else endpoint_class, pause)

    def _pause(self, name: str | None, seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        # Never shortened: a 429 that was on its way does not end a ban (repeats lengthen it).
        if until <= self._blocked_until.get(name, 0.0):
            return
        self._blocked_until[name] = until
        end = self._clock.now() + timedelta(seconds=seconds)
        if name is None and self._keep_ban is not None:
            self._keep_ban(end)
        if self._observer is not None:
            self._observer.show_pause(name, end)
