"""Unmodified ccxt.pro on the simulator's OKX dialect: REST, both streams, refusals, faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from tests.support.connector import eventually
from tests.support.simulator import (
    ACCOUNT,
    API_KEY,
    API_SECRET,
    Control,
    ccxt_exchange,
    running_simulator,
    simulator_settings,
)

SPOT, SWAP, OTHER = "BTC/USDT", "BTC/USDT:USDT", "ETH/USDT:USDT"
PASSPHRASE = "test-passphrase"
SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Bench:
    """ccxt's OKX on a simulator, and the simulator's own books."""

    okx: Any
    control: Control


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Run a simulator whose account has a passphrase, and ccxt with its markets loaded."""
    account = {
        "name": ACCOUNT,
        "api_key": API_KEY,
        "api_secret": API_SECRET,
        "passphrase": PASSPHRASE,
        "spot": {"USDT": Decimal(100_000), "BTC": Decimal("0.5")},
        "futures": {"USDT": Decimal(100_000)},
    }
    async with (
        running_simulator(simulator_settings(accounts=[account])) as simulator,
        ccxt_exchange("okx", simulator.address) as okx,
    ):
        okx.password = PASSPHRASE
        await okx.load_markets()
        yield Bench(okx, Control(simulator.address))


async def test_market_data_is_what_ccxt_reads(bench: Bench) -> None:
    """Contracts, tickers, books, candles, and times of the venue."""
    okx = bench.okx
    market = okx.market(SWAP)
    assert (market["contractSize"], market["precision"]["amount"]) == (0.01, 0.1)
    coins = okx.market("1000PEPE/USDT:USDT")
    assert (coins["contractSize"], coins["precision"]["amount"]) == (10.0, 1.0)
    assert abs(await okx.fetch_time() - okx.milliseconds()) < 60_000
    ticker, spot = await okx.fetch_ticker(SWAP), await okx.fetch_ticker(SPOT)
    assert ticker["bid"] < ticker["ask"]
    assert spot["last"] == pytest.approx(ticker["last"], rel=0.01)
    assert set(await okx.fetch_tickers([SWAP, OTHER])) == {SWAP, OTHER}
    book = await okx.fetch_order_book(SWAP, 5)
    assert len(book["bids"]) == len(book["asks"]) == 5
    candles = await okx.fetch_ohlcv(SWAP, "1h", None, 3)
    assert [row[0] - candles[0][0] for row in candles] == [0, 3_600_000, 7_200_000]
    since = candles[0][0]
    assert (await okx.fetch_ohlcv(SPOT, "1m", since, 5))[0][0] == since


async def test_funding_and_open_interest_are_what_ccxt_reads(bench: Bench) -> None:
    """The interval is the distance of two settlements; interest is in contracts and in the base."""
    okx = bench.okx
    rate = await okx.fetch_funding_rate(SWAP)
    hours = (rate["nextFundingTimestamp"] - rate["fundingTimestamp"]) // 3_600_000
    assert rate["interval"] == f"{hours}h"
    assert {SWAP, OTHER} <= set(await okx.fetch_funding_rates())
    history = await okx.fetch_funding_rate_history(SWAP, None, 5)
    times = [row["timestamp"] for row in history]
    assert (len(times), times) == (5, sorted(times))
    later = await okx.fetch_funding_rate_history(SWAP, times[2], 5)
    assert [row["timestamp"] for row in later][:3] == times[2:]
    interest = await okx.fetch_open_interest(SWAP)
    assert interest["baseVolume"] == pytest.approx(interest["openInterestAmount"] / 100)
    assert {SWAP, OTHER} <= set(await okx.fetch_open_interests())
    mark = await okx.fetch_mark_price(SWAP)
    assert mark["markPrice"] == pytest.approx(70_000, rel=0.5)


async def test_account_is_what_ccxt_reads(bench: Bench) -> None:
    """Balances of both wallets, fees, leverage, position mode, key, currencies."""
    okx = bench.okx
    assert (await okx.fetch_balance())["USDT"]["total"] == 200_000
    assert (await okx.fetch_trading_fee(SWAP))["taker"] == 0.0005
    assert (await okx.fetch_trading_fee(SPOT))["taker"] == 0.001
    await okx.set_leverage(5, SWAP, {"mgnMode": "cross"})
    leverage = await okx.fetch_leverage(SWAP, {"marginMode": "cross"})
    assert leverage["longLeverage"] == 5
    assert (await okx.fetch_position_mode())["hedged"] is False
    await okx.set_position_mode(True)
    assert (await okx.fetch_position_mode())["hedged"] is True
    assert (await okx.fetch_accounts())[0]["info"]["perm"] == "read_only,trade"
    assert "BTC" in await okx.fetch_currencies()
    assert await okx.fetch_funding_history(SWAP) == []


async def test_orders_by_both_ids_and_their_executions(bench: Bench) -> None:
    """Acknowledged, asked for by either id, listed live and ended, cancelled, with executions."""
    okx = bench.okx
    done = await okx.create_order(SWAP, "market", "buy", 2, None, {"clientOrderId": "done1"})
    assert (done["filled"], done["status"]) == (None, None)
    rest = await okx.create_order(SWAP, "limit", "buy", 1, 60_000, {"clientOrderId": "rest1"})
    found = await okx.fetch_order(None, SWAP, {"clientOrderId": "rest1"})
    assert (found["id"], found["status"], found["amount"]) == (rest["id"], "open", 1)
    assert [row["id"] for row in await okx.fetch_open_orders(SWAP)] == [rest["id"]]
    await okx.cancel_order(None, SWAP, {"clientOrderId": "rest1"})
    assert (await okx.fetch_order(rest["id"], SWAP))["status"] == "canceled"
    assert [row["id"] for row in await okx.fetch_closed_orders(SWAP)] == [done["id"]]
    assert [row["id"] for row in await okx.fetch_canceled_orders(SWAP)] == [rest["id"]]
    (trade,) = await okx.fetch_order_trades(done["id"], SWAP)
    assert (trade["amount"], trade["fee"]["currency"]) == (2, "USDT")
    # Paid is above zero in ccxt, below in the venue's row.
    assert trade["fee"]["cost"] > 0 > Decimal(trade["info"]["fee"])
    assert len(await okx.fetch_my_trades(SWAP)) == 1
    (position,) = await okx.fetch_positions()
    assert (position["contracts"], position["side"], position["leverage"]) == (2, "long", 20)
    (book,) = await bench.control.get("positions")
    assert book["quantity"] == "0.02"


async def test_batches_tell_each_order_apart(bench: Bench) -> None:
    """One of two is refused with its own code; the other lives, and is cancelled in a batch."""
    okx = bench.okx
    order = {"symbol": SWAP, "type": "limit", "side": "buy", "price": 60_000}
    rows = await okx.create_orders([{**order, "amount": 1}, {**order, "amount": 1_000_000}])
    assert [row["info"]["sCode"] for row in rows] == ["0", "51202"]
    assert len(await bench.control.get("requests")) == 2
    await okx.cancel_orders([rows[0]["id"]], SWAP)
    assert await okx.fetch_open_orders(SWAP) == []


async def test_refusals_have_the_venues_codes(bench: Bench) -> None:
    """Funds, lots, ids, reduce-only, what is gone, modes: as ccxt's own table knows them."""
    okx = bench.okx

    async def refused(error: type[Exception], code: str, call: Any) -> None:
        with pytest.raises(error, match=code):
            await call

    buy = ("limit", "buy")
    # Two dollars in all: a hundredth of a bitcoin at twenty-fold leverage asks for thirty.
    await bench.control.post("accounts", {"name": ACCOUNT, "futures": {"USDT": "2"}})
    await refused(ccxt.InsufficientFunds, "51008", okx.create_order(SWAP, *buy, 1, 68_000))
    await bench.control.post("accounts", {"name": ACCOUNT, "futures": {"USDT": "100000"}})
    reduce = {"reduceOnly": True}
    await refused(
        ccxt.ExchangeError, "51169", okx.create_order(SWAP, "market", "sell", 1, None, reduce)
    )
    await refused(ccxt.OrderNotFound, "51400", okx.cancel_order("123", SWAP))
    await refused(ccxt.OrderNotFound, "51603", okx.fetch_order("123", SWAP))
    name = {"clientOrderId": "twice"}
    await okx.create_order(SWAP, *buy, 1, 60_000, name)
    await refused(ccxt.InvalidOrder, "51016", okx.create_order(SWAP, *buy, 1, 60_000, name))
    hedged = {"positionSide": "long"}
    await refused(
        ccxt.BadRequest, "posSide", okx.create_order(SWAP, "market", "buy", 1, None, hedged)
    )
    dashed = {"clientOrderId": "a-b"}
    await refused(ccxt.BadRequest, "clOrdId", okx.create_order(SWAP, *buy, 1, 60_000, dashed))


async def test_signatures_passphrase_stamp_and_expiry_are_checked(bench: Bench) -> None:
    """Each has a refusal of its own, and nothing is placed."""
    okx = bench.okx
    okx.headers = {"expTime": "1"}
    with pytest.raises(ccxt.ExchangeError, match="50036"):
        await okx.create_order(SWAP, "market", "buy", 1)
    okx.headers = {}
    okx.password = "wrong"
    with pytest.raises(ccxt.AuthenticationError, match="50105"):
        await okx.fetch_balance()
    okx.password, okx.secret = PASSPHRASE, "wrong"
    with pytest.raises(ccxt.AuthenticationError, match="50113"):
        await okx.fetch_balance()
    okx.secret, okx.options["timeDifference"] = API_SECRET, 60_000
    with pytest.raises(ccxt.InvalidNonce, match="50102"):
        await okx.fetch_balance()
    assert await bench.control.get("orders") == []


async def test_faults_and_limits_speak_the_venues_words(bench: Bench) -> None:
    """A rule's refusal is told in the row of the order; too many requests are refused with 429."""
    okx = bench.okx
    reject = {"type": "reject", "code": 51020, "msg": "Too small"}
    await bench.control.fault(reject, operation="place_order", times=1)
    with pytest.raises(ccxt.InvalidOrder, match='"sCode":"51020"'):
        await okx.create_order(SWAP, "market", "buy", 1)
    late = {"type": "late_execution", "seconds": 0.1}
    await bench.control.fault(late, operation="place_order", times=1)
    with pytest.raises(ccxt.RequestTimeout, match="50004"):
        await okx.create_order(SWAP, "market", "buy", 1)
    many = [okx.fetch_trading_fee(SWAP) for _ in range(20)]
    answers = await asyncio.gather(*many, return_exceptions=True)
    assert any(isinstance(answer, ccxt.RateLimitExceeded) for answer in answers)


async def test_public_streams(bench: Bench) -> None:
    """Tickers, books of three depths, candles, mark price and funding by stream."""
    okx = bench.okx
    calls = {
        "ticker": okx.watch_ticker(SWAP),
        "tops": okx.watch_bids_asks([SWAP]),
        "book": okx.watch_order_book(SPOT),
        "five": okx.watch_order_book(SWAP, 5, {"depth": "books5"}),
        "candles": okx.watch_ohlcv(SWAP, "1m"),
        "mark": okx.watch_mark_price(SWAP),
        "funding": okx.watch_funding_rate(SWAP),
    }
    async with asyncio.timeout(SECONDS):
        answers = dict(zip(calls, await asyncio.gather(*calls.values()), strict=True))
    assert answers["ticker"]["last"] == answers["candles"][-1][4]
    assert answers["tops"][SWAP]["bid"] < answers["tops"][SWAP]["ask"]
    assert (len(answers["book"]["bids"]) > 5, len(answers["five"]["bids"])) == (True, 5)
    assert answers["funding"]["fundingRate"] is not None


async def test_private_streams(bench: Bench) -> None:
    """Login, then orders with their fill, the position and the account."""
    okx = bench.okx
    first = await asyncio.wait_for(okx.watch_balance(), SECONDS)
    assert first["USDT"]["total"] == 200_000
    loop = asyncio.get_running_loop()
    watching = [loop.create_task(call) for call in (okx.watch_orders(), okx.watch_my_trades())]

    async def is_subscribed() -> bool:
        return bool((await bench.control.get("streams"))["user_streams"])

    await eventually(is_subscribed)
    async with asyncio.timeout(SECONDS):
        # Subscribed to orders only once the venue has said so.
        while not any(task.done() for task in watching):
            await okx.create_order(SWAP, "market", "buy", 1)
            await asyncio.sleep(0.05)
        orders, trades = await asyncio.gather(*watching)
    assert orders[-1]["symbol"] == trades[-1]["symbol"] == SWAP
    assert (trades[-1]["amount"], trades[-1]["fee"]["currency"]) == (1, "USDT")
    async with asyncio.timeout(SECONDS):
        positions = await okx.watch_positions([SWAP])
    assert positions[0]["contracts"] >= 1
