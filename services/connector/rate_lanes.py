"""How many calls may be on the wire at once: reads, scans and entries are bounded, exits are not.

The HTTP session has a bounded number of connections and serves who waits for one in turn; so many
entries as there are connections would make an exit wait. Bounded here, they always leave some.
"""

from __future__ import annotations

import asyncio
from typing import Final

from services.connector.profile import Priority

CALLS_AT_ONCE: Final = 64
"""Reads, and entries, that one account may have on the wire at once."""
SCAN_CALLS_AT_ONCE: Final = 6
"""Reads of scans that one account may have on the wire at once, if the settings say nothing.

No venue documents such a bound; its weights a minute are used up long before more would help.
"""
SESSION_CONNECTIONS: Final = 4 * CALLS_AT_ONCE
"""Connections of one HTTP session: half of them are out of reach of reads and entries."""


class CallLanes:
    """A lane of reads, one of scans, one of entries, and the open one of exits and cancels."""

    def __init__(self, scan_calls_at_once: int, calls_at_once: int = CALLS_AT_ONCE) -> None:
        self._places = {
            Priority.SCAN: asyncio.Semaphore(scan_calls_at_once),
            Priority.DATA: asyncio.Semaphore(calls_at_once),
            Priority.ORDER: asyncio.Semaphore(calls_at_once),
        }

    def is_full(self, priority: Priority) -> bool:
        """Whether a call of that priority would have to wait for another to end."""
        places = self._places.get(priority)
        return places is not None and places.locked()

    async def enter(self, priority: Priority, seconds: float) -> None:
        """Take a place in the lane; `leave` gives it back.

        Raises TimeoutError when none came free within the seconds; exits have theirs at once.
        """
        places = self._places.get(priority)
        if places is None:
            return
        if not places.locked():
            await places.acquire()
            return
        async with asyncio.timeout(max(seconds, 0.0)):
            await places.acquire()

    def leave(self, priority: Priority) -> None:
        """Give a place back."""
        places = self._places.get(priority)
        if places is not None:
            places.release()
