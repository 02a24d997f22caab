"""Following the scanner's stream: snapshot, caught-up, changes, resumed where it broke."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import grpc

from opensqt.market_maker.v1 import scanner_pb2, scanner_pb2_grpc
from services.common.call_errors import from_call_error, is_cancelled
from services.common.clock import Clock
from services.common.errors import (
    FatalError,
    InvalidFieldError,
    OpensqtError,
    RejectedError,
    UnreachableError,
)
from services.common.logs import get_logger
from services.engine.follower_board import OfferBoard
from services.engine.follower_codec import decode_offer

_log = get_logger(__name__)
_FIRST_WAIT = 0.2
_LAST_WAIT = 5.0
_IDLE_WAIT = 1.0


class OpportunityFollower:
    """Keeps an `OfferBoard` like the scanner's; nothing is asked while nobody wants it.

    `silence` is how long a stream may bring nothing, heartbeats included, before it counts as lost.
    """

    def __init__(
        self,
        stub: scanner_pb2_grpc.ScannerServiceAsyncStub,
        clock: Clock,
        board: OfferBoard,
        *,
        silence: timedelta,
    ) -> None:
        self._stub = stub
        self._clock = clock
        self._silence = silence
        self._token = b""
        self.board = board
        self.problem = "the scanner was not heard yet"
        """Why nothing is followed now; empty while the stream is whole."""

    async def run(self, wanted: Callable[[], bool]) -> None:
        """Follow until cancelled, while it is `wanted`."""
        wait = _FIRST_WAIT
        while True:
            if not wanted():
                await self._clock.sleep(_IDLE_WAIT)
                continue
            try:
                await self._follow(wanted)
                error: OpensqtError = UnreachableError("the stream of opportunities ended")
            except grpc.aio.AioRpcError as failure:
                error = from_call_error(failure)
            except OpensqtError as failure:
                error = failure
            except Exception:
                # A bug about one offer must not end the following for good, and in silence.
                _log.exception("opportunities_broken")
                error = FatalError("an opportunity could not be taken", reason="SCANNER_INVALID")
            if is_cancelled():
                raise asyncio.CancelledError
            whole = self.board.caught_up
            self.board.dropped()
            self.problem = error.message
            _log.warning("opportunities_lost", reason=error.reason)
            # A token the scanner does not take (it was started anew) never becomes good again.
            if isinstance(error, RejectedError | FatalError):
                self._token = b""
            wait = _FIRST_WAIT if whole else min(wait * 2, _LAST_WAIT)
            await self._clock.sleep(wait)

    async def _follow(self, wanted: Callable[[], bool]) -> None:
        request = scanner_pb2.WatchOpportunitiesRequest(resume_token=self._token)
        self.board.connected(resumed=bool(self._token))
        call = self._stub.WatchOpportunities(request)
        try:
            async for response in self._heard(call):
                self._take(response)
                if not wanted():
                    return
        finally:
            call.cancel()

    async def _heard(self, call: Any) -> AsyncIterator[scanner_pb2.WatchOpportunitiesResponse]:
        while True:
            try:
                async with asyncio.timeout(self._silence.total_seconds()):
                    response = await call.read()
            except TimeoutError as error:
                raise UnreachableError("the scanner sends nothing, no heartbeat either") from error
            if response is grpc.aio.EOF:
                return
            # gRPC hands over None for a reply whose bytes it cannot decode.
            if response is None:
                raise FatalError(
                    "the scanner sent a reply that cannot be read", reason="SCANNER_INVALID"
                )
            yield response

    def _take(self, response: scanner_pb2.WatchOpportunitiesResponse) -> None:
        match response.WhichOneof("event"):
            case "upsert":
                self._take_offer(response)
            case "removed_opportunity_id":
                self.board.removed(response.removed_opportunity_id)
            case "caught_up":
                self.board.complete()
                self.problem = ""
        # After handling, and never back to none: a snapshot's rows carry no token.
        if response.resume_token:
            self._token = response.resume_token

    def _take_offer(self, response: scanner_pb2.WatchOpportunitiesResponse) -> None:
        message = response.upsert
        try:
            offer = decode_offer(message, self._clock.now(), self._clock.monotonic())
        except InvalidFieldError as error:
            # What it was before is superseded all the same; the others must not suffer.
            self.board.removed(message.opportunity_id)
            _log.warning("opportunity_refused", field=error.field)
            return
        self.board.upsert(offer)
