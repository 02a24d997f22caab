"""The wires between the simulated processes: seeded latencies, losses, and partitions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from simulation.loop import PROCESS

_TINY_SECONDS: Final = 1e-6
_DISTANT: Final = 20


class Fate(StrEnum):
    """What the wire does to one request and its reply."""

    WHOLE = "whole"
    REQUEST_LOST = "request_lost"
    """Nobody hears of it: the caller waits for its own timeout."""
    REQUEST_CUT = "request_cut"
    """The connection breaks before the other side has read it."""
    REPLY_LOST = "reply_lost"
    """Done, and the caller waits for its own timeout."""
    REPLY_CUT = "reply_cut"
    """Done, and the connection breaks."""

    @property
    def arrives(self) -> bool:
        """Whether the other side gets the request."""
        return self not in (Fate.REQUEST_LOST, Fate.REQUEST_CUT)


@dataclass(frozen=True, slots=True)
class LinkFaults:
    """Probabilities of one link; latencies in seconds, each way.

    A latency is drawn between the two, and one in twenty is up to `slow_factor` times as long.
    """

    least_seconds: float = 0.001
    most_seconds: float = 0.02
    slow_factor: float = 1.0
    request_lost: float = 0.0
    request_cut: float = 0.0
    reply_lost: float = 0.0
    reply_cut: float = 0.0
    faulty: float = field(init=False)
    """The share of requests that any of these strikes."""

    def __post_init__(self) -> None:
        """Sum the shares: each request asks."""
        faulty = self.request_lost + self.request_cut + self.reply_lost + self.reply_cut
        object.__setattr__(self, "faulty", faulty)


CALM: Final = LinkFaults()


# Not frozen: links change while the world runs.
@dataclass(slots=True)
class Network:
    """All links by name (`binance` is connector to venue, `engine-binance` engine to connector)."""

    loop: asyncio.AbstractEventLoop
    chance: random.Random
    links: dict[str, LinkFaults] = field(default_factory=dict)
    partitions: set[str] = field(default_factory=set)
    injected: dict[str, int] = field(default_factory=dict)

    def heal(self) -> None:
        """End all faults; latencies stay as they are without them."""
        self.partitions.clear()
        for name, link in self.links.items():
            self.links[name] = LinkFaults(link.least_seconds, link.most_seconds)

    def delay(self, link: str) -> float:
        """Draw the seconds that a message takes one way."""
        told = self.links.get(link, CALM)
        seconds = self.chance.uniform(told.least_seconds, told.most_seconds)
        if told.slow_factor > 1 and self.chance.randrange(_DISTANT) == 0:
            seconds *= self.chance.uniform(1, told.slow_factor)
        return seconds

    def fate(self, link: str) -> Fate:
        """Draw what becomes of a request on a link."""
        process = PROCESS.get()
        if process is not None and process.is_dead:
            # Killed within this very step: what it still does in it leaves no more.
            return Fate.REQUEST_LOST
        if link in self.partitions:
            return self._note(Fate.REQUEST_LOST)
        told = self.links.get(link, CALM)
        drawn = self.chance.random()
        if drawn >= told.faulty:
            return Fate.WHOLE
        for fate in (Fate.REQUEST_LOST, Fate.REQUEST_CUT, Fate.REPLY_LOST, Fate.REPLY_CUT):
            drawn -= getattr(told, fate.value)
            if drawn < 0:
                return self._note(fate)
        return Fate.WHOLE

    def post(
        self, link: str, deliver: Callable[..., object], *args: Any, context: Context | None = None
    ) -> None:
        """Deliver after a latency of the link, in a context of the receiver's."""
        self.loop.call_later(self.delay(link), deliver, *args, context=context)

    def _note(self, fate: Fate) -> Fate:
        self.injected[fate.value] = self.injected.get(fate.value, 0) + 1
        return fate


# Not frozen: it remembers when its last message arrives.
@dataclass(slots=True)
class Lane:
    """One direction of a connection: what is sent later arrives later."""

    network: Network
    link: str
    last: float = 0.0

    def post(
        self, deliver: Callable[..., object], *args: Any, context: Context | None = None
    ) -> None:
        """Deliver in order, after a latency of the link."""
        due = self.network.loop.time() + self.network.delay(self.link)
        # Strictly later: the heap of timers keeps no order among equals.
        self.last = max(due, self.last + _TINY_SECONDS)
        self.network.loop.call_at(self.last, deliver, *args, context=context)
