"""Publication of positions: the listener of the core that feeds the watch streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opensqt.market_maker.v1 import engine_pb2, stream_pb2
from services.common.time_codec import to_timestamp
from services.common.watch_hub import CaughtUp, Heartbeat, Removed, Upsert, WatchHub
from services.engine.view_codec import position_to_proto

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.common.clock import Clock
    from services.engine.views import PositionView


class PositionFeed:
    """Holds the latest view of every position and streams changes to watchers."""

    def __init__(self, epoch: str, clock: Clock, *, heartbeat_seconds: float = 10.0) -> None:
        self._hub: WatchHub[PositionView] = WatchHub(
            # Every step of a position is told: a watcher that audits must not miss the unwind
            # between two.
            epoch,
            conflate=False,
            heartbeat_seconds=heartbeat_seconds,
        )
        self._clock = clock

    def position_changed(self, view: PositionView) -> None:
        """Publish the position as it is after a change."""
        self._hub.upsert(view.position_id, view)

    @property
    def watcher_count(self) -> int:
        """Streams that are open now."""
        return self._hub.subscriber_count

    def close(self) -> None:
        """End all streams; clients resume elsewhere or later."""
        self._hub.close()

    async def watch(
        self, token: bytes, position_ids: frozenset[str]
    ) -> AsyncIterator[engine_pb2.WatchHedgedPositionsResponse]:
        """Yield encoded events of the wanted positions (all when none is named).

        Raises what `WatchHub.watch` raises.
        """

        def wanted(view: PositionView) -> bool:
            return not position_ids or view.position_id in position_ids

        async for event in self._hub.watch(token, wanted):
            response = self._encode(event)
            if response is not None:
                yield response

    def _encode(
        self, event: Upsert[PositionView] | Removed | CaughtUp | Heartbeat
    ) -> engine_pb2.WatchHedgedPositionsResponse | None:
        response = engine_pb2.WatchHedgedPositionsResponse(resume_token=event.token)
        match event:
            case Upsert():
                response.upsert.CopyFrom(position_to_proto(event.resource))
            case CaughtUp():
                response.caught_up.CopyFrom(stream_pb2.StreamCaughtUp(resource_count=event.count))
            case Heartbeat():
                now = to_timestamp(self._clock.now())
                response.heartbeat.CopyFrom(stream_pb2.StreamHeartbeat(server_time=now))
            case Removed():
                # Positions are never forgotten, and a filter by id never drops one.
                return None
        return response
