"""A stream source over ccxt.pro: `watch_*` calls keep the subscription, a tap brings the rows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from services.common.errors import (
    AuthError,
    NotFoundError,
    OpensqtError,
    RejectedError,
    UnimplementedError,
    UnreachableError,
)
from services.common.logs import get_logger
from services.connector.stream_tap import USED_URLS, event_of
from services.connector.venue_errors import to_read_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Sequence

    from services.connector.stream_tap import MessageTap
    from services.connector.venue import Venue

_logger = get_logger(__name__)

T = TypeVar("T")

_MALFORMED = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError)
_FINAL = (AuthError, NotFoundError, UnimplementedError)


class WatchSource(Generic[T]):
    """Subscribes by `watches`, takes rows from messages by `accept`.

    `accept` gives the rows of one event (none when it is about something else); a malformed event
    is logged and left out. `key` makes rows replace older ones that nobody has taken yet.
    """

    def __init__(
        self,
        venue: Venue,
        tap: MessageTap,
        watches: Sequence[Callable[[], Awaitable[Any]]],
        accept: Callable[[dict[str, Any]], Sequence[T]],
        *,
        key: Callable[[T], Hashable] | None = None,
        owns_connections: bool = True,
    ) -> None:
        self._venue = venue
        self._tap = tap
        self._watches = watches
        self._accept = accept
        self._key = key
        self._owns_connections = owns_connections
        self._rows: dict[Hashable, T] = {}
        self._count = 0
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._urls: set[str] = set()

    @property
    def is_watching(self) -> bool:
        """Whether the subscription has been asked for and has not failed."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    async def receive(self) -> Sequence[T]:
        """Subscribe when not yet subscribed and wait for the next rows; raise what broke it."""
        self._start()
        while not self._rows:
            self._raise_failure()
            self._wake.clear()
            await self._wake.wait()
        rows = list(self._rows.values())
        self._rows.clear()
        return rows

    def break_off(self) -> None:
        """Take the subscription for broken: the venue said so in a message ccxt does not act on."""
        for task in self._tasks:
            task.cancel()

    async def reset(self) -> None:
        """Stop watching, forget what came, and close the connections when they are ours alone."""
        self._tap.remove(self._on_message)
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._owns_connections:
            await self._close_connections()
        self._urls.clear()
        self._rows.clear()

    def _start(self) -> None:
        if self._tasks:
            return
        self._tap.add(self._on_message)
        for watch in self._watches:
            task = asyncio.create_task(self._watch(watch))
            task.add_done_callback(lambda _: self._wake.set())
            self._tasks.append(task)

    async def _watch(self, watch: Callable[[], Awaitable[Any]]) -> None:
        # In the task's own context: each watch notes the connection that is used for it.
        USED_URLS.set(self._urls)
        while True:
            await watch()

    def _raise_failure(self) -> None:
        for task in self._tasks:
            if not task.done():
                continue
            # ccxt cancels what waits on a connection that it closes.
            error = None if task.cancelled() else task.exception()
            if not isinstance(error, Exception):
                raise UnreachableError("the stream was closed", reason="STREAM_DROPPED")
            raise _stream_error(to_read_error(error, self._venue.profile)) from error

    def _on_message(self, client: Any, message: Any) -> None:
        body = event_of(message)
        for event in body if isinstance(body, list) else (body,):
            if not isinstance(event, dict):
                continue
            try:
                rows = self._accept(event)
            except _MALFORMED as error:
                _logger.warning("stream_row_quarantined", error=repr(error), row=str(event)[:120])
                continue
            if rows:
                self._take(rows)

    def _take(self, rows: Sequence[T]) -> None:
        for row in rows:
            self._count += 1
            self._rows[self._count if self._key is None else self._key(row)] = row
        self._wake.set()

    async def _close_connections(self) -> None:
        clients = self._venue.exchange.clients or {}
        for url in self._urls:
            client = clients.pop(url, None)
            if client is not None:
                # Whoever else reads from it resumes by itself.
                await client.close()


class SweepSource(WatchSource[T]):
    """Subscribes by `watches`; each return of one makes `sweep` look at what ccxt keeps."""

    def __init__(
        self,
        venue: Venue,
        tap: MessageTap,
        watches: Sequence[Callable[[], Awaitable[Any]]],
        *,
        key: Callable[[T], Hashable] | None = None,
    ) -> None:
        swept = [self._sweeping(watch) for watch in watches]
        super().__init__(venue, tap, swept, lambda _: (), key=key)

    def sweep(self) -> Sequence[T]:
        """Return the rows that changed since the last look."""
        raise TypeError("each source says where its rows are kept")

    def _sweeping(self, watch: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        async def watch_and_sweep() -> None:
            await watch()
            try:
                rows = self.sweep()
            except _MALFORMED as error:
                _logger.warning("stream_row_quarantined", error=repr(error))
                return
            if rows:
                self._take(rows)

        return watch_and_sweep


def _stream_error(error: Exception) -> Exception:
    """Turn a refusal that a new subscription may overcome into a drop."""
    if isinstance(error, RejectedError) and not isinstance(error, _FINAL):
        return UnreachableError(error.message, reason="STREAM_REFUSED")
    if isinstance(error, OpensqtError):
        return error
    return UnreachableError(f"the stream broke ({type(error).__name__})", reason="STREAM_DROPPED")
