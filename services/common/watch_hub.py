"""Watch streams: snapshot, caught-up, changes, heartbeats, resume tokens, bounded subscribers.

A hub holds the latest state of each resource and a log of the last changes. A subscriber without a
token gets the snapshot; one with a token gets what changed since. Tokens carry the hub's epoch (a
new one each start) and a sequence number; an old or foreign token is refused and the client starts
over. A subscriber is a place in the log: a change costs the same for one as for a thousand.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from dataclasses import dataclass
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
    """Mutable: how far one stream is, and `first` where the log was when it came. `behind_since` is
    when it last had nothing left to read.
    """

    wanted: Callable[[T], bool]
    place: int
    shown: set[str]
    behind_since: float
    first: int


class WatchHub(Generic[T]):
    """Fans changes of keyed resources out to bounded subscribers.

    The log holds `backlog` changes, with `conflate` the last one of each key only. A subscriber
    that lags gets what is in the log; without `conflate` it may lag by `capacity` changes. Past the
    bound, or once it has been behind for `max_lag_seconds` without a break, its stream ends with
    RESOURCE_EXHAUSTED, reason SUBSCRIBER_TOO_SLOW.
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
        self._backlog = backlog
        self._max_lag = min(capacity, backlog)
        self._max_subscribers = max_subscribers
        self._heartbeat_seconds = heartbeat_seconds
        self._max_lag_seconds = max_lag_seconds
        self._clock = clock or SystemClock()
        self._sequence = 0
        self._latest: dict[str, T] = {}
        self._log: list[_Change[T]] = []
        self._sequences: list[int] = []
        self._lost = 0
        self._newest: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._subscriber_count = 0
        self._closed = False

    @property
    def subscriber_count(self) -> int:
        """Streams that are open now."""
        return self._subscriber_count

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
        self._wake_all()

    def _publish(self, key: str, resource: T | None) -> None:
        self._sequence += 1
        self._log.append(_Change(self._sequence, key, resource))
        self._sequences.append(self._sequence)
        self._newest[key] = self._sequence
        # At twice its length, so that shortening costs little for each change.
        if len(self._log) >= 2 * self._backlog:
            self._shorten()
        self._wake_all()

    def _shorten(self) -> None:
        kept = [each for each in self._log if not self._is_replaced(each)]
        self._log = kept[-self._backlog :]
        if len(kept) > self._backlog:
            self._lost = kept[-self._backlog - 1].sequence
        self._sequences = [each.sequence for each in self._log]
        self._newest = {each.key: each.sequence for each in self._log}

    def _is_replaced(self, change: _Change[T]) -> bool:
        """Tell whether a newer state of the same key comes later in the log and is all to tell."""
        return self._conflate and self._newest[change.key] != change.sequence

    def _wake_all(self) -> None:
        # A new event for whoever waits next: of many changes at once the first alone wakes anybody.
        self._changed.set()
        self._changed = asyncio.Event()

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
        oldest = self._lost if self._conflate else max(0, self._sequence - self._backlog)
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
        if self._subscriber_count >= self._max_subscribers:
            raise RetryableError("too many subscribers", reason="SUBSCRIBER_LIMIT_REACHED")
        place = self._since(token) if token else self._sequence
        # Whoever resumes may hold any of these from before, and must hear when one is gone.
        held = set(self._latest) if token else set[str]()
        subscriber = _Subscriber(wanted, place, held, self._clock.monotonic(), self._sequence)
        self._subscriber_count += 1
        try:
            first = self._replay if token else self._snapshot
            async for event in first(subscriber, self._sequence):
                yield event
            async for news in self._follow(subscriber):
                yield news
        finally:
            self._subscriber_count -= 1

    async def _snapshot(
        self, subscriber: _Subscriber[T], head: int
    ) -> AsyncIterator[Upsert[T] | Removed | CaughtUp]:
        count = 0
        for key, resource in list(self._latest.items()):
            # A snapshot cut short cannot be resumed: an empty token means "from the start".
            event = self._event(subscriber, _Change(0, key, resource), b"", removal_known=False)
            if event is not None:
                count += 1
                yield event
        yield CaughtUp(self._token(head), count)

    async def _replay(
        self, subscriber: _Subscriber[T], head: int
    ) -> AsyncIterator[Upsert[T] | Removed | CaughtUp]:
        count = 0
        while (event := self._next(subscriber, head, removal_known=True)) is not None:
            count += 1
            yield event
        yield CaughtUp(self._token(head), count)

    async def _follow(
        self, subscriber: _Subscriber[T]
    ) -> AsyncIterator[Upsert[T] | Removed | Heartbeat]:
        # A snapshot is as long as it is: only what comes after it can be lagged behind.
        subscriber.behind_since = self._clock.monotonic()
        while True:
            while (
                event := self._next(subscriber, self._sequence, removal_known=False)
            ) is not None:
                yield event
            if self._closed:
                raise UnreachableError("the service is shutting down", reason="SHUTTING_DOWN")
            if await self._is_quiet(subscriber):
                yield Heartbeat(self._token(subscriber.place))

    def _next(
        self, subscriber: _Subscriber[T], head: int, *, removal_known: bool
    ) -> Upsert[T] | Removed | None:
        """Return the next event up to `head` and move the subscriber past it; None at the head."""
        while subscriber.place < head:
            self._raise_if_too_slow(subscriber)
            change = self._log[bisect_right(self._sequences, subscriber.place)]
            if change.sequence > head:
                break
            subscriber.place = change.sequence
            if self._is_replaced(change):
                continue
            token = self._token(change.sequence)
            event = self._event(subscriber, change, token, removal_known=removal_known)
            if event is not None:
                return event
        return None

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

    def _raise_if_too_slow(self, subscriber: _Subscriber[T]) -> None:
        is_late = self._max_lag_seconds is not None and (
            self._clock.monotonic() - subscriber.behind_since > self._max_lag_seconds
        )
        # What stood before the subscriber came is as long as it is.
        lag = self._sequence - max(subscriber.place, subscriber.first)
        is_far = not self._conflate and lag > self._max_lag
        if is_late or is_far or subscriber.place < self._lost:
            raise RetryableError(
                "the subscriber did not keep up; watch again with the last token",
                reason=SUBSCRIBER_TOO_SLOW,
                code=Code.RESOURCE_EXHAUSTED,
            )

    async def _is_quiet(self, subscriber: _Subscriber[T]) -> bool:
        """Wait for something to do; True when a heartbeat is due instead."""
        if subscriber.place == self._sequence and not self._closed:
            try:
                async with asyncio.timeout(self._heartbeat_seconds):
                    await self._changed.wait()
            except TimeoutError:
                return True
            finally:
                subscriber.behind_since = self._clock.monotonic()
        return False
