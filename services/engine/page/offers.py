"""The scanner's best opportunities for the page: one question, briefly, and never again at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opensqt.market_maker.v1 import scanner_pb2
from services.common.call_errors import translated
from services.common.errors import InvalidFieldError, PreconditionError
from services.engine.follower_codec import decode_offer

if TYPE_CHECKING:
    from opensqt.market_maker.v1 import scanner_pb2_grpc
    from services.common.clock import Clock
    from services.engine.follower_offer import Offer

ANSWER_SECONDS = 2.0
"""How long a page waits for the scanner; its reader wants the rest of it."""


class ScannerOffers:
    """Reads the first opportunities of the scanner; `stub` None where none is configured."""

    def __init__(self, stub: scanner_pb2_grpc.ScannerServiceAsyncStub | None, clock: Clock) -> None:
        self._stub = stub
        self._clock = clock

    async def best(self, count: int) -> list[Offer]:
        """Return the best, ranked as the scanner does; what cannot be read is left out.

        Raises PreconditionError (SCANNER_MISSING) without a scanner, else what the call says.
        """
        if self._stub is None:
            raise PreconditionError("no [scanner] is configured", reason="SCANNER_MISSING")
        reply = await self._ask(self._stub, count)
        now, heard_at = self._clock.now(), self._clock.monotonic()
        offers = []
        for message in () if reply is None else reply.opportunities:
            try:
                offers.append(decode_offer(message, now, heard_at))
            except InvalidFieldError:
                continue
        return offers

    @staticmethod
    async def _ask(
        stub: scanner_pb2_grpc.ScannerServiceAsyncStub, count: int
    ) -> scanner_pb2.ListOpportunitiesResponse | None:
        # gRPC hands over None for a reply whose bytes it cannot decode, against its own types.
        request = scanner_pb2.ListOpportunitiesRequest(page_size=count)
        with translated():
            return await stub.ListOpportunities(request, timeout=ANSWER_SECONDS)
