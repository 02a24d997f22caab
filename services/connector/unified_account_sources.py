"""Sources of account and position streams through ccxt.pro: a message wakes, reading tells.

Venues' position messages differ in sign, unit and in what a closed position looks like; the answer
to a read does not. So each message costs one read, and a burst of them one in all.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

from opensqt.market_maker.v1 import resources_pb2
from services.common.errors import UnreachableError
from services.connector.watch_source import WatchSource

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from services.connector.account_reader import AccountReader
    from services.connector.stream_tap import MessageTap
    from services.connector.unified_reads import UnifiedReads

T = TypeVar("T")

_POLL_SECONDS: Final = 0.02
_SUBSCRIBE_SECONDS: Final = 5.0
_QUIET_SECONDS: Final = 30.0
_BURST_SECONDS: Final = 0.1


class ReadingSource(WatchSource[T]):
    """Waits for any message of one watch and reads the state then, and after a long silence."""

    def __init__(
        self, reads: UnifiedReads, tap: MessageTap, watch: Callable[[], Awaitable[Any]]
    ) -> None:
        # The private connection is shared by the streams of this account.
        super().__init__(
            reads.venue, tap, (self._waking(watch),), lambda _: (), owns_connections=False
        )
        self._stirred = asyncio.Event()

    async def receive(self) -> Sequence[T]:
        """Wait for a message, then for the rest of its burst, and read."""
        self._start()
        try:
            # A user stream may die without closing: only reading tells.
            async with asyncio.timeout(_QUIET_SECONDS):
                await self._wait_stirred()
        except TimeoutError:
            return await self.snapshot()
        await asyncio.sleep(_BURST_SECONDS)
        self._stirred.clear()
        return await self.read_changes()

    async def snapshot(self) -> Sequence[T]:
        """Return the state, read when the subscription is live so that no change falls between."""
        await self._wait_subscribed()
        return await self.read_state()

    async def read_state(self) -> Sequence[T]:
        """Return the state as the venue tells it now."""
        raise TypeError("each source says what its state is")

    async def read_changes(self) -> Sequence[T]:
        """Return what changed since the last reading; the whole state unless a source knows."""
        return await self.read_state()

    def _waking(self, watch: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        async def wake() -> None:
            await watch()
            self._stirred.set()
            self._wake.set()

        return wake

    async def _wait_stirred(self) -> None:
        while not self._stirred.is_set():
            self._raise_failure()
            self._wake.clear()
            await self._wake.wait()

    async def _wait_subscribed(self) -> None:
        clock = self._venue.clock
        deadline = clock.monotonic() + _SUBSCRIBE_SECONDS
        while self.is_watching and clock.monotonic() < deadline:
            if self._is_subscribed():
                return
            await asyncio.sleep(_POLL_SECONDS)
        self._raise_failure()
        raise UnreachableError("the user stream could not be subscribed", reason="STREAM_DROPPED")

    def _is_subscribed(self) -> bool:
        # ccxt asks for the channel once the login is through, and waits under its own name then.
        for url in self._urls:
            client = (self._venue.exchange.clients or {}).get(url)
            if client is None or not client.isConnected:
                continue
            waits = [name for name in client.futures if "auth" not in name and "login" not in name]
            if waits and not _logging_in(client):
                return True
        return False


class UnifiedAccountSource(ReadingSource[resources_pb2.Account]):
    """The whole account, read anew after each message about balances."""

    def __init__(self, reads: UnifiedReads, tap: MessageTap, account: AccountReader) -> None:
        self._account = account
        exchange = reads.venue.exchange
        super().__init__(reads, tap, lambda: exchange.watch_balance())

    async def read_state(self) -> Sequence[resources_pb2.Account]:
        """Return the account as the venue tells it now."""
        return [await self._account.account()]


class UnifiedPositionSource(ReadingSource[resources_pb2.Position]):
    """Positions, read after each message about them; a snapshot ends with a caught-up row."""

    def __init__(self, reads: UnifiedReads, tap: MessageTap, account: AccountReader) -> None:
        self._account = account
        self._held: dict[str, resources_pb2.Position] = {}
        exchange = reads.venue.exchange
        # Left to itself ccxt reads them unbidden first, and breaks on numbers that are text.
        exchange.options["watchPositions"] = {
            **(exchange.options.get("watchPositions") or {}),
            "fetchPositionsSnapshot": False,
            "awaitPositionsSnapshot": False,
        }
        super().__init__(reads, tap, lambda: exchange.watch_positions())

    async def read_state(self) -> Sequence[resources_pb2.Position]:
        """Return the open positions and the marker; what is not named is flat."""
        return self._whole(await self._account.positions())

    async def read_changes(self) -> Sequence[resources_pb2.Position]:
        """Return the rows that changed, a size of zero for what is gone."""
        rows = await self._account.positions()
        by_symbol = {row.symbol: row for row in rows}
        if len(by_symbol) < len(rows):
            # Two sides of one symbol: a zero would not say which of them was closed.
            return self._whole(rows)
        before, self._held = self._held, by_symbol
        changed = [row for row in rows if before.get(row.symbol) != row]
        gone = [_closed(symbol) for symbol in before if symbol not in by_symbol]
        return [*changed, *gone]

    def _whole(self, rows: list[resources_pb2.Position]) -> list[resources_pb2.Position]:
        self._held = {row.symbol: row for row in rows}
        found = []
        for row in rows:
            told = resources_pb2.Position()
            told.CopyFrom(row)
            told.snapshot = True
            found.append(told)
        return [*found, resources_pb2.Position(snapshot=True, caught_up=True)]


def _closed(symbol: str) -> resources_pb2.Position:
    row = resources_pb2.Position(symbol=symbol)
    row.size.value = "0"
    return row


def _logging_in(client: Any) -> bool:
    held = client.futures.get("authenticated")
    return held is not None and not held.done()
