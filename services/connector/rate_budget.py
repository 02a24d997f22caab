"""Our share of the venue's rate limits: per endpoint class, orders ahead of data, bans obeyed.

Each class has allowances (so many units in any window). Data may use 80 % of an allowance, orders
90 %, exits and cancels all of it, so a flood of reads never delays a way out. The venue's own
used-weight headers correct our count upwards; after 429 nothing of the class is sent before
Retry-After, after 418 nothing at all. A wait is bounded by the caller's deadline.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from services.common.errors import RetryableError
from services.connector.profile import EndpointClass, Priority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from services.common.clock import Clock
    from services.connector.profile import Allowance

CALL_DEADLINE: Final[ContextVar[float | None]] = ContextVar("call_deadline", default=None)
"""The present caller's deadline on the monotonic clock, None when it set none."""

_SHARES: Final = {Priority.DATA: 80, Priority.ORDER: 90, Priority.EXIT: 100}
_DEFAULT_PAUSE_SECONDS: Final = {429: 30.0, 418: 120.0}


def scale_allowances(
    allowances: Mapping[EndpointClass, tuple[Allowance, ...]], scale: float
) -> dict[EndpointClass, tuple[Allowance, ...]]:
    """Return the allowances times `scale`, none below one unit."""
    return {
        name: tuple(replace(one, limit=max(1, int(one.limit * scale))) for one in group)
        for name, group in allowances.items()
    }


class _Window:
    """Units spent in the last `window_seconds`, oldest first."""

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self._spent: deque[tuple[float, int]] = deque()
        self._total = 0

    def spend(self, now: float, units: int) -> None:
        self._spent.append((now, units))
        self._total += units

    def total(self, now: float) -> int:
        oldest = now - self.allowance.window_seconds
        while self._spent and self._spent[0][0] <= oldest:
            self._total -= self._spent.popleft()[1]
        return self._total

    def correct(self, now: float, used: int) -> None:
        # Upwards only: the venue counts by its own minute, ours slides.
        missing = used - self.total(now)
        if missing > 0:
            self.spend(now, missing)

    def wait(self, now: float, units: int, share: int) -> float:
        """Return the seconds until `units` fit under `share` percent of the allowance."""
        # A call heavier than its share passes when the window is empty enough.
        limit = max(self.allowance.limit * share // 100, min(units, self.allowance.limit))
        excess = self.total(now) + units - limit
        if excess <= 0:
            return 0.0
        for when, spent in self._spent:
            excess -= spent
            if excess <= 0:
                return when + self.allowance.window_seconds - now
        return self.allowance.window_seconds


class RateBudget:
    """The allowances of one host; every request to the venue goes through `take`."""

    def __init__(
        self,
        allowances: Mapping[EndpointClass, tuple[Allowance, ...]],
        clock: Clock,
        *,
        max_wait_seconds: float = 60.0,
        on_wait: Callable[[EndpointClass, float], None] | None = None,
    ) -> None:
        self._windows = {name: [_Window(a) for a in group] for name, group in allowances.items()}
        self._clock = clock
        self._max_wait = max_wait_seconds
        self._on_wait = on_wait
        self._blocked_until: dict[EndpointClass | None, float] = {}
        self._queues: dict[tuple[EndpointClass, Priority], asyncio.Lock] = {}

    @asynccontextmanager
    async def take(
        self, endpoint_class: EndpointClass, weight: int, priority: Priority
    ) -> AsyncIterator[None]:
        """Wait until `weight` units may be spent, spend them, and run the block.

        Raises RetryableError at once when the wait would outlast the caller's deadline, or when
        that has passed already: nothing is sent for a caller who is gone.
        """
        queue = self._queues.setdefault((endpoint_class, priority), asyncio.Lock())
        # First come, first served within a priority; other priorities do not queue here.
        async with queue:
            await self._wait_turn(endpoint_class, weight, priority)
            # Time also passes in the queue and before it; an order sent late is the worst of both.
            self._check_bound(endpoint_class, 0.0, self._clock.monotonic())
            now = self._clock.monotonic()
            for window in self._windows.get(endpoint_class, ()):
                window.spend(now, weight)
        yield

    async def _wait_turn(self, name: EndpointClass, weight: int, priority: Priority) -> None:
        started = self._clock.monotonic()
        while True:
            wait = self.wait_seconds(name, weight, priority)
            if wait <= 0:
                break
            self._check_bound(name, wait, started)
            await self._clock.sleep(wait)
        waited = self._clock.monotonic() - started
        if waited > 0 and self._on_wait is not None:
            self._on_wait(name, waited)

    def _check_bound(self, name: EndpointClass, wait: float, started: float) -> None:
        now = self._clock.monotonic()
        deadline = CALL_DEADLINE.get()
        bound = started + self._max_wait
        if now + wait > (bound if deadline is None else min(bound, deadline)):
            raise RetryableError(
                f"the venue's {name} allowance is used up"
                if wait > 0
                else "the caller's deadline passed before the request could be sent",
                retry_after=timedelta(seconds=wait),
                metadata={"endpointClass": name.value},
            )

    def wait_seconds(self, name: EndpointClass, weight: int, priority: Priority) -> float:
        """Return how long a request of that weight would have to wait now."""
        now = self._clock.monotonic()
        share = _SHARES[priority]
        if name is EndpointClass.ORDER and priority is Priority.ORDER:
            # A fifth of the order allowance is kept for exits, which nothing may block.
            share = _SHARES[Priority.DATA]
        waits = [window.wait(now, weight, share) for window in self._windows.get(name, ())]
        waits.extend(self._blocked_until.get(key, now) - now for key in (None, name))
        return max(waits, default=0.0)

    def observe_headers(self, headers: Mapping[str, str]) -> None:
        """Correct our counts by what the venue says was used."""
        now = self._clock.monotonic()
        lower = {name.lower(): value for name, value in headers.items()}
        for windows in self._windows.values():
            for window in windows:
                used = lower.get(window.allowance.used_header or "", "")
                if used.isascii() and used.isdigit():
                    window.correct(now, int(used[:9]))

    def observe_refusal(
        self, status: int, retry_after: timedelta | None, endpoint_class: EndpointClass
    ) -> None:
        """Stop sending after 429 (that class) or 418 (everything) for as long as the venue asks."""
        if status not in _DEFAULT_PAUSE_SECONDS:
            return
        pause = _DEFAULT_PAUSE_SECONDS[status]
        if retry_after is not None:
            pause = retry_after.total_seconds()
        key = None if status == 418 else endpoint_class
        until = self._clock.monotonic() + pause
        # Never shortened: a 429 that was on its way does not end a ban (repeats lengthen it).
        self._blocked_until[key] = max(until, self._blocked_until.get(key, until))
