"""The engine's view of the scanner over gRPC: legs by id, market scores, and a broken scanner."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from opensqt.market_maker.v1 import (
    instrument_pb2,
    opportunity_pb2,
    portfolio_pb2,
    portfolio_pb2_grpc,
    scanner_pb2,
    scanner_pb2_grpc,
)
from services.common.call_errors import translated
from services.common.channels import open_channel
from services.common.clock import SystemClock
from services.common.errors import (
    FatalError,
    NotFoundError,
    OpensqtError,
    PreconditionError,
    UnreachableError,
)
from services.common.time_codec import to_timestamp
from services.engine.ports import OpportunityLegs, OpportunitySource
from services.engine.scanner_client import ScannerClient
from services.engine.servicer_portfolio import portfolio_opportunity
from services.engine.view_codec import ref_to_proto
from tests.support.connector_messages import number
from tests.support.engine_api import served_engine
from tests.support.engine_views import CREATED, PERPETUAL, SPOT
from tests.support.scripted_service import ScriptedService, served, served_by_stranger


class FixedClock(SystemClock):
    """A clock whose date stands still."""

    def now(self) -> datetime:
        """Return the one instant."""
        return CREATED


def opportunity(name: str, **changes: Any) -> opportunity_pb2.Opportunity:
    """Return an opportunity that stands for another second."""
    fields: dict[str, Any] = {
        "opportunity_id": name,
        "symbol": "BTCUSDT",
        "long_leg": ref_to_proto(SPOT),
        "short_leg": ref_to_proto(PERPETUAL),
        "gross_apr": number("0.876"),
        "expire_time": to_timestamp(CREATED + timedelta(seconds=1)),
    }
    return opportunity_pb2.Opportunity(**{**fields, **changes})


def page(
    *rows: opportunity_pb2.Opportunity, token: str = ""
) -> scanner_pb2.ListOpportunitiesResponse:
    """Return one page."""
    return scanner_pb2.ListOpportunitiesResponse(opportunities=rows, next_page_token=token)


def scripted(*answers: Any) -> ScriptedService:
    """Return a scanner that gives these answers in turn."""
    script = ScriptedService(scanner_pb2.DESCRIPTOR.services_by_name["ScannerService"])
    script.answers["ListOpportunities"] = list(answers)
    return script


@asynccontextmanager
async def client_to(address: str) -> AsyncIterator[ScannerClient]:
    """Open a client to an address."""
    channel = open_channel(address)
    stub: Any = scanner_pb2_grpc.ScannerServiceStub(channel)
    try:
        yield ScannerClient(stub, FixedClock(), call_seconds=5.0)
    finally:
        await channel.close()


@asynccontextmanager
async def client(*answers: Any) -> AsyncIterator[ScannerClient]:
    """Serve answers and open a client to them."""
    async with served(scripted(*answers)) as address, client_to(address) as opened:
        yield opened


async def unresolved(scanner: OpportunitySource, name: str = "o") -> OpensqtError:
    """Return why an opportunity has no legs."""
    with pytest.raises(OpensqtError) as caught:
        await scanner.resolve(name)
    return caught.value


async def test_an_opportunity_is_found_on_whichever_page_it_stands() -> None:
    """Its legs keep their sides."""
    script = scripted(page(opportunity("n"), token="2"), page(opportunity("o")))
    async with served(script) as address, client_to(address) as scanner:
        legs = await scanner.resolve("o")
    assert legs == OpportunityLegs("o", SPOT, PERPETUAL)
    tokens = [request.page_token for request in script.requests["ListOpportunities"]]
    assert tokens == ["", "2"]


async def test_an_opportunity_nobody_lists_is_not_found() -> None:
    """Ids are compared whole."""
    async with client(page(opportunity("o1"), opportunity("O"))) as scanner:
        error = await unresolved(scanner)
    assert isinstance(error, NotFoundError)
    assert error.reason == "OPPORTUNITY_NOT_FOUND"


@pytest.mark.parametrize(
    "expiry", [None, to_timestamp(CREATED), to_timestamp(CREATED - timedelta(days=1))]
)
async def test_an_opportunity_past_its_time_is_not_traded(expiry: Timestamp | None) -> None:
    """One that names no time is past it; the last instant is too late."""
    async with client(page(opportunity("o", expire_time=expiry))) as scanner:
        error = await unresolved(scanner)
    assert isinstance(error, PreconditionError)
    assert error.reason == "OPPORTUNITY_STALE"


@pytest.mark.parametrize(
    "answer",
    [
        page(opportunity("o", long_leg=None)),
        page(opportunity("o", short_leg=instrument_pb2.InstrumentRef(exchange="x", symbol="y"))),
        page(opportunity("o", expire_time=Timestamp(seconds=2**50))),
    ],
    ids=["no leg", "no kind", "no such time"],
)
async def test_a_broken_opportunity_is_the_scanners_fault(answer: Any) -> None:
    """The caller named an id and nothing else."""
    async with client(answer) as scanner:
        error = await unresolved(scanner)
    assert isinstance(error, FatalError)
    assert error.reason == "SCANNER_INVALID"


async def test_pages_that_go_round_are_refused() -> None:
    """They would never end."""
    async with client(page(token="a"), page(token="b"), page(token="a")) as scanner:
        assert (await unresolved(scanner)).reason == "SCANNER_INVALID"


async def test_a_reply_that_is_no_message_is_the_scanners_fault() -> None:
    """It is not an empty list."""
    async with served_by_stranger(scripted(b"\xff\xff")) as address, client_to(address) as scanner:
        assert (await unresolved(scanner)).reason == "SCANNER_INVALID"


async def test_a_scanner_that_is_not_there_is_unreachable() -> None:
    """The port promises the core this class."""
    async with served(scripted()) as address:
        pass
    async with client_to(address) as scanner:
        assert isinstance(await unresolved(scanner), UnreachableError)


async def test_market_scores_are_the_scanners_list_in_its_order() -> None:
    """Through both services, all pages."""
    rows = [opportunity("b"), opportunity("a"), opportunity("c")]
    async with (
        client(page(*rows[:2], token="2"), page(rows[2])) as scanner,
        served_engine(scanner=scanner) as channel,
    ):
        stub: Any = portfolio_pb2_grpc.PortfolioServiceStub(channel)
        scores = await stub.GetMarketScores(portfolio_pb2.GetMarketScoresRequest())
    assert list(scores.opportunities) == [portfolio_opportunity(row) for row in rows]


async def test_market_scores_of_a_dead_scanner_are_unavailable() -> None:
    """No list is not an empty list."""
    async with served(scripted()) as address:
        pass
    async with client_to(address) as scanner, served_engine(scanner=scanner) as channel:
        stub: Any = portfolio_pb2_grpc.PortfolioServiceStub(channel)
        with pytest.raises(UnreachableError), translated():
            await stub.GetMarketScores(portfolio_pb2.GetMarketScoresRequest())
