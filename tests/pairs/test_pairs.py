"""Pairs of venues in and out, each order filled in part at odd shares: neutral by the books."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from opensqt.market_maker.v1 import engine_pb2
from tests.support.pair_rig import (
    CLOSED,
    LONG,
    OPEN,
    SHORT,
    Held,
    PairRig,
    decimal_of,
    order_counts,
    plain,
    running_pairs,
    state_word,
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


@dataclass(frozen=True, slots=True)
class Case:
    """A pair, which leg leads, and the shares that the first order of each kind fills."""

    long: str
    short: str
    symbol: str
    lead: engine_pb2.LegSide.ValueType = LONG
    filled: str = "0.37"
    hedged: str = "0.61"
    left_long: str = "0.43"
    left_short: str = "0.29"

    @property
    def name(self) -> str:
        """How the test is called."""
        side = "long" if self.lead == LONG else "short"
        return f"{self.long}-{self.short}-{self.symbol}-{side}"


CASES = [
    # Spot against the same venue's perpetuals, either leg leading.
    Case("binance", "binanceusdm", "BTCUSDT", filled="0.773"),
    Case("binance", "binanceusdm", "ETHUSDT", SHORT),
    Case("binance", "binanceusdm", "SOLUSDT", filled="0.119"),
    # Contracts of 0.01, 0.01, 0.1, 10 and 1000 coins.
    Case("binance", "okx-swap", "BTCUSDT", filled="0.719"),
    Case("binance", "okx-swap", "ETHUSDT", SHORT, filled="0.533"),
    Case("binance", "okx-swap", "SOLUSDT", filled="0.217"),
    Case("binance", "okx-swap", "XRPUSDT", SHORT, filled="0.377"),
    Case("binance", "okx-swap", "DOGEUSDT", filled="0.459"),
    Case("binance", "okx-swap", "DOGEUSDT", SHORT, filled="0.271"),
    # Bybit's perpetuals against USD-M, both directions.
    Case("bybit-linear", "binanceusdm", "ETHUSDT", filled="0.613"),
    Case("binanceusdm", "bybit-linear", "XRPUSDT", SHORT, filled="0.347"),
    Case("bybit-spot", "binanceusdm", "LINKUSDT", filled="0.283"),
    Case("okx-swap", "bybit-linear", "SOLUSDT", SHORT, filled="0.417"),
    # A thousand coins a unit against single ones, and against ten thousand.
    Case("binance", "binanceusdm", "PEPEUSDT", filled="0.311"),
    Case("binance", "binanceusdm", "PEPEUSDT", SHORT, filled="0.617"),
    Case("binance", "okx-swap", "PEPEUSDT", filled="0.377"),
    Case("bybit-linear", "okx-swap", "SHIBUSDT", SHORT, filled="0.531"),
    # Spot sold on margin.
    Case("binanceusdm", "binance", "BTCUSDT", filled="0.687"),
    Case("binanceusdm", "binance", "ETHUSDT", SHORT, filled="0.373"),
    Case("okx-swap", "binance", "DOGEUSDT", filled="0.571"),
    Case("bybit-linear", "binance", "LINKUSDT", SHORT, filled="0.293"),
    Case("binanceusdm", "binance", "PEPEUSDT", filled="0.411"),
    Case("okx-swap", "binance", "SHIBUSDT", SHORT, filled="0.437"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PairRig]:
    """Run all six venues and one engine for this module."""
    folder: Path = tmp_path_factory.mktemp("pairs")
    async with running_pairs(folder) as running:
        yield running


async def _arm(rig: PairRig, case: Case) -> None:
    """Let the first order of each kind fill for an odd share only."""
    shares = {LONG: case.filled, SHORT: case.hedged}
    if case.lead == SHORT:
        shares = {SHORT: case.filled, LONG: case.hedged}
    await rig.partial("enter-long", shares[LONG], case.long, "BUY")
    await rig.partial("enter-short", shares[SHORT], case.short, "SELL")
    await rig.partial("exit-long", case.left_long, case.long, "SELL")
    await rig.partial("exit-short", case.left_short, case.short, "BUY")


async def _all_struck(rig: PairRig) -> bool:
    return all(row["applied"] == 1 for row in await rig.control.get("faults"))


def _row(
    position: engine_pb2.HedgedPosition, case: Case, lot: Decimal, opened: Held, left: Held
) -> list[str]:
    return [
        f"{case.long} x {case.short}",
        case.symbol,
        "long" if case.lead == LONG else "short",
        position.lead_requested_quantity.value,
        position.lead_executed_quantity.value,
        position.lead_net_quantity.value,
        position.hedge_executed_quantity.value,
        plain(opened.net),
        plain(lot),
        plain(decimal_of(position.dust_quantity)),
        order_counts(position),
        plain(left.net),
        state_word(position),
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_every_pair_opens_matched_and_closes_flat(
    rig: PairRig, case: Case, record_property: Any
) -> None:
    """Lead, hedge and both exits fill in part first: the rest follows, in coins, to the lot."""
    await _arm(rig, case)
    before = await rig.books(case.long, case.short, case.symbol)
    position = await rig.enter(case.long, case.short, case.symbol, lead_leg=case.lead)
    held = await rig.books(case.long, case.short, case.symbol)
    assert position.state == OPEN, position
    opened = Held(held.long - before.long, held.short - before.short)
    assert opened.short < 0 < opened.long
    await rig.assert_matched(position, before, held)
    closed = await rig.leave(position)
    assert closed.state == CLOSED, closed
    after = await rig.books(case.long, case.short, case.symbol)
    await rig.assert_left(closed, before, after)
    assert await _all_struck(rig)
    left = Held(after.long - before.long, after.short - before.short)
    lots = [await rig.lot(venue, case.symbol) for venue in (case.long, case.short)]
    record_property("pair_row", _row(closed, case, max(lots), opened, left))
