"""A scanner on a real server whose opportunities a test publishes, with the real watch protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from opensqt.market_maker.v1 import opportunity_pb2, scanner_pb2, scanner_pb2_grpc, stream_pb2
from services.common.metrics import ServiceMetrics
from services.common.server import GrpcServer
from services.common.settings import ServerSettings
from services.common.watch_hub import CaughtUp, Removed, Upsert, WatchHub

# The stubs call every method abstract; what a test does not use stays unimplemented.
_Servicer: Any = scanner_pb2_grpc.ScannerServiceServicer


class FakeScanner(_Servicer):  # type: ignore[misc]  # its base is Any for the reason above
    """Streams what the test publishes; mutable.

    `requests` keeps what was asked. With `mute` set a new stream sends nothing at all.
    """

    def __init__(self, epoch: str = "epoch-1", *, heartbeat_seconds: float = 10.0) -> None:
        self.heartbeat_seconds = heartbeat_seconds
        self.requests: list[scanner_pb2.WatchOpportunitiesRequest] = []
        self.mute = False
        self.restart(epoch)

    def restart(self, epoch: str) -> None:
        """Forget everything: tokens of the former epoch are refused from here on."""
        self.hub: WatchHub[opportunity_pb2.Opportunity] = WatchHub(
            epoch, conflate=True, heartbeat_seconds=self.heartbeat_seconds
        )

    def publish(self, *rows: opportunity_pb2.Opportunity) -> None:
        """Publish opportunities, new or changed."""
        for row in rows:
            self.hub.upsert(row.opportunity_id, row)

    async def WatchOpportunities(  # noqa: N802 - the contract's name
        self, request: scanner_pb2.WatchOpportunitiesRequest, context: Any
    ) -> AsyncIterator[scanner_pb2.WatchOpportunitiesResponse]:
        """Stream the hub."""
        self.requests.append(request)
        async for event in self.hub.watch(request.resume_token, lambda _: True):
            if not self.mute:
                yield _encoded(event)


def _encoded(event: Any) -> scanner_pb2.WatchOpportunitiesResponse:
    response = scanner_pb2.WatchOpportunitiesResponse(resume_token=event.token)
    match event:
        case Upsert():
            response.upsert.CopyFrom(event.resource)
        case Removed():
            response.removed_opportunity_id = event.key
        case CaughtUp():
            response.caught_up.CopyFrom(stream_pb2.StreamCaughtUp(resource_count=event.count))
        case _:
            response.heartbeat.CopyFrom(stream_pb2.StreamHeartbeat())
    return response


@asynccontextmanager
async def served_scanner(scanner: FakeScanner) -> AsyncIterator[str]:
    """Serve it; yields the address."""
    server = GrpcServer(ServerSettings(drain_seconds=0), metrics=ServiceMetrics("scanner"))
    server.add(
        scanner_pb2_grpc.add_ScannerServiceServicer_to_server,
        scanner,
        "opensqt.market_maker.v1.ScannerService",
    )
    async with server:
        try:
            yield server.address
        finally:
            scanner.hub.close()
