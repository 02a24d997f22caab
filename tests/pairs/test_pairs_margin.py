"""Spot sold on margin beside coins and debts of the user's own, and over weeks of interest."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from opensqt.market_maker.v1 import engine_pb2, exchange_pb2
from tests.support.pair_rig import CLOSED, OPEN, SHORT, PairRig, running_pairs

pytestmark = pytest.mark.timeout(300)

PAIR = ("binanceusdm", "binance", "ETHUSDT")
VENUES = PAIR[:2]
POLICY = {"reconcile_interval": 1, "reconcile_confirm_wait": 0.2, "funding_read_interval": 600}
MONTH_SECONDS = 30 * 24 * 3600


async def _owed(rig: PairRig) -> Decimal:
    rows = await rig.control.get("balances")
    return Decimal(next(r["owed"] for r in rows if r["account"] == "binance").get("ETH", 0))


async def _until_matched(rig: PairRig, before: Decimal, bound: Decimal) -> None:
    """Wait until both accounts together hold what they held before, to less than a lot."""
    deadline = asyncio.get_running_loop().time() + 20
    while abs((await rig.books(*PAIR)).net - before) >= bound:
        assert asyncio.get_running_loop().time() < deadline, await rig.books(*PAIR)
        await asyncio.sleep(0.05)


async def _reconciled(rig: PairRig) -> bool:
    status = (await rig.engine.GetStatus(engine_pb2.GetStatusRequest())).status
    return bool(status.reconciled) and not status.state_reason


async def test_interest_is_bought_back_while_the_position_is_open(tmp_path: Path) -> None:
    """A month's interest is eight lots: bought as it is found, and nothing is owed at the end."""
    async with running_pairs(tmp_path, VENUES, policy=POLICY) as rig:
        before = await rig.books(*PAIR)
        position = await rig.enter(*PAIR, lead_leg=SHORT)
        assert position.state == OPEN, position
        lent = await _owed(rig)
        await rig.control.post("clock", {"advance_seconds": MONTH_SECONDS})
        # The venue charges when somebody looks.
        await rig.connectors["binance"].GetAccount(exchange_pb2.GetAccountRequest())
        assert (await _owed(rig)) - lent > Decimal("0.008")
        await _until_matched(rig, before.net, Decimal("0.001"))
        open_still = await rig.settled(position.position_id)
        assert open_still.state == OPEN, open_still
        closed = await rig.leave(open_still)
        assert closed.state == CLOSED, closed
        await rig.assert_matched(closed, before, await rig.books(*PAIR))
        assert await _owed(rig) < Decimal("0.0001")
        assert await _reconciled(rig)


async def test_interest_that_an_exit_overtook_is_bought_after_it(tmp_path: Path) -> None:
    """The exit repays the interest first and leaves as much of the debt: its exit goes on."""
    async with running_pairs(tmp_path, VENUES, policy=POLICY) as rig:
        before = await rig.books(*PAIR)
        position = await rig.enter(*PAIR, lead_leg=SHORT)
        await rig.control.post("clock", {"advance_seconds": MONTH_SECONDS})
        seen = {"operation": "get_account", "path": "/sapi/v1/margin/account"}
        await rig.fault("seen", {"type": "delay", "seconds": 0}, "binance", **seen)
        comparing = asyncio.create_task(rig.compared())
        # The interest is told, and before a second reading confirms it the exit has repaid it.
        await rig.until_struck("seen")
        await rig.leave(position)
        await comparing
        await _until_matched(rig, before.net, Decimal("0.001"))
        closed = await rig.settled(position.position_id)
        assert closed.state == CLOSED, closed
        await rig.assert_matched(closed, before, await rig.books(*PAIR))
        assert await _owed(rig) < Decimal("0.0001")


@pytest.mark.parametrize(
    ("coins", "borrowed"), [("3", "0"), ("0.5", "0"), ("0", "2")], ids=["rich", "some", "debt"]
)
async def test_what_the_user_has_on_margin_is_the_same_afterwards(
    tmp_path: Path, coins: str, borrowed: str
) -> None:
    """Coins of the user's own are sold before any are borrowed: they all come back."""
    own: dict[str, Any] = {"margin": {"USDT": Decimal(1_000_000), "ETH": Decimal(coins)}}
    async with running_pairs(tmp_path, VENUES, accounts={"binance": own}, policy=POLICY) as rig:
        if borrowed != "0":
            await rig.borrow("ETH", borrowed)
        before, owed = await rig.books(*PAIR), await _owed(rig)
        await rig.partial("lead", "0.77", "binance", "SELL")
        position = await rig.enter(*PAIR, lead_leg=SHORT)
        assert position.state == OPEN, position
        await rig.compared()
        # Nothing is taken for gone: the coins are missing because they were sold.
        still = await rig.settled(position.position_id)
        assert (still.state, still.state_reason) == (OPEN, ""), still
        assert await _reconciled(rig)
        await rig.assert_matched(still, before, await rig.books(*PAIR))
        closed = await rig.leave(still)
        assert closed.state == CLOSED, closed
        await rig.assert_matched(closed, before, await rig.books(*PAIR))
        assert await _owed(rig) <= owed + Decimal("0.0001")
