"""Passive entry on real parts: the lead rests post-only, is quoted anew, each fill is hedged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from opensqt.market_maker.v1 import engine_pb2
from tests.support.pair_rig import (
    CLOSED,
    FLAT,
    LONG,
    OPEN,
    SHORT,
    Held,
    PairRig,
    running_pairs,
    seen_row,
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

VENUES = ("binance", "binanceusdm", "okx-swap", "bybit-linear")
CASES = [
    # Long leg, short leg, symbol, the leg that rests.
    ("binance", "binanceusdm", "ETHUSDT", LONG),
    ("binance", "binanceusdm", "BTCUSDT", SHORT),
    ("binance", "okx-swap", "DOGEUSDT", SHORT),
    ("bybit-linear", "binanceusdm", "PEPEUSDT", LONG),
    ("okx-swap", "bybit-linear", "SOLUSDT", LONG),
    ("binanceusdm", "binance", "LINKUSDT", SHORT),
]
LOST = [("binance", "binanceusdm", "ETHUSDT"), ("okx-swap", "bybit-linear", "SOLUSDT")]
TRIES = 5
SPEED = 30
"""Seconds of the market a second, so that prices come to where a quote rests."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A position at its end, how many quotes it had and in how many parts they filled."""

    position: engine_pb2.HedgedPosition
    quotes: int
    fills: int


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PairRig]:
    """Run four venues on a moving market and an engine that quotes, for this module."""
    folder: Path = tmp_path_factory.mktemp("pairs")
    policy = {
        "passive_entry": True,
        "requote_interval": 0.2,
        "passive_timeout": 8,
        # The market moves thirty times as fast: what is too dear for a hedge lies farther away.
        "hedge_bound_ratios": ["0.01", "0.02"],
        "max_slice_notional": 1500,
    }
    async with running_pairs(folder, VENUES, policy=policy) as rig:
        yield rig


@pytest_asyncio.fixture(loop_scope="module")
async def rig(running: PairRig) -> AsyncIterator[PairRig]:
    """Lend the venues to one test, the market moving; ends its faults."""
    await running.control.post("clock", {"speed": SPEED})
    yield running
    await running.control.delete("faults")
    await running.resume()


async def _ended(rig: PairRig, position: engine_pb2.HedgedPosition, before: Held) -> Ended:
    """Close what is open; check books, makers and ids, and return what became of the quotes."""
    long, short = position.long_leg.instrument.exchange, position.short_leg.instrument.exchange
    await rig.assert_matched(position, before, await rig.books(long, short, position.symbol))
    if position.state == OPEN:
        position = await rig.leave(position)
        assert position.state == CLOSED, position
    await rig.assert_matched(position, before, await rig.books(long, short, position.symbol))
    await rig.assert_no_id_twice()
    quotes = [row for row in await rig.orders(position) if row["client_order_id"][17] == "e"]
    names = {row["client_order_id"] for row in quotes}
    fills = [row for row in await rig.control.get("trades") if row["client_order_id"] in names]
    assert all(row["is_maker"] for row in fills)
    # Nothing of ours rests any more.
    assert not [row for row in quotes if row["status"] in ("NEW", "PARTIALLY_FILLED")]
    return Ended(position, len(quotes), len(fills))


def _row(pair: tuple[str, str, str], what: str, ended: Ended) -> list[str]:
    return seen_row(f"passive: {what}, in {ended.fills}", pair, ended.position)


@pytest.mark.parametrize(("long", "short", "symbol", "lead"), CASES)
async def test_a_resting_lead_is_hedged_fill_by_fill(
    rig: PairRig,
    long: str,
    short: str,
    symbol: str,
    lead: engine_pb2.LegSide.ValueType,
    record_property: Any,
) -> None:
    """Every quote is a maker's, and what they filled is hedged to the lot, part by part."""
    before = await rig.books(long, short, symbol)
    quoted = (long, "BUY") if lead == LONG else (short, "SELL")
    hedged = (short, "SELL") if lead == LONG else (long, "BUY")
    # The market may run away from a quote for all its time: then nothing filled, and once more.
    for _ in range(TRIES):
        await rig.partial("quotes", "0.43", *quoted, times=None)
        await rig.partial("hedge", "0.37", *hedged)
        position = await rig.enter(long, short, symbol, lead_leg=lead)
        ended = await _ended(rig, position, before)
        if ended.fills:
            break
    assert position.state == OPEN, position
    record_property("pair_seen", _row((long, short, symbol), "quotes", ended))


@pytest.mark.parametrize("lost", ["drop_after", "drop_before"])
@pytest.mark.parametrize("operation", ["place_order", "cancel_order"])
@pytest.mark.parametrize(("long", "short", "symbol"), LOST)
async def test_a_quote_of_unknown_fate_never_rests_beside_another(
    rig: PairRig,
    long: str,
    short: str,
    symbol: str,
    operation: str,
    lost: str,
    record_property: Any,
) -> None:
    """A quote or its cancel is lost on the way: the next leaves once the last one is proven."""
    before = await rig.books(long, short, symbol)
    # Cancels name no side, and the hedge is never cancelled.
    side = "BUY" if operation == "place_order" else None
    await rig.fault("lost", {"type": lost}, long, side, operation=operation)
    position = await rig.enter(long, short, symbol, lead_leg=LONG)
    ended = await _ended(rig, position, before)
    (row,) = await rig.control.get("faults")
    assert row["applied"] == 1
    what = f"{operation.split('_')[0]}, {lost}"
    record_property("pair_seen", _row((long, short, symbol), what, ended))


async def test_a_lead_nobody_takes_ends_flat(rig: PairRig, record_property: Any) -> None:
    """On a market that stands still nothing fills: the last quote is taken back in time."""
    await rig.control.post("clock", {"speed": 0})
    pair = ("binance", "binanceusdm", "ETHUSDT")
    before = await rig.books(*pair)
    position = await rig.enter(*pair, lead_leg=LONG)
    assert position.state == FLAT, position
    ended = await _ended(rig, position, before)
    assert ended.fills == 0
    record_property("pair_seen", _row(pair, "nobody takes", ended))


async def test_a_quote_whose_hedge_is_refused_goes_back(rig: PairRig, record_property: Any) -> None:
    """No funds for the hedge: quoting ends, and what had filled is unwound."""
    pair = ("binance", "binanceusdm", "ETHUSDT")
    before = await rig.books(*pair)
    refusal = {"type": "reject", "code": -2019, "msg": "Margin is insufficient."}
    await rig.fault("no-funds", refusal, "binanceusdm", "SELL", times=None)
    for _ in range(TRIES):
        position = await rig.enter(*pair, lead_leg=LONG)
        assert position.state == FLAT, position
        ended = await _ended(rig, position, before)
        if ended.fills:
            break
    assert ended.fills >= 1
    record_property("pair_seen", _row(pair, "hedge refused", ended))
