"""The order stream as a source for the hub: changes as they come, live orders as the snapshot."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from opensqt.market_maker.v1 import events_pb2
from services.common.errors import OpensqtError, UnreachableError
from services.connector.order_codec import encode_update

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.connector.order_reader import OrderReader
    from services.connector.order_stream import OrderStream
    from services.connector.venue import Venue

_LIVE_SECONDS: Final = 10.0
_QUEUE_LIMIT: Final = 50_000


class OrderSource:
    """Passes on what the stream says and breaks when it does; the hub then sends a snapshot."""

    def __init__(self, venue: Venue, stream: OrderStream, reader: OrderReader) -> None:
        self._venue = venue
        self._stream = stream
        self._reader = reader
        self._rows: asyncio.Queue[events_pb2.OrderUpdate | OpensqtError] = asyncio.Queue()
        self._failure: OpensqtError | None = None

    async def receive(self) -> Sequence[events_pb2.OrderUpdate]:
        """Wait for the next updates; raise UnreachableError when the stream is down or drops."""
        self._stream.listeners.add(self._listen)
        if self._failure is None and self._rows.empty():
            await self._stream.wait_live(_LIVE_SECONDS)
        found: list[events_pb2.OrderUpdate] = []
        while self._failure is None and (not found or not self._rows.empty()):
            row = await self._rows.get()
            if isinstance(row, OpensqtError):
                self._failure = row
            else:
                found.append(row)
        # What came before the drop goes out first: a snapshot names no order that has closed.
        if found:
            return found
        message = "" if self._failure is None else self._failure.message
        raise UnreachableError(message, reason="STREAM_DROPPED")

    async def snapshot(self) -> Sequence[events_pb2.OrderUpdate]:
        """Return all live orders and the marker that ends the snapshot."""
        await self._stream.wait_live(_LIVE_SECONDS)
        found = await self._reader.open_orders(None, use_margin=False)
        rows = [
            encode_update(state, instrument, self._venue.name, snapshot=True)
            for state, instrument in found
        ]
        marker = events_pb2.OrderUpdate(exchange=self._venue.name, caught_up=True)
        return [*rows, marker]

    async def reset(self) -> None:
        """Stop listening and forget what was not taken."""
        self._stream.listeners.discard(self._listen)
        self._rows = asyncio.Queue()
        self._failure = None

    def _listen(self, row: events_pb2.OrderUpdate | OpensqtError) -> None:
        if self._rows.qsize() >= _QUEUE_LIMIT:
            # The hub takes rows at once; if it does not, a resume with a snapshot loses nothing.
            row = UnreachableError("the order stream overflowed", reason="STREAM_DROPPED")
        self._rows.put_nowait(row)
