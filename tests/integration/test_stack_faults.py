"""Lost replies, refusals, short fills and broken answers through the whole system of processes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import grpc
import pytest
import pytest_asyncio

from cli.demo.stack import PERPETUAL, SPOT
from opensqt.market_maker.v1 import engine_pb2
from services.common.codec import decimal_from_proto
from tests.support.stack import (
    CLOSED,
    FLAT,
    LONG,
    OPEN,
    SHORT,
    StackDriver,
    classes,
)
from tests.support.stack_cases import NO_MARGIN, Aftermath, Position

pytest_plugins = ("tests.support.stack_fixture",)
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # Five processes are started first, on cores that other tests share.
    pytest.mark.timeout(300),
]

SETTLE_SECONDS = 15.0
"""Unknown outcomes take the fence; many positions at once share the cores."""
SILENT_SECONDS = 3.0
AT_ONCE = 6
"""Cases in play at the same time: more would load the cores until requests outlast their window."""
DROP = {"type": "drop_after"}
NEVER_SENT = {"type": "drop_before"}
UNFILLED = {"type": "zero_fill"}
PARTIAL = {"type": "partial", "ratio": "0.4"}
LATE = {"type": "late_execution", "seconds": 0.4}
TIMED_OUT = {
    "type": "http_status",
    "status": 503,
    "body": '{"code":-1007,"msg":"Timeout waiting for response from backend server."}',
    "when": "after",
}
TRUNCATED = {"type": "truncate_body", "bytes": 25}
BROKEN_OFF = {"type": "truncate_body", "bytes": 25, "declared": True}
EMPTY = {"type": "empty_body"}

MATCHED = ("entry", "hedge")


@dataclass(frozen=True, slots=True)
class Case:
    """One fault at one order of a position, and what the venue's books must show at rest.

    `orders` are the classes of the orders the venue accepted, sorted. The cut order is the one of
    `venue` in the entry, or with `exits` in the exit; `times` bounds how often it strikes.
    """

    action: Mapping[str, Any]
    role: str
    venue: str
    state: engine_pb2.HedgedPositionState.ValueType
    orders: tuple[str, ...]
    times: int = 1

    @property
    def lead(self) -> engine_pb2.LegSide.ValueType:
        """The lead that gives the venue's order the role; spot is long."""
        return LONG if (self.venue == SPOT) == (self.role == "lead") else SHORT


_EXITED = ("entry", "exit", "exit", "hedge")
_UNWOUND = ("entry", "unwind")

CASES: Mapping[str, tuple[str, Case]] = {
    "reply to the spot lead lost": ("BTCUSDT", Case(DROP, "lead", SPOT, OPEN, MATCHED)),
    "reply to the perpetual lead lost": ("ETHUSDT", Case(DROP, "lead", PERPETUAL, OPEN, MATCHED)),
    "reply to the perpetual hedge lost": ("SOLUSDT", Case(DROP, "hedge", PERPETUAL, OPEN, MATCHED)),
    "reply to the spot hedge lost": ("BNBUSDT", Case(DROP, "hedge", SPOT, OPEN, MATCHED)),
    "reply to the spot exit lost": ("XRPUSDT", Case(DROP, "exit", SPOT, CLOSED, _EXITED)),
    "reply to the perpetual exit lost": ("ADAUSDT", Case(DROP, "exit", PERPETUAL, CLOSED, _EXITED)),
    "lead never sent": ("LINKUSDT", Case(NEVER_SENT, "lead", SPOT, FLAT, ())),
    "hedge refused": ("AVAXUSDT", Case(NO_MARGIN, "hedge", PERPETUAL, FLAT, _UNWOUND, 9)),
    "spot hedge refused": ("TRBUSDT", Case(NO_MARGIN, "hedge", SPOT, FLAT, _UNWOUND, 9)),
    "lead not filled": ("LTCUSDT", Case(UNFILLED, "lead", SPOT, FLAT, ("entry",))),
    "perpetual lead not filled": ("TRXUSDT", Case(UNFILLED, "lead", PERPETUAL, FLAT, ("entry",))),
    "lead filled in part": ("GASUSDT", Case(PARTIAL, "lead", SPOT, OPEN, MATCHED)),
    "hedge filled in part": (
        "DOGEUSDT",
        Case(PARTIAL, "hedge", PERPETUAL, OPEN, ("entry", "hedge", "hedge")),
    ),
    "lead executed late": ("SHIBUSDT", Case(LATE, "lead", SPOT, OPEN, MATCHED)),
    "perpetual lead executed late": ("BONKUSDT", Case(LATE, "lead", PERPETUAL, OPEN, MATCHED)),
    "hedge executed late": ("FLOKIUSDT", Case(LATE, "hedge", PERPETUAL, OPEN, MATCHED)),
    "lead timed out after execution": ("SUPERUSDT", Case(TIMED_OUT, "lead", SPOT, OPEN, MATCHED)),
    "answer to the lead truncated": ("PEPEUSDT", Case(TRUNCATED, "lead", SPOT, OPEN, MATCHED)),
    "answer to the lead broken off": ("MOVRUSDT", Case(BROKEN_OFF, "lead", SPOT, OPEN, MATCHED)),
    "answer to the lead empty": ("NEWTUSDT", Case(EMPTY, "lead", PERPETUAL, OPEN, MATCHED)),
    "answer to the hedge empty": ("AXLUSDT", Case(EMPTY, "hedge", PERPETUAL, OPEN, MATCHED)),
}
COSTLESS = ("lead never sent", "lead not filled", "perpetual lead not filled")


async def _play(stack: StackDriver, name: str, symbol: str, case: Case) -> Position:
    market = await stack.market(symbol)
    venue_symbol = symbol if case.venue == SPOT else market.perpetual
    position = await stack.enter(symbol) if case.role == "exit" else None
    matching = {"venue": case.venue, "symbol": venue_symbol, "times": case.times}
    if case.venue == SPOT and case.role == "hedge":
        matching["side"] = "BUY"
    if case.action is DROP:
        # Without the stream's word only a question can tell what became of the order.
        await stack.silence(name, SILENT_SECONDS, venue=case.venue, symbol=venue_symbol)
    await stack.fault(name, dict(case.action), **matching)
    if position is None:
        position = await stack.open(symbol, lead=case.lead)
    else:
        position = await stack.close(position)
    position = await stack.settled(position, SETTLE_SECONDS)
    await stack.until_struck(name)
    return position


async def _play_or_fail(
    stack: StackDriver, turns: asyncio.Semaphore, name: str, symbol: str, case: Case
) -> Position | AssertionError:
    async with turns:
        try:
            return await _play(stack, name, symbol, case)
        except AssertionError as failure:
            return failure
        except grpc.aio.AioRpcError as failure:
            return AssertionError(failure.details())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(stack: StackDriver) -> Aftermath:
    """Play all cases, several at the same time, each on a symbol of its own."""
    before = await stack.books()
    turns = asyncio.Semaphore(AT_ONCE)
    plays = (_play_or_fail(stack, turns, name, *of_symbol) for name, of_symbol in CASES.items())
    settled = dict(zip(CASES, await asyncio.gather(*plays), strict=True))
    return Aftermath(stack, before, settled)


@pytest.mark.parametrize("name", CASES)
async def test_a_fault_leaves_legs_matched_or_flat(outcomes: Aftermath, name: str) -> None:
    """The venue holds matched legs or none, by the orders the case allows, no id twice."""
    _, case = CASES[name]
    position = outcomes.position(name)
    await outcomes.stack.assert_matched_or_flat(position, outcomes.before)
    assert position.state == case.state, position
    assert tuple(sorted(classes(await outcomes.stack.orders(position)))) == case.orders


@pytest.mark.parametrize("name", COSTLESS)
async def test_an_entry_without_a_fill_costs_nothing(outcomes: Aftermath, name: str) -> None:
    """The lead is the only request that reached the venue; no coin and no fee moved."""
    position = outcomes.position(name)
    held = await outcomes.stack.holding(position.symbol, outcomes.before)
    assert held.spot == 0
    assert held.perpetual == 0
    assert classes(await outcomes.stack.requests(position)) == ["entry"]
    assert decimal_from_proto(position, "fees_paid") == 0


async def test_a_partial_lead_is_hedged_by_its_fill(outcomes: Aftermath) -> None:
    """The hedge follows what was filled, not what was asked."""
    position = outcomes.position("lead filled in part")
    executed = decimal_from_proto(position, "lead_executed_quantity")
    requested = decimal_from_proto(position, "lead_requested_quantity")
    assert executed is not None
    assert requested is not None
    assert 0 < executed < requested * Decimal("0.5")


async def test_a_rate_limited_hedge_ends_matched_or_flat(outcomes: Aftermath) -> None:
    """A 429 proves that nothing was done: a new id hedges later, or the lead goes back."""
    stack, symbol = outcomes.stack, "LTCUSDT"
    before = await stack.books()
    limited = {"type": "rate_limit", "retry_after": 1}
    await stack.fault("limited", limited, venue=PERPETUAL, symbol=symbol)
    position = await stack.settled(await stack.open(symbol), SETTLE_SECONDS)
    await stack.until_struck("limited")
    await stack.assert_matched_or_flat(position, before)
    ids = [row["client_order_id"] for row in await stack.requests(position)]
    assert len(ids) == len(set(ids))
    assert position.state in (OPEN, FLAT), position


async def test_all_positions_close_after_the_faults(outcomes: Aftermath) -> None:
    """After close-all no perpetual is held, and of each coin less than a lot is left."""
    await outcomes.assert_all_close()
