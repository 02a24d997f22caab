"""What time it is by the venue's own stamps on orders and trades.

Live that is our clock plus the skew. A simulated market has a time of its own, so instants that
rows are compared with are reckoned from the stamps that rows have carried.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.connector.venue import Venue


class VenueStamps:
    """Keeps the latest stamp that a row of ours has carried, and when it was received."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._latest: datetime | None = None
        self._received = 0.0

    @property
    def latest(self) -> datetime | None:
        """Return the latest stamp seen, None when none was."""
        return self._latest

    def observe(self, stamp: datetime | None) -> None:
        """Take the stamp of a row; older ones, of rows that were asked for, change nothing."""
        if stamp is not None and (self._latest is None or stamp > self._latest):
            self._latest = stamp
            self._received = self._venue.clock.monotonic()

    def now(self) -> datetime:
        """Return what a row stamped now would carry, at the least."""
        venue = self._venue
        if self._latest is None:
            return venue.clock.now() + (venue.clock_skew or timedelta(0))
        return self._latest + timedelta(seconds=venue.clock.monotonic() - self._received)
