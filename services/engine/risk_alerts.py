"""Alerts of the guards for whoever listens now; past ones are not repeated to listeners."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from services.common.clock import Clock
from services.common.errors import Code, RetryableError, UnreachableError
from services.common.ordered_set import OrderedSet
from services.common.watch_hub import SUBSCRIBER_TOO_SLOW
from services.engine.guard_facts import GuardFinding

_MOST_LISTENERS = 100
_MOST_WAITING = 256
_MOST_RECENT = 50


@dataclass(frozen=True, slots=True)
class RiskAlert:
    """One finding and when it was raised."""

    finding: GuardFinding
    at: datetime


class AlertFeed:
    """Hands each alert to every listener; one that does not read is ended, never waited for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._listeners: OrderedSet[asyncio.Queue[RiskAlert | None]] = OrderedSet()
        self._closed = False
        self.recent: deque[RiskAlert] = deque(maxlen=_MOST_RECENT)
        """The last alerts of this process, the oldest first; for whoever looks now and then."""

    def raised(self, finding: GuardFinding) -> None:
        """Tell everybody who listens."""
        alert = RiskAlert(finding, self._clock.now())
        self.recent.append(alert)
        for queue in tuple(self._listeners):
            # One place is kept for the word that ends the stream.
            if queue.qsize() < _MOST_WAITING:
                queue.put_nowait(alert)
            else:
                self._listeners.discard(queue)
                queue.put_nowait(None)

    def close(self) -> None:
        """End all streams, also those that come later."""
        self._closed = True
        for queue in tuple(self._listeners):
            queue.put_nowait(None)

    async def watch(self) -> AsyncIterator[RiskAlert]:
        """Yield alerts as they are raised, until the feed closes.

        Raises RetryableError (SUBSCRIBER_TOO_SLOW, SUBSCRIBER_LIMIT_REACHED) for a listener that
        lags and for one too many, UnreachableError (SHUTTING_DOWN) after `close`.
        """
        if self._closed:
            raise UnreachableError("the engine is stopping", reason="SHUTTING_DOWN")
        if len(self._listeners) >= _MOST_LISTENERS:
            raise RetryableError("too many listen already", reason="SUBSCRIBER_LIMIT_REACHED")
        queue: asyncio.Queue[RiskAlert | None] = asyncio.Queue(_MOST_WAITING + 2)
        self._listeners.add(queue)
        try:
            while (alert := await queue.get()) is not None:
                yield alert
        finally:
            self._listeners.discard(queue)
        if not self._closed:
            raise RetryableError(
                "the listener did not keep up; listen again",
                reason=SUBSCRIBER_TOO_SLOW,
                code=Code.RESOURCE_EXHAUSTED,
            )
        raise UnreachableError("the engine is stopping", reason="SHUTTING_DOWN")
