"""A bound on log lines that strangers can cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.common.logs import get_logger

if TYPE_CHECKING:
    from services.common.clock import Clock

LINES_PER_SECOND = 20
_log = get_logger(__name__)


class LineBudget:
    """Lets some lines pass in each second and tells, in the next one, how many it held back."""

    def __init__(self, clock: Clock, per_second: int = LINES_PER_SECOND) -> None:
        self._clock = clock
        self._per_second = per_second
        self._second = 0
        self._taken = 0

    def take(self) -> bool:
        """Return whether one more line may be written now."""
        second = int(self._clock.monotonic())
        if second != self._second:
            held_back = self._taken - self._per_second
            self._second, self._taken = second, 0
            if held_back > 0:
                _log.warning("lines_held_back", count=held_back)
        self._taken += 1
        return self._taken <= self._per_second
