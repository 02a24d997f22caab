"""What happened in a world, in order, as text and as one hash."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

_KEPT: Final = 20_000


class TraceEvent(NamedTuple):
    """Something that happened: the virtual second, what sort of thing, and which."""

    time: float
    kind: str
    what: str


class Trace:
    """Takes events, keeps the last of them, hashes all, and tells who listens."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._digest = hashlib.blake2b(digest_size=16)
        self.events: deque[TraceEvent] = deque(maxlen=_KEPT)
        self.counts: dict[str, int] = {}
        self.listeners: list[Callable[[TraceEvent], None]] = []

    @property
    def hash(self) -> str:
        """Return the hash of everything so far; equal for equal histories."""
        return self._digest.hexdigest()

    def tell(self, kind: str, what: str) -> None:
        """Note an event and tell every listener at once."""
        event = TraceEvent(self._now(), kind, what)
        self._digest.update(f"{event.time:.9f}|{kind}|{what}\n".encode())
        self.events.append(event)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        for listener in self.listeners:
            listener(event)

    def text(self) -> str:
        """Return the kept events, one a line."""
        return "\n".join(f"{one.time:12.6f} {one.kind:10} {one.what}" for one in self.events)
