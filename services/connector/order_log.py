"""The updates of the order stream, numbered, so that a reader that was away goes on where it was.

Kept in memory and bounded; a reader that is further behind than that is told so.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from opensqt.market_maker.v1 import events_pb2

_KEPT_UPDATES: Final = 50_000
_KEPT_TRADE_IDS: Final = 100_000


class OrderLog:
    """Updates in the order they were told."""

    def __init__(self, limit: int = _KEPT_UPDATES) -> None:
        self._updates: deque[events_pb2.OrderUpdate] = deque(maxlen=limit)
        self._next = 0
        self._news = asyncio.Event()

    @property
    def position(self) -> int:
        """Return the number that the next update will have."""
        return self._next

    def append(self, update: events_pb2.OrderUpdate) -> None:
        """Add an update and wake the readers."""
        self._updates.append(update)
        self._next += 1
        self.wake()

    def wake(self) -> None:
        """Wake the readers: there is news, if only that the stream is down."""
        self._news.set()
        self._news = asyncio.Event()

    def since(self, position: int) -> list[events_pb2.OrderUpdate] | None:
        """Return the updates from a number on; None when some of them are kept no more."""
        count = self._next - position
        if count > len(self._updates):
            return None
        return [
            self._updates[index] for index in range(len(self._updates) - count, len(self._updates))
        ]

    async def wait(self) -> None:
        """Wait for the next update or wake-up."""
        await self._news.wait()


class ToldFills:
    """Trade ids that were told, so that a fill learned twice is told once."""

    def __init__(self, limit: int = _KEPT_TRADE_IDS) -> None:
        self._ids: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._limit = limit

    def add(self, symbol: str, exchange_order_id: str, trade_id: str) -> bool:
        """Take a fill that is being told; return False when it was told before.

        The order is part of its name: a trade of the account with itself fills two.
        """
        key = (symbol, exchange_order_id, trade_id)
        if key in self._ids:
            return False
        self._ids[key] = None
        if len(self._ids) > self._limit:
            self._ids.popitem(last=False)
        return True

    def __contains__(self, key: tuple[str, str, str]) -> bool:
        return key in self._ids
