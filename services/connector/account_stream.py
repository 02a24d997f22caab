"""Streams of the account and its positions, from the venue's user stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.connector.stream_hub import HubOptions, StreamHub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from opensqt.market_maker.v1 import resources_pb2
    from services.connector.stream_observer import DataObserver
    from services.connector.stream_sources import StreamSources
    from services.connector.venue import Venue


class AccountStreams:
    """The hubs of the account; a reader that is too slow is ended."""

    def __init__(
        self,
        venue: Venue,
        sources: StreamSources,
        options: HubOptions,
        observer: DataObserver | None = None,
    ) -> None:
        self._venue = venue
        clock = venue.clock
        self.account: StreamHub[str, resources_pb2.Account] = StreamHub(
            "account", lambda _: sources.account(), clock, options, observer=observer
        )
        self.positions: StreamHub[str, resources_pb2.Position] = StreamHub(
            "positions", lambda _: sources.positions(), clock, options, observer=observer
        )
        if observer is not None:
            for hub in (self.account, self.positions):
                observer.watch_stream_silence(hub.name, hub.silence_seconds)

    def subscribe_account(
        self,
    ) -> AbstractAsyncContextManager[AsyncIterator[resources_pb2.Account]]:
        """Stream the account: as it is now, and again after each change."""
        return self.account.subscribe("")

    def subscribe_positions(
        self,
    ) -> AbstractAsyncContextManager[AsyncIterator[resources_pb2.Position]]:
        """Stream all positions: snapshot, caught-up row, changes; again after each resume."""
        self._venue.require_perpetual("positions")
        return self.positions.subscribe("")

    async def close(self) -> None:
        """End all subscribers."""
        await self.account.close()
        await self.positions.close()
