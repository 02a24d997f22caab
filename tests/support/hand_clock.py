"""A clock that stands where the test puts it, and that sleepers move on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

NOW = datetime(2026, 3, 20, 10, tzinfo=UTC)


class HandClock:
    """Starts at `NOW`; `instant` may be set."""

    def __init__(self) -> None:
        self.instant = NOW

    def now(self) -> datetime:
        """Return the instant."""
        return self.instant

    def monotonic(self) -> float:
        """Return its seconds since `NOW`."""
        return (self.instant - NOW).total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Move on at once; others have a turn."""
        self.instant += timedelta(seconds=seconds)
        await asyncio.sleep(0)
