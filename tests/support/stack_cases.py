"""What modules have in common that play many cases at once on the whole system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cli.demo.books import Books
from opensqt.market_maker.v1 import engine_pb2
from tests.support.stack import CLOSED, StackDriver, in_time

HELD_SECONDS = 8.0
"""How long the venue holds what is in flight: long enough to bring all cases to their moment."""
NO_MARGIN = {"type": "reject", "code": -2019, "msg": "Margin is insufficient."}

Position = engine_pb2.HedgedPosition


def held(when: str, seconds: float = HELD_SECONDS) -> dict[str, Any]:
    """Return a fault that holds a request `before` or its reply `after` the venue acts."""
    return {"type": "delay", "seconds": seconds, "when": when}


@dataclass(frozen=True, slots=True)
class Aftermath:
    """The system with every case at rest, by its name, and the books of before."""

    stack: StackDriver
    before: Books
    settled: Mapping[str, Position | AssertionError]

    def position(self, name: str) -> Position:
        """Return a case's position; raises the failure of one that did not rest in time."""
        return in_time(self.settled[name])

    async def assert_all_close(self) -> None:
        """Close every position: no perpetual is held, and of each coin less than a lot is left."""
        for position in await self.stack.leave_all():
            assert position.state == CLOSED, position
            await self.stack.assert_matched_or_flat(position, self.before)
        assert (await self.stack.books()).positions == {}
