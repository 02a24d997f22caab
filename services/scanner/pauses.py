"""How long the next scan waits: the set interval, less while scans do not come to their whole end.

A scan that begins while connectors start again sees nothing; the opportunities must not stay away
for a whole interval because of it.
"""

from __future__ import annotations

from typing import Final

FIRST_PAUSE_SECONDS: Final = 5.0
_MOST_DOUBLINGS: Final = 30


def pause_after(interval_seconds: float, incomplete_count: int) -> float:
    """Return the seconds until the next scan, after so many in a row that were not complete.

    Doubles from FIRST_PAUSE_SECONDS on, so that a venue that stays away costs its rate limits no
    more than one that is there.
    """
    if not incomplete_count:
        return interval_seconds
    doublings = min(incomplete_count - 1, _MOST_DOUBLINGS)
    return min(interval_seconds, FIRST_PAUSE_SECONDS * 2.0**doublings)
