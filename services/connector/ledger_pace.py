"""Where a row of the ledger is committed: at once on the event loop, or in the writer's thread.

Handing a row to a thread and being woken again costs an order more than the commit itself does on
a disk that syncs in a fraction of a millisecond. On a slower disk the loop would stand still.
"""

from __future__ import annotations

from typing import Final

MOST_SECONDS: Final = 0.003
"""Commits that take longer than this on average go to the thread."""

AWAY_SECONDS: Final = 10.0
"""How long they stay there before the disk is tried again."""

_WEIGHT: Final = 0.125


class CommitPace:
    """Follows how long commits on the event loop take; times are monotonic seconds."""

    def __init__(self) -> None:
        self._average = 0.0
        self._away_until = 0.0

    def is_quick(self, now: float) -> bool:
        """Whether the disk lets the event loop commit by itself."""
        return now >= self._away_until

    def note(self, now: float, seconds: float) -> None:
        """Take the time of one commit that has ended now."""
        self._average += (seconds - self._average) * _WEIGHT
        if self._average > MOST_SECONDS:
            self._average = 0.0
            self._away_until = now + AWAY_SECONDS
