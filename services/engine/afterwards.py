"""Work that no order waits for, done a moment later: first a hedge leaves, then it is told."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

Work = Callable[[], None]
Later = Callable[[Work], None]
"""Takes work, and does it now or later, in the order in which it was taken."""

DELAY_SECONDS = 0.005
"""Well above what a hedge takes from its lead's fill to the wire."""


def at_once(work: Work) -> None:
    """Do it now: a `Later` without delay."""
    work()


class Afterwards:
    """Does what it is given a moment later, one piece in a turn of the loop: a fill may come then.

    Belongs to one event loop; what has not been done when the loop ends is lost.
    """

    def __init__(self, delay_seconds: float = DELAY_SECONDS) -> None:
        self._delay = delay_seconds
        self._waiting: deque[Work] = deque()

    def do(self, work: Work) -> None:
        """Take work; where it raises, the loop's handler is told and the next has its turn."""
        if not self._waiting:
            asyncio.get_running_loop().call_later(self._delay, self._do_next)
        self._waiting.append(work)

    def _do_next(self) -> None:
        # Kept in its place until it is done: what it gives us itself must not start a second row.
        try:
            self._waiting[0]()
        finally:
            self._waiting.popleft()
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._do_next)
