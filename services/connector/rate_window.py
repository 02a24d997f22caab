"""One allowance of a venue and what was spent of it: a window that slides over the last seconds."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.connector.profile import Allowance


class RateWindow:
    """Units spent in the last `window_seconds`, oldest first; times are monotonic seconds."""

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self._spent: deque[tuple[float, int]] = deque()
        self._total = 0

    def spend(self, now: float, units: int) -> None:
        """Note that so many units leave now."""
        self._spent.append((now, units))
        self._total += units

    def total(self, now: float) -> int:
        """Return what is spent within the window that ends now."""
        oldest = now - self.allowance.window_seconds
        while self._spent and self._spent[0][0] <= oldest:
            self._total -= self._spent.popleft()[1]
        return self._total

    def correct(self, now: float, used: int) -> None:
        """Take the venue's own count where it is higher than ours."""
        # Upwards only: the venue counts by its own minute, ours slides.
        missing = used - self.total(now)
        if missing > 0:
            self.spend(now, missing)

    def wait(self, now: float, units: int, share: int) -> float:
        """Return the seconds until `units` fit under `share` percent of the allowance."""
        # A call heavier than its share passes when the window is empty enough.
        limit = max(self._share(share), min(units, self.allowance.limit))
        excess = self.total(now) + units - limit
        if excess <= 0:
            return 0.0
        for when, spent in self._spent:
            excess -= spent
            if excess <= 0:
                return when + self.allowance.window_seconds - now
        return self.allowance.window_seconds

    def backlog_wait(self, now: float, units: int, share: int) -> float:
        """Return the seconds until the last of `units`, spent by many calls, may leave."""
        limit = self._share(share)
        # A unit leaves a window after the one that stands a whole share before it.
        windows, before = divmod(units - 1, limit)
        return windows * self.allowance.window_seconds + self.wait(now, before + 1, share)

    def _share(self, share: int) -> int:
        return max(self.allowance.limit * share // 100, 1)
