"""Turns for the replies of many streams: a price that a hundred follow must not delay an order.

All followers of a row wake at once, and each writes; an order that comes in between needs the event
loop some ten times and would wait for all of them each time. With so many writes at most in one
round of the loop it waits for that many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

WRITES_PER_ROUND: Final = 8


class WriteTurns:
    """Lets so many writers go in each round of the event loop, first come, first served."""

    def __init__(self, per_round: int = WRITES_PER_ROUND) -> None:
        self._per_round = per_round
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._given = 0
        self._is_counting = False

    async def wait(self) -> None:
        """Wait for a turn; there is one at once while this round has some left."""
        loop = asyncio.get_running_loop()
        if not self._is_counting:
            self._is_counting = True
            loop.call_soon(self._next_round)
        if self._given < self._per_round and not self._waiting:
            self._given += 1
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _next_round(self) -> None:
        self._given = 0
        while self._waiting and self._given < self._per_round:
            turn = self._waiting.popleft()
            # Who left meanwhile takes no turn.
            if not turn.done():
                turn.set_result(None)
                self._given += 1
        self._is_counting = self._given > 0
        if self._is_counting:
            asyncio.get_running_loop().call_soon(self._next_round)
