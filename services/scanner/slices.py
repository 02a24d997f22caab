"""Numeric work on the event loop in slices, so that nothing else waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.common.clock import Clock

SLICE_SECONDS = 0.003


class Slicer:
    """Lets the event loop go on whenever the work since the last pause took longer than a slice."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic()

    async def pause(self) -> None:
        """Give way when the slice is used up; call between pieces well shorter than a slice."""
        # A pause costs a turn of the loop, so it is taken by time used and not by count of work.
        if self._clock.monotonic() - self._since >= SLICE_SECONDS:
            await self._clock.sleep(0)
            self._since = self._clock.monotonic()
