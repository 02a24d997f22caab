"""The scanner as the engine uses it: opportunities by id, and the list behind GetMarketScores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opensqt.market_maker.v1 import opportunity_pb2, scanner_pb2, scanner_pb2_grpc
from services.common.call_errors import retry_read
from services.common.errors import (
    FatalError,
    InvalidFieldError,
    NotFoundError,
    PreconditionError,
)
from services.common.time_codec import optional_time
from services.engine import wire_enums as wire
from services.engine.instruments import InstrumentRef
from services.engine.ports import OpportunityLegs

if TYPE_CHECKING:
    from datetime import datetime

    from opensqt.market_maker.v1 import instrument_pb2
    from services.common.clock import Clock

PAGE_SIZE = 500


class ScannerClient:
    """Reads opportunities; what has expired is refused, not traded."""

    def __init__(
        self,
        stub: scanner_pb2_grpc.ScannerServiceAsyncStub,
        clock: Clock,
        *,
        call_seconds: float,
    ) -> None:
        self._stub = stub
        self._clock = clock
        self._call_seconds = call_seconds

    async def opportunities(self) -> list[opportunity_pb2.Opportunity]:
        """Read all opportunities of the last scan, best first."""
        rows: list[opportunity_pb2.Opportunity] = []
        tokens = {""}
        token = ""
        while True:
            page = await self._page(token)
            rows.extend(page.opportunities)
            token = page.next_page_token
            if not token:
                return rows
            # Going round in pages would never end.
            if token in tokens:
                raise _invalid("the same page twice")
            tokens.add(token)

    async def _page(self, token: str) -> scanner_pb2.ListOpportunitiesResponse:
        request = scanner_pb2.ListOpportunitiesRequest(page_size=PAGE_SIZE, page_token=token)
        page = await retry_read(
            lambda: self._stub.ListOpportunities(request, timeout=self._call_seconds)
        )
        # gRPC hands over None for a reply whose bytes it cannot decode.
        if page is None:
            raise _invalid("a reply that cannot be read")
        return page

    async def resolve(self, opportunity_id: str) -> OpportunityLegs:
        """Return the legs behind an id; raises NotFoundError or, past expiry, PreconditionError."""
        found = [o for o in await self.opportunities() if o.opportunity_id == opportunity_id]
        if not found:
            raise NotFoundError(
                f"no opportunity {opportunity_id} stands now; list them again",
                reason="OPPORTUNITY_NOT_FOUND",
            )
        opportunity = found[0]
        if not self._stands(opportunity):
            raise PreconditionError(
                f"opportunity {opportunity_id} has expired; scan again", reason="OPPORTUNITY_STALE"
            )
        return OpportunityLegs(
            opportunity_id,
            _ref(opportunity.long_leg),
            _ref(opportunity.short_leg),
            _time(opportunity, "observe_time"),
            opportunity.scan_id,
        )

    def _stands(self, opportunity: opportunity_pb2.Opportunity) -> bool:
        expiry = _time(opportunity, "expire_time")
        # Without an expiry nobody vouches for it any more.
        return expiry is not None and expiry > self._clock.now()


def _invalid(what: str) -> FatalError:
    # The scanner's fault: an error naming a field would send the engine's caller looking there.
    return FatalError(f"the scanner sent {what}", reason="SCANNER_INVALID")


def _time(opportunity: opportunity_pb2.Opportunity, field: str) -> datetime | None:
    try:
        return optional_time(opportunity, field)
    except InvalidFieldError as error:
        raise _invalid(f"a bad {error.field}") from error


def _ref(ref: instrument_pb2.InstrumentRef) -> InstrumentRef:
    kind = wire.KIND_FROM_WIRE.get(ref.kind)
    if kind is None or not ref.exchange or not ref.symbol:
        raise _invalid("a leg without exchange, symbol or kind")
    return InstrumentRef(ref.exchange, ref.symbol, kind)


class NoScanner:
    """Stands where no scanner is configured: entries name their legs."""

    async def opportunities(self) -> list[opportunity_pb2.Opportunity]:
        """Refuse: there is nobody to ask."""
        raise self._missing()

    async def resolve(self, opportunity_id: str) -> OpportunityLegs:
        """Refuse: there is nobody to ask."""
        raise self._missing()

    @staticmethod
    def _missing() -> PreconditionError:
        return PreconditionError(
            "no [scanner] is configured; name long_leg and short_leg", reason="SCANNER_MISSING"
        )
