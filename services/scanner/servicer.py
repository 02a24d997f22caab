"""ScannerService: decode, call, encode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from opensqt.market_maker.v1 import scanner_pb2, scanner_pb2_grpc
from services.common.paging import take_page
from services.scanner.codec import (
    decode_filters,
    decode_request_id,
    decode_worker_count,
    encode_opportunity,
    encode_scan,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc

    from services.common.clock import Clock
    from services.common.watch_hub import WatchHub
    from services.scanner.board import Board
    from services.scanner.encoded import EncodedEvents
    from services.scanner.opportunity import Opportunity
    from services.scanner.scan_desk import ScanDesk


class ResizablePool(Protocol):
    """Workers whose number can be changed while they work."""

    def resize(self, worker_count: int) -> int:
        """Set the number of workers and return the number before."""
        ...


class ScannerServicer(scanner_pb2_grpc.ScannerServiceServicer):
    """Serves the board, the hub, the desk and the size of the pool.

    Errors become statuses in the server's interceptor.
    """

    def __init__(
        self,
        board: Board,
        hub: WatchHub[Opportunity],
        desk: ScanDesk,
        pool: ResizablePool,
        events: EncodedEvents,
        clock: Clock,
    ) -> None:
        self._board = board
        self._hub = hub
        self._events = events
        self._desk = desk
        self._pool = pool
        self._clock = clock

    async def ListOpportunities(
        self,
        request: scanner_pb2.ListOpportunitiesRequest,
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> scanner_pb2.ListOpportunitiesResponse:
        """List what stands, best first."""
        filters = decode_filters(request)
        now = self._clock.now()
        rows = [each for each in self._board.ranked() if filters.wants(each)]
        page, token = take_page(
            rows,
            lambda each: each.opportunity_id,
            request.page_size,
            request.page_token,
            filters.text,
        )
        # The scan the rows come from, which is not the one that may be running now.
        scan = self._desk.last_published
        return scanner_pb2.ListOpportunitiesResponse(
            opportunities=[encode_opportunity(each) for each in page],
            next_page_token=token,
            scan=None if scan is None else encode_scan(scan, now),
        )

    async def WatchOpportunities(
        self,
        request: scanner_pb2.WatchOpportunitiesRequest,
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[Any]:
        """Send what stands, or what changed since the token, then changes as they come."""
        filters = decode_filters(request)
        async for event in self._hub.watch(request.resume_token, filters.wants):
            yield self._events.encode(event, self._clock.now())

    async def StartScan(
        self, request: scanner_pb2.StartScanRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> scanner_pb2.StartScanResponse:
        """Start a scan or join the one that runs."""
        record = self._desk.start(decode_request_id(request))
        return scanner_pb2.StartScanResponse(scan=encode_scan(record, self._clock.now()))

    async def GetScanStatus(
        self,
        request: scanner_pb2.GetScanStatusRequest,
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> scanner_pb2.GetScanStatusResponse:
        """Tell where a scan stands."""
        record = self._desk.get(request.scan_id)
        return scanner_pb2.GetScanStatusResponse(scan=encode_scan(record, self._clock.now()))

    async def CancelScan(
        self, request: scanner_pb2.CancelScanRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> scanner_pb2.CancelScanResponse:
        """Cancel a scan and its tasks."""
        record = await self._desk.cancel(request.scan_id)
        return scanner_pb2.CancelScanResponse(scan=encode_scan(record, self._clock.now()))

    async def ResizePool(
        self, request: scanner_pb2.ResizePoolRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> scanner_pb2.ResizePoolResponse:
        """Set the number of workers."""
        count = decode_worker_count(request)
        previous = self._pool.resize(count)
        return scanner_pb2.ResizePoolResponse(previous_worker_count=previous, worker_count=count)
