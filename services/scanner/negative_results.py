"""What a venue said it has not: not asked for again until the word is old."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from services.common.clock import Clock

_MAX_KEYS = 65_536
_JITTER = 0.25


class NegativeResults:
    """Keys that brought nothing, each believed for about `seconds`.

    Only for answers: a failed connection says nothing of what the venue has. `draw` gives numbers
    from 0 to 1; times are drawn a quarter apart, so that what was learned in one scan is not all
    asked again in another.
    """

    def __init__(self, seconds: float, clock: Clock, draw: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._draw = draw
        self._until: dict[Hashable, float] = {}

    def remember(self, key: Hashable) -> None:
        """Believe for a while that there is nothing."""
        now = self._clock.monotonic()
        if len(self._until) >= _MAX_KEYS:
            self._until = {each: until for each, until in self._until.items() if until > now}
        # Full of keys that hold still: forgetting costs a call, growing costs the process.
        if len(self._until) < _MAX_KEYS:
            spread = 1 - _JITTER + 2 * _JITTER * self._draw()
            self._until[key] = now + self._seconds * spread

    def holds(self, key: Hashable) -> bool:
        """Tell whether asking for it is not worth a call yet."""
        until = self._until.get(key)
        return until is not None and until > self._clock.monotonic()
