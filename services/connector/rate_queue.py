"""What a call holds while it waits for its units and while it spends them."""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from services.connector.profile import Priority


# Mutable: it stands for one call while that runs.
@dataclass(slots=True)
class RatePass:
    """Leave for what one call sends; a task that outlives the call finds it expired.

    `sent` counts its requests: as many as its `weight` are paid for. `placed` is whether it holds
    its place on the wire, which may be given back before the answer is worked on.
    """

    endpoint_class: str
    weight: int
    priority: Priority
    sent: int = 0
    valid: bool = True
    placed: bool = True


# From a free place to the request on the wire: the budget, the signature, a warm connection.
_TURNS_OF_A_SEND: Final = 6

PASS: Final[ContextVar[RatePass | None]] = ContextVar("rate_pass", default=None)


def current_pass() -> RatePass | None:
    """Return the pass of the call that runs now, None outside of `RateBudget.take`."""
    held = PASS.get()
    return held if held is not None and held.valid else None


async def let_others_send() -> None:
    """Let those whose turn has come put their requests on the wire first."""
    for _ in range(_TURNS_OF_A_SEND):
        await asyncio.sleep(0)


@dataclass(frozen=True, slots=True, eq=False)
class Waiter:
    """One call that waits; `turn` is set when it is the first of its line."""

    weight: int
    turn: asyncio.Event = field(default_factory=asyncio.Event)


class WaitingLine:
    """Those who wait with one priority in one class, first come, first served."""

    def __init__(self) -> None:
        self.waiters: deque[Waiter] = deque()
        self.units = 0

    def join(self, weight: int) -> Waiter:
        """Stand at the end."""
        waiter = Waiter(weight)
        self.waiters.append(waiter)
        self.units += weight
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Go, from wherever in the line; whoever is first then has its turn."""
        self.waiters.remove(waiter)
        self.units -= waiter.weight
        if self.waiters:
            self.waiters[0].turn.set()
