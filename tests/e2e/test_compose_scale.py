"""Two engines on one journal, three scanners on one queue: one of each dies, nothing is lost."""

from __future__ import annotations

import uuid

import pytest

from cli.clients import scanner_client
from cli.scanning import run_scan
from opensqt.market_maker.v1 import scanner_pb2
from tests.support.compose_stack import ComposeStack
from tests.support.compose_strikes import (
    driving,
    next_symbol,
    settled,
    settled_after_exit,
    strike,
    taken,
    working_engine,
)
from tests.support.stack import OPEN

pytestmark = [pytest.mark.system, pytest.mark.timeout(1800)]


async def test_a_scan_over_three_scanners(compose_stack: ComposeStack, told: list[str]) -> None:
    """A scan asked of one of them ends well, its readings shared."""

    def follow(_: scanner_pb2.Scan) -> None:
        pass

    async with scanner_client(compose_stack.arb_settings().scanner) as scanner:
        scan = await run_scan(scanner, str(uuid.uuid4()), follow)
    told.append(f"scan over three scanners: {scan.symbol_count} symbols")
    assert scan.state == scanner_pb2.SCAN_STATE_SUCCEEDED


@pytest.mark.parametrize("victim", ["scanner-b", "scanner-a", "nats", "postgres"])
async def test_one_of_each_is_killed(
    compose_stack: ComposeStack, told: list[str], victim: str
) -> None:
    """SIGKILL during an entry: at rest afterwards, healthy again."""
    await strike(compose_stack, told, f"kill -9 {victim}", lambda: compose_stack.kill(victim))


async def test_the_other_engine_takes_over(compose_stack: ComposeStack, told: list[str]) -> None:
    """The engine at work dies with a position open; the other one knows it, and exits it."""
    async with driving(compose_stack) as driver:
        symbol = await next_symbol(compose_stack, driver)
        before = await driver.books()
        held = await settled(driver, await taken(compose_stack, symbol))
        assert held.state == OPEN
    address = (await working_engine(compose_stack)).address
    victim = "engine-a" if address == compose_stack.published("ENGINE_PORT") else "engine-b"
    await strike(compose_stack, told, f"kill -9 {victim}", lambda: compose_stack.kill(victim))
    async with driving(compose_stack) as driver:
        known = await driver.get(held.position_id)
        assert known.state == OPEN
        closed = await settled_after_exit(driver, known)
        await driver.assert_matched_or_flat(closed, before)
