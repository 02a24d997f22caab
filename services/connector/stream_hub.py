"""One upstream stream per key, shared by any number of subscribers.

The hub starts a source with its first subscriber and stops it with its last. Each subscriber first
gets a snapshot, then the changes. After a drop the hub resumes with backoff and sends every
subscriber a fresh snapshot, so nothing that happened meanwhile is silently missed. A row may come
twice (once in a snapshot, once as a change): rows carry whole states, so the last one stands.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from services.common.errors import (
    Code,
    OpensqtError,
    RejectedError,
    RetryableError,
    UnreachableError,
)
from services.common.logs import get_logger
from services.common.ordered_set import OrderedSet
from services.connector.stream_queue import Subscriber

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable, Sequence

    from services.common.clock import Clock

_logger = get_logger(__name__)
_RANDOM = random.SystemRandom()

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
K = TypeVar("K", bound="Hashable")


class StreamSource(Protocol[T_co]):
    """An upstream subscription. Errors are of the tree in `services.common.errors`.

    A RejectedError (no such symbol, not supported, key refused) ends the subscribers; anything that
    may pass (RetryableError and its branches) is a drop, after which the hub resumes.
    """

    async def receive(self) -> Sequence[T_co]:
        """Subscribe when not yet subscribed and wait for the next changes."""
        ...

    async def snapshot(self) -> Sequence[T_co]:
        """Return the whole state now; called while `receive` is already waiting.

        A kind of row that has a caught-up marker ends its snapshot with it.
        """
        ...

    async def reset(self) -> None:
        """Forget the broken subscription, so that the next `receive` makes a new one."""
        ...


@dataclass(frozen=True, slots=True)
class HubOptions:
    """Bounds of a hub: rows a subscriber may lag behind, backoff, silence taken for a drop.

    `poll_seconds`: how often that is read which a venue does not stream.
    """

    queue_limit: int = 10_000
    first_backoff_seconds: float = 0.2
    max_backoff_seconds: float = 15.0
    idle_seconds: float = 60.0
    poll_seconds: float = 10.0


# Not frozen: counted in place, by the hub alone.
@dataclass(slots=True)
class HubStats:
    """Counters of a hub since its start."""

    drops: int = 0
    resumes: int = 0
    slow_subscribers: int = 0


class StreamObserver(Protocol):
    """Who counts what happens to streams."""

    def count_stream_event(self, stream: str, event: str) -> None:
        """Count a `drop`, a `resume` or a `slow_subscriber` of the stream of that name."""
        ...


# Not frozen: `live` and `heard_at` follow the source, and readers come and go.
@dataclass(slots=True, eq=False)
class _Channel(Generic[T]):
    """A running source with its subscribers."""

    source: StreamSource[T]
    subscribers: OrderedSet[Subscriber[T]] = field(default_factory=OrderedSet)
    task: asyncio.Task[None] | None = None
    live: bool = False
    heard_at: float = 0.0


class StreamHub(Generic[K, T]):
    """Fan-out of sources by key, made on demand by `make_source`.

    With `key`, a reader that is behind gets the newest row per key instead of all of them: right
    for prices, wrong for anything that must not be missed.
    """

    def __init__(
        self,
        name: str,
        make_source: Callable[[K], StreamSource[T]],
        clock: Clock,
        options: HubOptions | None = None,
        *,
        key: Callable[[T], Hashable] | None = None,
        observer: StreamObserver | None = None,
        jitter: Callable[[], float] = _RANDOM.random,
    ) -> None:
        self._name = name
        self._make_source = make_source
        self._clock = clock
        self._options = options or HubOptions()
        self._jitter = jitter
        self._key = key
        self._observer = observer
        self._channels: dict[K, _Channel[T]] = {}
        self.stats = HubStats()

    @property
    def keys(self) -> tuple[K, ...]:
        """Keys whose source is running."""
        return tuple(self._channels)

    @property
    def name(self) -> str:
        """What the stream is called in metrics and logs."""
        return self._name

    def silence_seconds(self) -> float:
        """Return how long the quietest running source has brought no rows; 0 when none runs."""
        # A copy: the exporter asks from a thread of its own.
        heard = [channel.heard_at for channel in tuple(self._channels.values())]
        return self._clock.monotonic() - min(heard) if heard else 0.0

    @asynccontextmanager
    async def subscribe(self, key: K) -> AsyncIterator[AsyncIterator[T]]:
        """Yield the rows of `key`: snapshot, changes, and a snapshot again after each resume.

        The iterator raises RetryableError with reason SUBSCRIBER_TOO_SLOW when the reader falls
        more than `queue_limit` rows behind, UnreachableError with STREAM_CLOSED at shutdown, and
        what the source raised when that cannot pass.
        """
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = _Channel(self._make_source(key))
            channel.heard_at = self._clock.monotonic()
            # A context of its own: the first subscriber's deadline must not bound the others.
            channel.task = asyncio.create_task(
                self._run(key, channel), name=f"stream {self._name} {key}", context=Context()
            )
        subscriber: Subscriber[T] = Subscriber(self._options.queue_limit, self._key)
        channel.subscribers.add(subscriber)
        try:
            # Before the first session is live its own snapshot is on the way to this reader too.
            if channel.live:
                subscriber.hold()
                subscriber.release(await channel.source.snapshot())
            yield subscriber.rows()
        finally:
            channel.subscribers.discard(subscriber)
            if not channel.subscribers:
                await self._stop(key, channel)

    async def close(self) -> None:
        """End every subscriber with UnreachableError (STREAM_CLOSED) and stop every source."""
        for key, channel in list(self._channels.items()):
            self._end_all(
                channel, UnreachableError("the service is stopping", reason="STREAM_CLOSED")
            )
            await self._stop(key, channel)

    async def _stop(self, key: K, channel: _Channel[T]) -> None:
        if self._channels.get(key) is channel:
            del self._channels[key]
        task, channel.task = channel.task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _end_all(self, channel: _Channel[T], error: Exception) -> None:
        for subscriber in channel.subscribers:
            subscriber.end(error)

    def _publish(self, channel: _Channel[T], rows: Sequence[T]) -> None:
        channel.heard_at = self._clock.monotonic()
        for subscriber in channel.subscribers:
            if not subscriber.offer(rows):
                self.stats.slow_subscribers += 1
                self._note("slow_subscriber")
                subscriber.end(
                    RetryableError(
                        f"more than {self._options.queue_limit} rows behind; read faster",
                        reason="SUBSCRIBER_TOO_SLOW",
                        code=Code.RESOURCE_EXHAUSTED,
                    )
                )

    async def _run(self, key: K, channel: _Channel[T]) -> None:
        failures = 0
        try:
            while True:
                error = await self._session(channel)
                if not isinstance(error, OpensqtError) or isinstance(error, RejectedError):
                    self._give_up(key, channel, error)
                    return
                failures = 0 if channel.live else failures + 1
                channel.live = False
                self.stats.drops += 1
                self._note("drop")
                _logger.warning(
                    "stream_dropped", stream=self._name, key=str(key), reason=error.reason
                )
                await self._clock.sleep(self._backoff(failures, error))
                await channel.source.reset()
                self.stats.resumes += 1
                self._note("resume")
        finally:
            await channel.source.reset()

    def _note(self, event: str) -> None:
        if self._observer is not None:
            self._observer.count_stream_event(self._name, event)

    def _give_up(self, key: K, channel: _Channel[T], error: Exception) -> None:
        _logger.error("stream_ended", stream=self._name, key=str(key), error=repr(error))
        # A later subscriber starts anew: what was refused now may be allowed then.
        if self._channels.get(key) is channel:
            del self._channels[key]
        self._end_all(channel, error)

    async def _session(self, channel: _Channel[T]) -> Exception:
        """Subscribe, send a snapshot, pass on changes until something breaks; return what broke."""
        # The subscription is made before the snapshot is read: nothing falls between the two.
        receiving = asyncio.create_task(self._receive(channel.source))
        try:
            await asyncio.sleep(0)
            self._publish(channel, await channel.source.snapshot())
            channel.live = True
            self._publish(channel, await receiving)
            while True:
                self._publish(channel, await self._receive(channel.source))
        except Exception as error:
            return error
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)

    async def _receive(self, source: StreamSource[T]) -> Sequence[T]:
        try:
            async with asyncio.timeout(self._options.idle_seconds):
                return await source.receive()
        except TimeoutError:
            raise UnreachableError("the stream is silent", reason="STREAM_SILENT") from None

    def _backoff(self, failures: int, error: OpensqtError) -> float:
        """Return seconds to wait: doubling, with jitter, never less than the venue asked for."""
        doubled = self._options.first_backoff_seconds * float(2 ** min(failures, 16))
        wait = min(doubled, self._options.max_backoff_seconds) * (0.5 + 0.5 * self._jitter())
        if isinstance(error, RetryableError) and error.retry_after is not None:
            return max(wait, error.retry_after.total_seconds())
        return wait
