"""How long and how much of a lead was filled with no hedge."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal


class ExposureMeter:
    """Adds up stretches of exposure on a monotonic clock.

    A stretch runs from the moment a fill that needs a hedge is known to the moment its hedge's fill
    is. Quantities below the larger lot are matched and start none. Mutable: it is a stopwatch.
    """

    def __init__(self, larger_lot: Decimal, price: Decimal) -> None:
        self._larger_lot = larger_lot
        self._price = price
        self._since: float | None = None
        self._total = 0.0
        self._latest = 0.0
        self.max_notional = Decimal(0)

    @property
    def is_exposed(self) -> bool:
        """Whether a stretch of exposure runs now."""
        return self._since is not None

    def observe(self, now: float, exposure: Decimal) -> None:
        """Take the unsigned quantity without a hedge as known at `now`.

        An answer may be booked after news that came later; time never runs back for that.
        """
        now = self._latest = max(now, self._latest)
        if exposure < self._larger_lot:
            if self._since is not None:
                self._total += now - self._since
                self._since = None
            return
        self.max_notional = max(self.max_notional, exposure * self._price)
        if self._since is None:
            self._since = now

    def stretch(self, now: float) -> timedelta:
        """Return how long the present stretch has lasted; zero when matched."""
        return timedelta(seconds=0 if self._since is None else now - self._since)

    def total(self, now: float) -> timedelta:
        """Return the sum of all stretches, the present one included."""
        return timedelta(seconds=self._total) + self.stretch(now)
