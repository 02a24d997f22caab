"""Watch streams: snapshot, caught-up, changes, heartbeats, resume tokens, bounded subscribers.

A hub holds the latest state of each resource and the last changes. A subscriber without a token
gets the snapshot; one with a token gets what changed since. Tokens carry the hub's epoch (a new one
each start) and a sequence number; an old or foreign token is refused and the client starts over.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from services.common.clock import Clock, SystemClock
from services.common.errors import (
    Code,
    InvalidFieldError,
    RejectedError,
    RetryableError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

T = TypeVar("T")

RESUME_TOKEN_EXPIRED = "RESUME_TOKEN_EXPIRED"  # noqa: S105 - the reason of an error, no secret
SUBSCRIBER_TOO_SLOW = "SUBSCRIBER_TOO_SLOW"


@dataclass(frozen=True, slots=True)
class Upsert(Generic[T]):
    """A resource is new or changed."""

    token: bytes
    key: str
    resource: T


@dataclass(frozen=True, slots=True)
class Removed:
    """A resource no longer stands, or no longer fits the subscriber's filter."""

    token: bytes
    key: str


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """The snapshot or the replay is complete; `count` resources were sent."""

    token: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Nothing new; moves the token and proves life."""

    token: bytes


@dataclass(frozen=True, slots=True)
class _Change(Generic[T]):
    sequence: int
    key: str
    resource: T | None


@dataclass(slots=True)
class _Subscriber(Generic[T]):
    """Mutable: the queue of one stream. With `conflate` only the last change of a key is kept."""

    wanted: Callable[[T], bool]
    queue: OrderedDict[tuple[str, int], _Change[T]] = field(default_factory=OrderedDict)
    shown: set[str] = field(default_factory=set)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    too_slow: bool = False
    is_caught_up: bool = False
    behind_since: float | None = None


class WatchHub(Generic[T]):
    """Fans changes of keyed resources out to bounded subscribers.

    With `conflate` a subscriber that lags gets only the last state of each key, so that its queue
    is bounded by the keys there are; without it a queue of `capacity` changes is the bound. Past
    the bound, or once it has been behind for `max_lag_seconds` without a break, its stream ends
    with RESOURCE_EXHAUSTED, reason SUBSCRIBER_TOO_SLOW.
    """

    def __init__(
        self,
        epoch: str,
        *,
        conflate: bool,
        capacity: int = 1024,
        backlog: int = 4096,
        max_subscribers: int = 2048,
        heartbeat_seconds: float = 10.0,
        max_lag_seconds: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._epoch = epoch
        self._conflate = conflate
        self._capacity = capacity
        self._max_subscribers = max_subscribers
        self._heartbeat_seconds = heartbeat_seconds
        self._max_lag_seconds = max_lag_seconds
        self._clock = clock or SystemClock()
        self._sequence = 0
        self._latest: dict[str, T] = {}
        self._backlog: deque[_Change[T]] = deque(maxlen=backlog)
        self._subscribers: dict[int, _Subscriber[T]] = {}
        self._next_subscriber = 0
        self._closed = False

    @property
    def subscriber_count(self) -> int:
        """Streams that are open now."""
        return len(self._subscribers)

    def latest(self) -> tuple[T, ...]:
        """Return the latest state of every resource, in the order they first came."""
        return tuple(self._latest.values())

    def upsert(self, key: str, resource: T) -> None:
        """Publish the new state of a resource."""
        self._latest[key] = resource
        self._publish(key, resource)

    def remove(self, key: str) -> None:
        """Publish that a resource no longer stands; nothing happens when it is not known."""
        if self._latest.pop(key, None) is not None:
            self._publish(key, None)

    def close(self) -> None:
        """End every stream with UNAVAILABLE; clients resume at the next server."""
        self._closed = True
        for subscriber in self._subscribers.values():
            subscriber.wake.set()

    def _publish(self, key: str, resource: T | None) -> None:
        self._sequence += 1
        change = _Change(self._sequence, key, resource)
        self._backlog.append(change)
        now = self._clock.monotonic()
        for subscriber in self._subscribers.values():
            self._offer(subscriber, change, now)

    def _offer(self, subscriber: _Subscriber[T], change: _Change[T], now: float) -> None:
        slot = (change.key, 0 if self._conflate else change.sequence)
        if self._is_too_slow(subscriber, now):
            subscriber.too_slow = True
            # Nothing is kept for whoever is ended, even if it takes long to notice.
            subscriber.queue.clear()
        elif self._conflate and self._is_beside_the_point(subscriber, change):
            subscriber.queue.pop(slot, None)
        else:
            subscriber.queue[slot] = change
            subscriber.queue.move_to_end(slot)
            if subscriber.behind_since is None:
                subscriber.behind_since = now
        subscriber.wake.set()

    def _is_too_slow(self, subscriber: _Subscriber[T], now: float) -> bool:
        if not self._conflate and len(subscriber.queue) >= self._capacity:
            return True
        # A snapshot is as long as it is: only what comes after it can be lagged behind.
        if self._max_lag_seconds is None or not subscriber.is_caught_up:
            return False
        since = subscriber.behind_since
        return since is not None and now - since > self._max_lag_seconds

    def _is_beside_the_point(self, subscriber: _Subscriber[T], change: _Change[T]) -> bool:
        """Tell whether this is the end of a resource the subscriber was never shown."""
        return (
            change.resource is None
            and subscriber.is_caught_up
            and change.key not in subscriber.shown
        )

    def _token(self, sequence: int) -> bytes:
        return f"{self._epoch}:{sequence}".encode()

    def _since(self, token: bytes) -> int:
        try:
            epoch, _, number = token.decode("ascii").rpartition(":")
            sequence = int(number) if number.isdecimal() else -1
        # Not ASCII, or thousands of digits: both are kinds of ValueError.
        except ValueError:
            raise InvalidFieldError("resume_token", "is not a token of this service") from None
        if sequence < 0:
            raise InvalidFieldError("resume_token", "is not a token of this service")
        oldest = self._sequence - len(self._backlog)
        if epoch != self._epoch or not oldest <= sequence <= self._sequence:
            raise RejectedError(
                "the resume token is too old or from another start; watch again without a token",
                reason=RESUME_TOKEN_EXPIRED,
                code=Code.OUT_OF_RANGE,
            )
        return sequence

    async def watch(
        self, token: bytes, wanted: Callable[[T], bool]
    ) -> AsyncIterator[Upsert[T] | Removed | CaughtUp | Heartbeat]:
        """Yield events to one subscriber until it goes, lags too far, or the hub closes.

        Raises RejectedError RESUME_TOKEN_EXPIRED (OUT_OF_RANGE) for an old token, RetryableError
        for too many subscribers or one that is too slow, UnreachableError when the hub closes.
        """
        if len(self._subscribers) >= self._max_subscribers:
            raise RetryableError("too many subscribers", reason="SUBSCRIBER_LIMIT_REACHED")
        first = self._first_changes(token)
        # Whoever resumes may hold any of these from before, and must hear when one is gone.
        held = set(self._latest) if token else set[str]()
        subscriber = _Subscriber(wanted, shown=held)
        self._next_subscriber += 1
        name = self._next_subscriber
        self._subscribers[name] = subscriber
        # What the subscriber has not handled when it breaks off must come again with its token.
        sequence = self._sequence
        try:
            async for event in self._run(subscriber, first, sequence, replay=bool(token)):
                yield event
        finally:
            del self._subscribers[name]

    def _first_changes(self, token: bytes) -> list[_Change[T]]:
        if token:
            since = self._since(token)
            return [change for change in self._backlog if change.sequence > since]
        return [_Change(0, key, resource) for key, resource in self._latest.items()]

    async def _run(
        self, subscriber: _Subscriber[T], first: list[_Change[T]], sequence: int, *, replay: bool
    ) -> AsyncIterator[Upsert[T] | Removed | CaughtUp | Heartbeat]:
        count = 0
        for change in first:
            # A snapshot cut short cannot be resumed: an empty token means "from the start".
            place = self._token(change.sequence) if replay else b""
            event = self._event(subscriber, change, place, removal_known=replay)
            if event is not None:
                count += 1
                yield event
        yield CaughtUp(self._token(sequence), count)
        subscriber.is_caught_up = True
        subscriber.behind_since = self._clock.monotonic() if subscriber.queue else None
        while True:
            while subscriber.queue and not subscriber.too_slow:
                _, change = subscriber.queue.popitem(last=False)
                sequence = max(sequence, change.sequence)
                place = self._token(self._handled(subscriber, sequence))
                event = self._event(subscriber, change, place, removal_known=False)
                if event is not None:
                    yield event
            subscriber.behind_since = None
            self._raise_if_ended(subscriber)
            if await self._wait(subscriber):
                sequence = max(sequence, self._handled(subscriber, self._sequence))
                yield Heartbeat(self._token(sequence))

    def _handled(self, subscriber: _Subscriber[T], sequence: int) -> int:
        """Return the newest sequence with nothing older still queued."""
        # A change always goes to the end of the queue, so the first one is the oldest.
        oldest_waiting = next(iter(subscriber.queue.values()), None)
        return sequence if oldest_waiting is None else min(sequence, oldest_waiting.sequence - 1)

    def _event(
        self, subscriber: _Subscriber[T], change: _Change[T], token: bytes, *, removal_known: bool
    ) -> Upsert[T] | Removed | None:
        if change.resource is not None and subscriber.wanted(change.resource):
            subscriber.shown.add(change.key)
            return Upsert(token, change.key, change.resource)
        if change.key in subscriber.shown or removal_known:
            subscriber.shown.discard(change.key)
            return Removed(token, change.key)
        return None

    def _raise_if_ended(self, subscriber: _Subscriber[T]) -> None:
        if subscriber.too_slow:
            raise RetryableError(
                "the subscriber did not keep up; watch again with the last token",
                reason=SUBSCRIBER_TOO_SLOW,
                code=Code.RESOURCE_EXHAUSTED,
            )
        if self._closed:
            raise UnreachableError("the service is shutting down", reason="SHUTTING_DOWN")

    async def _wait(self, subscriber: _Subscriber[T]) -> bool:
        """Wait for something to do; True when a heartbeat is due instead."""
        subscriber.wake.clear()
        if subscriber.queue or subscriber.too_slow or self._closed:
            return False
        try:
            async with asyncio.timeout(self._heartbeat_seconds):
                await subscriber.wake.wait()
        except TimeoutError:
            return True
        return False
