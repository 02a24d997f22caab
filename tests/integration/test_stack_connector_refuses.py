"""Limits, halt and death of a connector as a user of the whole system meets them, by the stream."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from cli.clients import connector_client
from cli.demo.stack import PERPETUAL, SPOT
from opensqt.market_maker.v1 import trading_state_pb2
from tests.support.stack import (
    CLOSED,
    FLAT,
    OPEN,
    SHORT,
    StackDriver,
    classes,
    in_time,
    running_stack,
    stack_options,
)

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # Five processes are started first, on cores that other tests share.
    pytest.mark.timeout(300),
]

LIMITED = "LTCUSDT"
HELD_SECONDS = 3.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StackDriver]:
    """Run the whole system for this module; both connectors take tiny orders of one symbol only."""
    folder: Path = tmp_path_factory.mktemp("stack")
    tables = {
        **stack_options().tables,
        "connector": {"connector": {"limits": {"max_quantity": {LIMITED: "0.001"}}}},
    }
    async with running_stack(folder, stack_options(tables=tables)) as driver:
        for venue in (SPOT, PERPETUAL):
            await until_open(driver, venue)
        yield driver


async def figures(stack: StackDriver, venue: str) -> dict[tuple[str, str], float]:
    """Return a connector's figures by name and method (empty where there is none), codes summed."""
    ready = json.loads((stack.stack.directory / f"connector-{venue}.ready.json").read_bytes())

    def scrape() -> str:
        address = f"http://{ready['metrics_address']}/metrics"
        with urllib.request.urlopen(address, timeout=5) as page:
            text: str = page.read().decode()
            return text

    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(await asyncio.to_thread(scrape)):
        for sample in family.samples:
            method = sample.labels.get("method", "").rpartition("/")[2]
            key = (sample.name.removeprefix("opensqt_connector_"), method)
            found[key] = found.get(key, 0) + sample.value
    return found


async def stream_is_open(stack: StackDriver, venue: str) -> bool:
    """Tell whether a connector serves an order-entry call now."""
    return (await figures(stack, venue)).get(("grpc_requests_in_flight", "EnterOrders")) == 1


async def until_open(stack: StackDriver, venue: str) -> None:
    """Wait until the engine's order-entry call to a connector is open."""
    await stack.until(lambda: stream_is_open(stack, venue), f"order entry of {venue} open")


async def switch(stack: StackDriver, *, halted: bool) -> None:
    """Halt or resume opening at both connectors."""
    for venue in stack.stack.arb_settings().connectors:
        async with connector_client(venue) as connector:
            if halted:
                halt = trading_state_pb2.HaltTradingRequest(reason="test", changed_by="test")
                state = (await connector.HaltTrading(halt)).state
            else:
                resume = trading_state_pb2.ResumeTradingRequest(reason="test", changed_by="test")
                state = (await connector.ResumeTrading(resume)).state
            assert state.halted is halted


@pytest.mark.parametrize("lead", [None, SHORT])
async def test_an_order_above_the_connectors_limit_ends_flat(
    stack: StackDriver, lead: int | None
) -> None:
    """The reason is told, and nothing of it reached a venue."""
    position = await stack.enter(LIMITED, **({} if lead is None else {"lead": lead}))
    assert (position.state, position.state_reason) == (FLAT, "LEAD_REJECTED ORDER_TOO_LARGE")
    assert await stack.requests(position) == []


async def test_a_halted_connector_opens_nothing_and_lets_everybody_out(
    stack: StackDriver,
) -> None:
    """An entry ends flat; what is open is reduced and closed; resumed, it opens again."""
    before = await stack.books()
    held = await stack.enter("BTCUSDT")
    assert held.state == OPEN, held
    await switch(stack, halted=True)
    refused = await stack.enter("ETHUSDT")
    assert (refused.state, refused.state_reason) == (FLAT, "LEAD_REJECTED TRADING_HALTED")
    assert await stack.requests(refused) == []
    reduced = await stack.reduce(held, Decimal("0.5"))
    assert reduced.state == OPEN, reduced
    whole = await stack.holding("BTCUSDT", before)
    assert whole.spot > 0
    assert (await stack.leave(held)).state == CLOSED
    await stack.assert_matched_or_flat(await stack.get(held.position_id), before)
    await switch(stack, halted=False)
    entered = await stack.enter("ETHUSDT")
    assert entered.state == OPEN, entered
    assert (await stack.leave(entered)).state == CLOSED


async def test_orders_go_by_the_order_entry_call_alone(stack: StackDriver) -> None:
    """The connectors served one order-entry call each, many orders, and no PlaceOrder."""
    for venue in (SPOT, PERPETUAL):
        found = await figures(stack, venue)
        assert found["orders_total", ""] >= 3
        assert found["limit_refusals_total", ""] >= 1
        assert await stream_is_open(stack, venue)
        assert ("grpc_requests_total", "HaltTrading") in found
        assert ("grpc_requests_total", "PlaceOrder") not in found


async def test_a_call_that_breaks_in_mid_order_leaves_nothing_unmatched(
    stack: StackDriver,
) -> None:
    """The connector is killed while the hedge's reply is held: the engine finds the fill.

    Afterwards the call is open again, and the exit goes by it.
    """
    before = await stack.books()
    market = await stack.market("BNBUSDT")
    there = {"venue": PERPETUAL, "symbol": market.perpetual}
    await stack.silence("cut", HELD_SECONDS, **there)
    await stack.fault("cut", {"type": "delay", "seconds": HELD_SECONDS, "when": "after"}, **there)
    position = await stack.open("BNBUSDT")
    await stack.until_struck("cut")
    found = await figures(stack, PERPETUAL)
    assert found["grpc_requests_in_flight", "EnterOrders"] == 1
    assert ("grpc_requests_total", "PlaceOrder") not in found
    started = await stack.crash(f"connector-{PERPETUAL}")
    (outcome,) = await stack.settled_since(started, position)
    position = in_time(outcome)
    await stack.assert_matched_or_flat(position, before)
    assert sorted(classes(await stack.orders(position))) == ["entry", "hedge"]
    await until_open(stack, PERPETUAL)
    assert (await stack.leave(position)).state == CLOSED
    assert ("grpc_requests_total", "PlaceOrder") not in await figures(stack, PERPETUAL)
