"""The profiles that trade outside, on paper and with keys; a container stands for the outside."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from opensqt.market_maker.v1 import engine_pb2
from services.simulator.mirror.addresses import PUBLIC_PATHS
from tests.support.compose_outside import (
    VENUE,
    address_of,
    holdings,
    live_stack,
    paper_stack,
    requests_of,
)
from tests.support.compose_stack import ROOT, ComposeStack, running
from tests.support.compose_strikes import driving, next_symbol, settled, settled_after_exit, taken
from tests.support.paper import SIGNED
from tests.support.stack import OPEN

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

_TRIES = 3


@pytest.fixture
def on_paper(tmp_path_factory: pytest.TempPathFactory, told: list[str]) -> Iterator[ComposeStack]:
    """A healthy stack that trades on paper."""
    with running(paper_stack(tmp_path_factory.mktemp("paper")), told) as stack:
        yield stack


@pytest.fixture(scope="module")
def on_live(tmp_path_factory: pytest.TempPathFactory, told: list[str]) -> Iterator[ComposeStack]:
    """A healthy stack with keys, for as long as the tests of it."""
    with running(live_stack(tmp_path_factory.mktemp("live")), told) as stack:
        yield stack


async def _in_and_out(stack: ComposeStack, books: str) -> engine_pb2.HedgedPosition:
    """Enter the best opportunity and leave it; both legs are in the books of a simulator."""
    for _ in range(_TRIES):
        async with driving(stack) as driver:
            symbol = await next_symbol(stack, driver)
        # A refusal for now leaves it flat: shared cores may keep a connector from its prices.
        held = await taken(stack, symbol)
        async with driving(stack) as driver:
            held = await settled(driver, held)
            if held.state == OPEN:
                legs = holdings(stack, books)
                assert len(legs) == 2, legs
                held = await settled_after_exit(driver, held)
                left = holdings(stack, books)
                assert len(left) <= 1, left
                assert sum(left.values(), Decimal(0)) < max(legs.values()) / 100, (left, legs)
                return held
    raise AssertionError(f"no entry in {_TRIES} was taken: {held}")


async def test_paper_trades_and_the_venue_sees_readers_alone(
    on_paper: ComposeStack, told: list[str]
) -> None:
    """A scan, an entry and an exit; what reached the venue are public GETs of one container."""
    assert "COMPOSE_PROFILES=live,paper" in (ROOT / "deploy" / "paper.env.example").read_text()
    position = await _in_and_out(on_paper, "paper")
    requests = requests_of(on_paper)
    told.append(f"on paper {position.symbol} in and out; the venue saw {len(requests)} requests")
    assert {row["from"] for row in requests} == {address_of(on_paper, "paper")}
    assert {row["method"] for row in requests} == {"GET"}
    assert {row["path"] for row in requests} <= PUBLIC_PATHS
    assert [row for row in requests if row["has_key"] or row["has_body"]] == []
    assert [row for row in requests if any(word in row["query"].lower() for word in SIGNED)] == []


async def test_live_trades_with_keys_of_files(on_live: ComposeStack, told: list[str]) -> None:
    """The same with keys: four signed orders, sent by the connectors themselves."""
    position = await _in_and_out(on_live, VENUE)
    orders = [row for row in requests_of(on_live) if row["method"] == "POST"]
    orders = [row for row in orders if row["path"].endswith("/order")]
    told.append(f"live {position.symbol} in and out; {len(orders)} orders at the venue")
    assert len(orders) >= 4
    assert all(row["has_key"] for row in orders)


@pytest.mark.parametrize("service", ["connector-spot-live", "connector-perp-live"])
def test_without_keys_a_connector_says_what_it_lacks(on_live: ComposeStack, service: str) -> None:
    """Without an environment file the start ends, and names both files."""
    keyless = ComposeStack(on_live.directory, "live")
    with pytest.raises(AssertionError) as ended:
        keyless.compose("run", "--rm", "--no-deps", "-T", service)
    for name in ("key", "secret"):
        assert f"connector.api_{name}_file: /run/secrets/api-{name} is empty" in str(ended.value)
