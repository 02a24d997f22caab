"""What an entry and an exit may meet, on real parts: slices, refusals, zero fills, lost replies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
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
    decimal_of,
    order_classes,
    order_counts,
    running_pairs,
    seen_row,
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

VENUES = ("binance", "binanceusdm", "okx-swap", "bybit-linear")
# Long leg, short leg, symbol; the long leg leads. One of each family, and spot sold on margin.
PAIRS = [
    ("binance", "binanceusdm", "ETHUSDT"),
    ("binance", "okx-swap", "DOGEUSDT"),
    ("bybit-linear", "binanceusdm", "PEPEUSDT"),
    ("binanceusdm", "binance", "LINKUSDT"),
]
REFUSALS: dict[str, dict[str, Any]] = {
    "binance": {"type": "reject", "code": -2010, "msg": "Account has insufficient balance."},
    "binanceusdm": {"type": "reject", "code": -2019, "msg": "Margin is insufficient."},
    "okx-swap": {"type": "reject", "code": 51008, "msg": "Insufficient balance"},
}
"""What each venue that hedges here says for want of funds."""
LOST: dict[str, dict[str, Any]] = {
    "reply": {"type": "drop_after"},
    "request": {"type": "drop_before"},
    "late": {"type": "late_execution", "seconds": 0.2},
}
"""Ways to an unknown outcome: filled, never arrived, executed after the venue said it knew not."""
ORDERS_OF = {
    "lead": ("1/1/0/2", "1/0/0/0"),
    "hedge": ("1/1/0/2", "1/2/0/2"),
    "unwind": ("1/1/1/0", "1/1/2/0"),
    "exit": ("1/1/0/2", "1/1/0/3"),
}
"""All orders of a position one of whose orders arrived unheard, and of one where it never did."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PairRig]:
    """Run four venues and one engine that works in slices, for this module."""
    folder: Path = tmp_path_factory.mktemp("pairs")
    policy = {"max_slice_notional": 1500, "max_exit_slice_notional": 1500, "hedge_attempts": 3}
    async with running_pairs(folder, VENUES, policy=policy) as rig:
        yield rig


@pytest_asyncio.fixture(loop_scope="module")
async def rig(running: PairRig) -> AsyncIterator[PairRig]:
    """Lend the venues to one test, and end its faults."""
    yield running
    await running.control.delete("faults")
    # An order that was unknown past the budget has stopped entries.
    await running.resume()


def _tell(
    record_property: Any,
    pair: tuple[str, str, str],
    what: str,
    ended: engine_pb2.HedgedPosition,
) -> None:
    """Enter a row in the table that is printed after the tests."""
    record_property("pair_seen", seen_row(what, pair, ended))


async def _closed_flat(
    rig: PairRig, position: engine_pb2.HedgedPosition, before: Held
) -> engine_pb2.HedgedPosition:
    """Close what is open and check both legs by the books; returns the position at its end."""
    long, short = position.long_leg.instrument.exchange, position.short_leg.instrument.exchange
    if position.state == OPEN:
        await rig.assert_matched(position, before, await rig.books(long, short, position.symbol))
        position = await rig.leave(position)
        assert position.state == CLOSED, position
    after = await rig.books(long, short, position.symbol)
    await rig.assert_left(position, before, after)
    return position


@pytest.mark.parametrize(("long", "short", "symbol"), PAIRS)
async def test_slices_are_hedged_one_after_the_other(
    rig: PairRig, long: str, short: str, symbol: str, record_property: Any
) -> None:
    """A lead above the slice goes in several, each hedged before the next; so does the exit."""
    before = await rig.books(long, short, symbol)
    position = await rig.enter(long, short, symbol)
    assert order_classes(position) == ["entry", "hedge"] * 3, position
    ended = await _closed_flat(rig, position, before)
    assert order_classes(ended).count("exit") >= 6
    _tell(record_property, (long, short, symbol), "slices", ended)


@pytest.mark.parametrize(("long", "short", "symbol"), PAIRS)
async def test_a_hedge_that_falls_short_is_topped_up(
    rig: PairRig, long: str, short: str, symbol: str, record_property: Any
) -> None:
    """Two hedges in a row fill in part: the rest follows at a wider bound."""
    before = await rig.books(long, short, symbol)
    await rig.partial("short", "0.31", short, "SELL", times=2)
    position = await rig.enter(long, short, symbol, notional=Decimal(1_400))
    assert order_counts(position) == "1/3/0/0", position
    ended = await _closed_flat(rig, position, before)
    _tell(record_property, (long, short, symbol), "top-ups", ended)


@pytest.mark.parametrize(("long", "short", "symbol"), PAIRS)
async def test_a_lead_whose_hedge_is_refused_is_unwound(
    rig: PairRig, long: str, short: str, symbol: str, record_property: Any
) -> None:
    """No funds for the hedge: the lead goes back, in parts where its venue gives it in parts."""
    before = await rig.books(long, short, symbol)
    await rig.fault("no-funds", REFUSALS[short], short, "SELL", times=None)
    await rig.partial("back", "0.37", long, "SELL")
    position = await rig.enter(long, short, symbol, notional=Decimal(1_400))
    assert position.state == FLAT, position
    assert order_classes(position).count("unwind") >= 2
    ended = await _closed_flat(rig, position, before)
    _tell(record_property, (long, short, symbol), "hedge refused", ended)


@pytest.mark.parametrize(("long", "short", "symbol"), PAIRS)
async def test_a_hedge_that_ends_short_leaves_what_it_matched(
    rig: PairRig, long: str, short: str, symbol: str, record_property: Any
) -> None:
    """Part of the hedge fills, then there are no funds: what is matched stays, the rest goes."""
    before = await rig.books(long, short, symbol)
    await rig.partial("short", "0.53", short, "SELL")
    await rig.fault("no-funds", REFUSALS[short], short, "SELL", times=None, nth=2)
    position = await rig.enter(long, short, symbol, notional=Decimal(1_400))
    assert position.state == OPEN, position
    assert position.state_reason == "HEDGE_SHORT_REST_UNWOUND"
    ended = await _closed_flat(rig, position, before)
    _tell(record_property, (long, short, symbol), "hedge ends short", ended)


@pytest.mark.parametrize(("long", "short", "symbol"), PAIRS)
async def test_a_lead_that_fills_nothing_sends_no_hedge(
    rig: PairRig, long: str, short: str, symbol: str, record_property: Any
) -> None:
    """Nothing filled, nothing hedged: the position ends flat after one order."""
    before = await rig.books(long, short, symbol)
    await rig.fault("nothing", {"type": "zero_fill"}, long, "BUY", times=None)
    position = await rig.enter(long, short, symbol)
    assert position.state == FLAT, position
    assert order_counts(position) == "1/0/0/0"
    ended = await _closed_flat(rig, position, before)
    _tell(record_property, (long, short, symbol), "lead fills nothing", ended)


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("stage", ["lead", "hedge", "unwind", "exit"])
@pytest.mark.parametrize(("long", "short", "symbol"), PAIRS)
async def test_an_order_of_unknown_outcome_is_counted_once(
    rig: PairRig,
    long: str,
    short: str,
    symbol: str,
    stage: str,
    lost: str,
    record_property: Any,
) -> None:
    """Whether it filled, never arrived or came late, no order is sent again or taken for filled."""
    before = await rig.books(long, short, symbol)
    side = {"lead": "BUY", "hedge": "SELL", "unwind": "SELL", "exit": "SELL"}[stage]
    venue = short if stage == "hedge" else long
    await rig.fault("lost", LOST[lost], venue, side)
    if stage == "unwind":
        await rig.fault("no-funds", REFUSALS[short], short, "SELL", times=None)
    position = await rig.enter(long, short, symbol, notional=Decimal(1_400))
    ended = await _closed_flat(rig, position, before)
    assert order_counts(ended) == ORDERS_OF[stage][lost == "request"], ended
    (row,) = [r for r in await rig.control.get("faults") if r["rule"]["id"] == "lost"]
    assert row["applied"] == 1
    _tell(record_property, (long, short, symbol), f"{stage}: {lost} lost", ended)


@pytest.mark.parametrize(("long", "short", "symbol"), PAIRS)
async def test_a_reduction_in_parts_keeps_the_legs_matched(
    rig: PairRig, long: str, short: str, symbol: str, record_property: Any
) -> None:
    """A third goes off both legs, each order filled in part first."""
    before = await rig.books(long, short, symbol)
    position = await rig.enter(long, short, symbol)
    held = await rig.books(long, short, symbol)
    await rig.partial("long", "0.41", long, "SELL")
    await rig.partial("short", "0.23", short, "BUY")
    reduced = await rig.reduce(position, "0.33")
    now = await rig.books(long, short, symbol)
    assert reduced.state == OPEN, reduced
    await rig.assert_matched(reduced, before, now)
    lot = max([await rig.lot(venue, symbol) for venue in (long, short)])
    kept = (held.long - before.long) * Decimal("0.67")
    assert abs((now.long - before.long) - kept) <= 2 * lot
    ended = await _closed_flat(rig, reduced, before)
    _tell(record_property, (long, short, symbol), "reduce by a third", ended)


async def test_close_all_ends_every_pair_at_once(rig: PairRig) -> None:
    """Four pairs on four venues, each with a leg that fills in part: all end flat."""
    before = [await rig.books(*pair) for pair in PAIRS]
    for pair in PAIRS:
        assert (await rig.enter(*pair)).state == OPEN
    for number, venue in enumerate(VENUES):
        await rig.partial(f"sell-{number}", "0.47", venue, "SELL")
        await rig.partial(f"buy-{number}", "0.36", venue, "BUY")
    ended = await rig.leave_all()
    assert [one.state for one in ended] == [CLOSED] * len(PAIRS), ended
    of = {one.symbol: one for one in ended}
    for pair, snapshot in zip(PAIRS, before, strict=True):
        await _closed_flat(rig, of[pair[2]], snapshot)


async def test_a_fill_below_the_hedges_minimum_goes_back(
    rig: PairRig, record_property: Any
) -> None:
    """USD-M takes no order of BTC below 100 USDT: a lead that filled 50 of them is unwound."""
    before = await rig.books("binance", "binanceusdm", "BTCUSDT")
    await rig.partial("little", "0.035", "binance", "BUY")
    pair = ("binance", "binanceusdm", "BTCUSDT")
    position = await rig.enter(*pair, notional=Decimal(1_400))
    assert position.state == FLAT, position
    ended = await _closed_flat(rig, position, before)
    _tell(record_property, pair, "fill below hedge's minimum", ended)


async def test_a_fill_that_neither_venue_trades_is_booked(
    rig: PairRig, record_property: Any
) -> None:
    """A lead that filled 3 USDT can neither be hedged nor sold: it is told as dust."""
    before = await rig.books("binance", "binanceusdm", "ETHUSDT")
    await rig.partial("crumb", "0.0022", "binance", "BUY")
    pair = ("binance", "binanceusdm", "ETHUSDT")
    position = await rig.enter(*pair, notional=Decimal(1_400))
    assert position.state == FLAT, position
    after = await rig.books(*pair)
    assert decimal_of(position.dust_quantity) == after.long - before.long > 0
    ended = await _closed_flat(rig, position, before)
    _tell(record_property, pair, "fill is dust", ended)


@pytest.mark.parametrize(("long", "short", "symbol"), PAIRS)
async def test_the_short_leg_leads_as_well(
    rig: PairRig, long: str, short: str, symbol: str, record_property: Any
) -> None:
    """The short leg first, both in odd parts, and its reply lost: hedged by what it filled."""
    before = await rig.books(long, short, symbol)
    await rig.partial("lead", "0.59", short, "SELL")
    await rig.fault("lost", {"type": "drop_after"}, short, "SELL")
    await rig.partial("hedge", "0.43", long, "BUY")
    position = await rig.enter(long, short, symbol, lead_leg=SHORT, notional=Decimal(1_400))
    assert position.state == OPEN, position
    assert position.lead_leg == SHORT != LONG
    ended = await _closed_flat(rig, position, before)
    _tell(record_property, (long, short, symbol), "short leads, reply lost", ended)
