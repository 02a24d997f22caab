"""SIGKILL of a connector in mid-order, with real processes and the venue as the witness."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from cli.demo.stack import PERPETUAL, SPOT
from opensqt.market_maker.v1 import engine_pb2
from tests.support.stack import (
    CLOSED,
    FLAT,
    LONG,
    OPEN,
    SHORT,
    StackDriver,
    classes,
)
from tests.support.stack_cases import HELD_SECONDS, Aftermath, Position, held

pytest_plugins = ("tests.support.stack_fixture",)
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # Five processes are started, killed and started again, on cores that other tests share.
    pytest.mark.timeout(300),
]


@dataclass(frozen=True, slots=True)
class Case:
    """Which order of an entry or an exit the connector's death cuts, and on which side of it.

    `executes`: the venue has acted and the reply is on its way; else the request is on its way, for
    longer than the venue takes it. `spot_is_long` false sells the spot leg on margin.
    """

    role: str
    executes: bool
    spot_is_long: bool = True

    def lead(self, venue: str) -> engine_pb2.LegSide.ValueType:
        """Return the lead that makes this order the cut venue's."""
        spot_leads = (venue == SPOT) == (self.role == "lead")
        return LONG if spot_leads == self.spot_is_long else SHORT


# Eight symbols, not more: both rounds of entries must fit into the venue's weight for one minute.
CASES: Mapping[str, Case] = {
    "BTCUSDT": Case("lead", executes=True),
    "ETHUSDT": Case("lead", executes=False, spot_is_long=False),
    "BNBUSDT": Case("hedge", executes=True, spot_is_long=False),
    "XRPUSDT": Case("hedge", executes=False),
    "ADAUSDT": Case("exit", executes=True),
    "AVAXUSDT": Case("exit", executes=False),
    "PEPEUSDT": Case("exit", executes=True, spot_is_long=False),
    "LTCUSDT": Case("exit", executes=False, spot_is_long=False),
}


async def _begin(stack: StackDriver, symbol: str, case: Case, venue: str) -> Position:
    """Bring an order of the case to the moment at which the connector of `venue` dies."""
    market = await stack.market(symbol)
    options: dict[str, Any] = {"spot_is_long": case.spot_is_long, "lead": case.lead(venue)}
    position = None if case.role != "exit" else await stack.enter(symbol, **options)
    name = f"{symbol}-{venue}"
    fault = held("after" if case.executes else "before")
    venue_symbol = symbol if venue == SPOT else market.perpetual
    await stack.silence(name, HELD_SECONDS, venue=venue, symbol=venue_symbol)
    await stack.fault(name, fault, venue=venue, symbol=venue_symbol)
    if position is None:
        position = await stack.open(symbol, **options)
    else:
        position = await stack.close(position)
    await stack.until_struck(name)
    return position


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[PERPETUAL, SPOT])
async def aftermath(stack: StackDriver, request: pytest.FixtureRequest) -> AsyncIterator[Aftermath]:
    """Cut every case at the same time by one kill, start the connector again, wait for all."""
    venue: str = request.param
    before = await stack.books()
    begun = [_begin(stack, symbol, case, venue) for symbol, case in CASES.items()]
    positions = await asyncio.gather(*begun)
    await stack.assert_moving(*positions)
    started = await stack.crash(f"connector-{venue}")
    settled = await stack.settled_since(started, *positions)
    yield Aftermath(stack, before, dict(zip(CASES, settled, strict=True)))
    if not any(isinstance(outcome, AssertionError) for outcome in settled):
        await stack.leave_all()
    await stack.resume()


@pytest.mark.parametrize("symbol", CASES)
async def test_an_order_cut_by_the_connectors_death(aftermath: Aftermath, symbol: str) -> None:
    """The venue's books show matched legs or none, and no client order id twice."""
    case, position = CASES[symbol], aftermath.position(symbol)
    await aftermath.stack.assert_matched_or_flat(position, aftermath.before)
    rows = classes(await aftermath.stack.orders(position))
    if case.role == "exit":
        assert position.state == CLOSED, position
    elif case.executes:
        assert position.state == OPEN, position
        assert sorted(rows) == ["entry", "hedge"]
    elif case.role == "lead":
        assert position.state == FLAT, position
        assert rows == []
    else:
        assert position.state in (OPEN, FLAT), position
