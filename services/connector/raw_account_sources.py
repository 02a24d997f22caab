"""Sources of account and position streams from the venue's own events: Binance's user stream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

from opensqt.market_maker.v1 import resources_pb2
from services.common.errors import UnreachableError
from services.connector.account_mapping import to_positions_of_event
from services.connector.watch_source import WatchSource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.connector.account_mapping import SymbolConfig
    from services.connector.account_reader import AccountReader
    from services.connector.stream_tap import MessageTap
    from services.connector.venue_reads import VenueReads

T = TypeVar("T")

_ACCOUNT_EVENTS: Final = frozenset(
    {"ACCOUNT_UPDATE", "ACCOUNT_CONFIG_UPDATE", "outboundAccountPosition", "balanceUpdate"}
)
_EXPIRED: Final = frozenset({"listenKeyExpired", "eventStreamTerminated"})
_POLL_SECONDS: Final = 0.02
_SUBSCRIBE_SECONDS: Final = 5.0
_QUIET_SECONDS: Final = 30.0
# Fills come in bursts, and each names the account anew: one read serves those of a burst.
_BURST_SECONDS: Final = 0.1

_REREAD: Final = resources_pb2.Position(snapshot=True)


class UserSource(WatchSource[T]):
    """What sources of the user stream share: its connection is not theirs, and silence is normal.

    When nothing came for half a minute the state is read again: a stream that died without a word
    costs that much and no more.
    """

    waits_for: str

    async def receive(self) -> Sequence[T]:
        """Wait for the next rows; after a long silence return the state as read."""
        try:
            # A user stream may die without closing (an ended listen key): only reading tells.
            async with asyncio.timeout(_QUIET_SECONDS):
                return await super().receive()
        except TimeoutError:
            return await self.snapshot()

    async def snapshot(self) -> Sequence[T]:
        """Return the state, read when the subscription is live so that no change falls between."""
        await self._wait_subscribed()
        return await self.read_state()

    async def read_state(self) -> Sequence[T]:
        """Return the state as the venue tells it now."""
        raise TypeError("each source says what its state is")

    def break_off(self) -> None:
        """Take the subscription for broken and have a listen key asked for anew."""
        # ccxt keeps a key until its own refresh is due, and says nothing when the venue ends it.
        key = self._venue.exchange.options.get("linear")
        if isinstance(key, dict) and "lastAuthenticatedTime" in key:
            key["lastAuthenticatedTime"] = 0
        super().break_off()

    async def _wait_subscribed(self) -> None:
        exchange = self._venue.exchange
        deadline = self._venue.clock.monotonic() + _SUBSCRIBE_SECONDS
        while self.is_watching and self._venue.clock.monotonic() < deadline:
            for client in (exchange.clients or {}).values():
                waits = any(name.endswith(self.waits_for) for name in client.futures)
                if waits and client.isConnected:
                    return
            await asyncio.sleep(_POLL_SECONDS)
        self._raise_failure()
        raise UnreachableError("the user stream could not be subscribed", reason="STREAM_DROPPED")


class AccountSource(UserSource[resources_pb2.Account]):
    """The whole account, read anew after each event about a balance or a position."""

    waits_for = ":balance"

    def __init__(self, reads: VenueReads, tap: MessageTap, account: AccountReader) -> None:
        self._account = account
        venue = reads.venue
        super().__init__(
            venue,
            tap,
            (lambda: venue.exchange.watch_balance(),),
            self._on_event,
            key=lambda _: "account",
            owns_connections=False,
        )

    async def receive(self) -> Sequence[resources_pb2.Account]:
        """Wait for an event, then for the rest of its burst, and read the account."""
        await super().receive()
        await asyncio.sleep(_BURST_SECONDS)
        self._rows.clear()
        return await self.read_state()

    async def read_state(self) -> Sequence[resources_pb2.Account]:
        """Return the account as the venue tells it now."""
        return [await self._account.account()]

    def _on_event(self, event: dict[str, Any]) -> list[resources_pb2.Account]:
        if event.get("e") in _EXPIRED:
            self.break_off()
        return [resources_pb2.Account()] if event.get("e") in _ACCOUNT_EVENTS else []


class PositionSource(UserSource[resources_pb2.Position]):
    """Positions as ACCOUNT_UPDATE events name them; a snapshot ends with a caught-up row."""

    waits_for = ":positions"

    def __init__(self, reads: VenueReads, tap: MessageTap, account: AccountReader) -> None:
        self._account = account
        self._book = reads.venue.instruments
        self._configs: Mapping[str, SymbolConfig] = {}
        venue = reads.venue
        super().__init__(
            venue,
            tap,
            (lambda: venue.exchange.watch_positions(),),
            self._on_event,
            owns_connections=False,
        )

    async def read_state(self) -> Sequence[resources_pb2.Position]:
        """Return the open positions and the marker; what is not named is flat."""
        self._configs = await self._account.symbol_configs()
        rows = await self._account.positions()
        for row in rows:
            row.snapshot = True
        return [*rows, resources_pb2.Position(snapshot=True, caught_up=True)]

    async def receive(self) -> Sequence[resources_pb2.Position]:
        """Wait for the next rows; in hedge mode an event makes all positions be read."""
        rows = await super().receive()
        return await self.read_state() if _REREAD in rows else rows

    def _on_event(self, event: dict[str, Any]) -> list[resources_pb2.Position]:
        if event.get("e") in _EXPIRED:
            self.break_off()
        if event.get("e") != "ACCOUNT_UPDATE":
            return []
        if any(row.get("ps") in ("LONG", "SHORT") for row in event["a"].get("P", ())):
            # A row has no side but its sign: a zero would not say which of the two was closed.
            return [_REREAD]
        return to_positions_of_event(event, self._book, self._configs)
