"""A clock whose wall time a test sets apart from its monotonic time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

NOW = datetime(2026, 3, 20, 10, tzinfo=UTC)


class SteppingClock:
    """Starts at `NOW`; `age` lets time pass, `step` sets the wall clock only."""

    def __init__(self) -> None:
        self._seconds = 1000.0
        self._wall = NOW

    def now(self) -> datetime:
        """Return the wall time."""
        return self._wall

    def monotonic(self) -> float:
        """Return the seconds that passed."""
        return self._seconds

    async def sleep(self, seconds: float) -> None:
        """Let others have a turn; time stands."""
        await asyncio.sleep(0)

    def age(self, seconds: float) -> None:
        """Let time pass."""
        self._seconds += seconds
        self._wall += timedelta(seconds=seconds)

    def step(self, change: timedelta) -> None:
        """Set the wall clock ahead or back."""
        self._wall += change
