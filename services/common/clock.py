"""Time as a dependency: services take a `Clock`, tests pass one they move by hand."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time, monotonic time and sleep, the only three ways a service may meet time."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start that never run backwards; for ages and timers."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of this clock; at least one turn of the event loop."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """Return the system time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the system's monotonic seconds."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop; a negative length counts as zero."""
        await asyncio.sleep(max(seconds, 0.0))
