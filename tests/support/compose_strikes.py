"""Strikes at a stack of containers while an entry is on its way; the venue's books judge."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc.aio

from cli.clients import engine_client, scanner_client
from cli.scanning import OpportunityFilter, list_opportunities
from opensqt.market_maker.v1 import engine_pb2, instrument_pb2
from tests.support.compose_stack import ComposeStack, poll
from tests.support.stack import CLOSED, FLAT, OPEN, StackDriver

if TYPE_CHECKING:
    from services.common.settings import EndpointSettings

SETTLE_SECONDS = 180.0
"""Far more than the venue's fence of 17 s, a takeover and a scan: cores are shared."""

_SCAN_SECONDS = 420.0
"""A new venue's histories are all read anew, and what fails is tried again later and later."""

_NOT_YET = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)


async def working_engine(stack: ComposeStack) -> EndpointSettings:
    """Return the engine that is at work and has compared its ledger with both venues."""
    found: list[EndpointSettings] = []

    async def works() -> bool:
        for endpoint in stack.engines():
            try:
                async with engine_client(endpoint) as engine:
                    status = (await engine.GetStatus(engine_pb2.GetStatusRequest())).status
            except grpc.aio.AioRpcError:
                continue
            if status.reconciled and not status.unknown_client_order_ids:
                found[:] = [endpoint]
        return bool(found)

    await poll(works, "an engine is reconciled", SETTLE_SECONDS)
    return found[0]


@asynccontextmanager
async def driving(stack: ComposeStack) -> AsyncIterator[StackDriver]:
    """Drive the engine that is at work."""
    async with engine_client(await working_engine(stack)) as engine:
        driver = StackDriver(stack, engine)
        # An order that stayed unknown for long has stopped entries, which is for people to end.
        await driver.resume()
        yield driver


async def next_symbol(stack: ComposeStack, driver: StackDriver) -> str:
    """Return the best symbol to be long on spot that was not traded yet."""
    found: list[str] = []
    listing = await driver.engine.ListHedgedPositions(engine_pb2.ListHedgedPositionsRequest())
    traded = {position.symbol for position in listing.positions}

    async def published() -> bool:
        try:
            async with scanner_client(stack.arb_settings().scanner) as scanner:
                rows = await list_opportunities(scanner, OpportunityFilter(), 500)
        except grpc.aio.AioRpcError:
            return False
        spot = instrument_pb2.INSTRUMENT_KIND_SPOT
        found[:] = [r.symbol for r in rows if r.long_leg.kind == spot and r.symbol not in traded]
        return bool(found)

    await poll(published, "the scanner publishes an opportunity", _SCAN_SECONDS)
    return found[0]


async def taken(stack: ComposeStack, symbol: str) -> engine_pb2.HedgedPosition:
    """Ask for an entry until the engine takes it: a scan may hold the venue's allowance.

    The request keeps its id, so that one that was taken without an answer is not taken twice.
    """
    found: list[engine_pb2.HedgedPosition] = []
    request_id = str(uuid.uuid4())

    async def takes() -> bool:
        try:
            async with driving(stack) as driver:
                found[:] = [await driver.open(symbol, request_id=request_id)]
        except grpc.aio.AioRpcError as refused:
            if refused.code() not in _NOT_YET:
                raise
        return bool(found)

    await poll(takes, f"the engine takes an entry in {symbol}", SETTLE_SECONDS)
    return found[0]


async def settled(
    driver: StackDriver, position: engine_pb2.HedgedPosition
) -> engine_pb2.HedgedPosition:
    """Wait until the position rests, through refusals of an engine that is away."""
    held = position

    async def rests() -> bool:
        nonlocal held
        try:
            held = await driver.get(position.position_id)
        except grpc.aio.AioRpcError:
            return False
        return held.state in (OPEN, CLOSED, FLAT)

    await poll(rests, f"{position.symbol} rests", SETTLE_SECONDS)
    return held


async def strike(stack: ComposeStack, told: list[str], what: str, blow: Callable[[], None]) -> None:
    """Strike just after an entry was taken; then matched or flat, healthy, and out again."""
    async with driving(stack) as driver:
        symbol = await next_symbol(stack, driver)
        before = await driver.books()
        position = await taken(stack, symbol)
        started = time.monotonic()
        await asyncio.to_thread(blow)
    healthy = await stack.until_healthy()
    async with driving(stack) as driver:
        rested = await settled(driver, position)
        seconds = time.monotonic() - started
        await driver.assert_matched_or_flat(rested, before)
        end = engine_pb2.HedgedPositionState.Name(rested.state).rpartition("_")[2]
        if rested.state == OPEN:
            rested = await settled_after_exit(driver, rested)
            await driver.assert_matched_or_flat(rested, before)
    told.append(f"{what}: {symbol} {end}, at rest {seconds:.1f} s after, healthy {healthy:.1f} s")


async def settled_after_exit(
    driver: StackDriver, position: engine_pb2.HedgedPosition
) -> engine_pb2.HedgedPosition:
    """Close a position and wait for its end."""
    closed = await settled(driver, await driver.close(position))
    assert closed.state == CLOSED, closed
    return closed
