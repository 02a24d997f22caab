"""The order stream as a source for the hub: changes as they come, live orders as the snapshot."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from opensqt.market_maker.v1 import events_pb2
from services.common.errors import PreconditionError, UnreachableError
from services.connector.order_codec import encode_update

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.connector.order_reader import OrderReader
    from services.connector.order_stream import OrderStream
    from services.connector.venue import Venue

_LIVE_SECONDS: Final = 10.0


class OrderSource:
    """Passes on what the stream says and breaks when it does; the hub then sends a snapshot.

    The snapshot after a drop begins with what was missed: the updates that the gap was found to
    hold, fills with their trades, before the live orders.
    """

    def __init__(self, venue: Venue, stream: OrderStream, reader: OrderReader) -> None:
        self._venue = venue
        self._stream = stream
        self._reader = reader
        self._position = stream.log.position
        self._epoch: int | None = None
        self._resumed = asyncio.Event()
        self._resumed.set()

    async def receive(self) -> Sequence[events_pb2.OrderUpdate]:
        """Wait for the next updates; raise UnreachableError when the stream is down or drops."""
        # After a drop the changes wait for the snapshot, which tells what was missed.
        await self._resumed.wait()
        if self._epoch is None:
            await self._stream.wait_whole(_LIVE_SECONDS)
            self._epoch = self._stream.epoch
        while True:
            # What came before the drop goes out first: a snapshot names no order that has closed.
            found = self._take()
            if found:
                return found
            if self._stream.epoch != self._epoch:
                raise UnreachableError("the order stream dropped", reason="STREAM_DROPPED")
            await self._stream.log.wait()

    async def snapshot(self) -> Sequence[events_pb2.OrderUpdate]:
        """Return what was missed, all live orders, and the marker that ends the snapshot."""
        await self._stream.wait_whole(_LIVE_SECONDS)
        position = self._position
        missed: Sequence[events_pb2.OrderUpdate] = ()
        if not self._resumed.is_set():
            missed = self._take()
            self._epoch = self._stream.epoch
        try:
            found = await self._reader.open_orders(None, use_margin=False)
        except BaseException:
            # What was missed is still to be told.
            self._position = position
            raise
        self._resumed.set()
        rows = [
            encode_update(state, instrument, self._venue.name, snapshot=True)
            for state, instrument in found
        ]
        marker = events_pb2.OrderUpdate(exchange=self._venue.name, caught_up=True)
        return [*missed, *rows, marker]

    async def reset(self) -> None:
        """Keep the place, so that the next snapshot tells what came between."""
        self._resumed.clear()

    def _take(self) -> Sequence[events_pb2.OrderUpdate]:
        found = self._stream.log.since(self._position)
        self._position = self._stream.log.position
        if found is None:
            # The hub takes rows at once; if it does not, its readers must not believe all is told.
            raise PreconditionError("the order stream overflowed", reason="STREAM_DROPPED")
        return found
