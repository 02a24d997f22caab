"""Unmodified ccxt.pro on the simulator's Bybit dialect: every unified call the connector needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from services.simulator.app import Application
from tests.support.connector import eventually
from tests.support.simulator import Control, ccxt_exchange, running_simulator

SPOT, LINEAR = "BTC/USDT", "BTC/USDT:USDT"
OPTIONS = {
    "fetchMarkets": {"types": ["spot", "linear"]},
    "watchPositions": {"fetchPositionsSnapshot": False, "awaitPositionsSnapshot": False},
}


@pytest.fixture
async def simulator() -> AsyncIterator[Application]:
    """A simulator of this process."""
    async with running_simulator() as application:
        yield application


@pytest.fixture
async def exchange(simulator: Application) -> AsyncIterator[Any]:
    """An unmodified ccxt.pro Bybit with keys, spot and linear markets loaded."""
    async with ccxt_exchange("bybit", simulator.address, options=OPTIONS) as found:
        await found.load_markets()
        yield found


async def test_public_market_data_is_read_as_of_the_venue(exchange: Any) -> None:
    """Markets, tickers, books, candles, funding and open interest hold for both categories."""
    assert exchange.markets[LINEAR]["linear"] is True
    assert exchange.markets[SPOT]["precision"]["amount"] > 0
    assert await exchange.fetch_time() > 0
    for symbol in (SPOT, LINEAR):
        ticker = await exchange.fetch_ticker(symbol)
        book = await exchange.fetch_order_book(symbol, 5)
        candles = await exchange.fetch_ohlcv(symbol, "1h", limit=10)
        assert ticker["bid"] <= ticker["ask"]
        assert len(book["bids"]) == 5
        assert book["bids"][0][0] < book["asks"][0][0]
        assert len(candles) == 10
        assert candles[0][0] < candles[-1][0]
    tickers = await exchange.fetch_tickers(params={"category": "linear"})
    rates = await exchange.fetch_funding_rates()
    past = await exchange.fetch_funding_rate_history(LINEAR, limit=20)
    interest = await exchange.fetch_open_interest(LINEAR)
    assert LINEAR in tickers
    assert rates[LINEAR]["interval"].endswith("h")
    assert len(past) == 20
    assert past[0]["timestamp"] < past[-1]["timestamp"]
    assert interest["openInterestAmount"] > 0


async def test_account_reads_show_wallet_fees_key_and_modes(exchange: Any) -> None:
    """Balance is the sum of both wallets; fees, key permissions and margin mode can be read."""
    balance = await exchange.fetch_balance()
    assert balance["USDT"]["total"] == 200_000
    assert balance["BTC"]["total"] == 0.5
    fee = await exchange.fetch_trading_fee(LINEAR)
    assert fee["taker"] == 0.0005
    key = await exchange.privateGetV5UserQueryApi()
    assert "Withdraw" not in key["result"]["permissions"]["Wallet"]
    mode = await exchange.fetch_margin_mode(LINEAR)
    assert mode["marginMode"] == "cross"
    await exchange.set_leverage(3, LINEAR)
    assert (await exchange.fetch_leverage(LINEAR))["longLeverage"] == 3


async def test_an_order_is_acknowledged_and_told_by_query_and_executions(exchange: Any) -> None:
    """The reply has ids only; the query has the fill, executions the fee, the position the size."""
    order = await exchange.create_order(
        LINEAR, "market", "buy", 0.02, None, {"clientOrderId": "bybit-one"}
    )
    assert order["status"] is None
    assert order["filled"] is None
    rows = await exchange.fetch_open_orders(LINEAR, params={"orderLinkId": "bybit-one"})
    assert [row["id"] for row in rows] == [order["id"]]
    assert rows[0]["status"] == "closed"
    assert rows[0]["filled"] == 0.02
    fills = await exchange.fetch_my_trades(LINEAR, params={"orderId": order["id"]})
    assert sum(fill["amount"] for fill in fills) == pytest.approx(0.02)
    assert all(fill["fee"]["currency"] == "USDT" for fill in fills)
    positions = await exchange.fetch_positions([LINEAR])
    assert positions[0]["side"] == "long"
    assert positions[0]["contracts"] == 0.02
    assert await exchange.fetch_funding_history(LINEAR) == []
    closed = await exchange.fetch_closed_orders(LINEAR)
    assert [row["id"] for row in closed] == [order["id"]]


async def test_resting_orders_are_listed_and_cancelled_by_either_id(exchange: Any) -> None:
    """Open orders come by symbol; a cancel works by id, by client id and for all."""
    price = (await exchange.fetch_ticker(SPOT))["bid"] * 0.9
    placed = [
        await exchange.create_order(
            SPOT, "limit", "buy", 0.001, price, {"clientOrderId": f"rest-{number}"}
        )
        for number in range(3)
    ]
    assert len(await exchange.fetch_open_orders(SPOT)) == 3
    await exchange.cancel_order(placed[0]["id"], SPOT)
    await exchange.cancel_order(None, SPOT, {"orderLinkId": "rest-1"})
    assert [row["clientOrderId"] for row in await exchange.fetch_open_orders(SPOT)] == ["rest-2"]
    await exchange.cancel_all_orders(SPOT)
    assert await exchange.fetch_open_orders(SPOT) == []
    with pytest.raises(ccxt.OrderNotFound):
        await exchange.cancel_order(placed[0]["id"], SPOT)


async def test_refusals_have_the_venues_own_codes(exchange: Any) -> None:
    """Funds, reduce-only and a bad symbol are refused with HTTP 200 and a retCode."""
    with pytest.raises(ccxt.InsufficientFunds):
        await exchange.create_order(SPOT, "market", "sell", 3)
    with pytest.raises(ccxt.InvalidOrder, match="110017"):
        await exchange.create_order(LINEAR, "market", "buy", 0.01, None, {"reduceOnly": True})
    exchange.secret = "another"
    with pytest.raises(ccxt.AuthenticationError, match="10004"):
        await exchange.fetch_balance()


async def test_a_post_only_order_that_would_take_is_cancelled_after_the_reply(
    exchange: Any,
) -> None:
    """It is acknowledged first; the query says cancelled, nothing executed, and why."""
    ask = (await exchange.fetch_ticker(LINEAR))["ask"]
    order = await exchange.create_order(
        LINEAR, "limit", "buy", 0.01, ask * 1.01, {"postOnly": True}
    )
    row = (await exchange.fetch_open_orders(LINEAR, params={"orderId": order["id"]}))[0]
    assert row["status"] == "canceled"
    assert row["filled"] == 0
    assert row["info"]["rejectReason"] == "EC_PostOnlyWillTakeLiquidity"


async def test_public_streams_bring_ticker_book_and_candles(exchange: Any) -> None:
    """The watch methods of ccxt.pro get tickers, books and candles of both categories."""
    async with asyncio.timeout(60):
        for symbol in (SPOT, LINEAR):
            ticker = await exchange.watch_ticker(symbol)
            book = await exchange.watch_order_book(symbol, 50)
            candles = await exchange.watch_ohlcv(symbol, "1m")
            assert ticker["last"] > 0
            assert book["bids"][0][0] < book["asks"][0][0]
            assert len(candles[-1]) == 6


async def test_the_private_stream_tells_orders_fills_positions_and_wallet(
    exchange: Any, simulator: Application
) -> None:
    """After the subscription each change comes with the venue's own ids and quantities."""
    control = Control(simulator.address)

    async def is_heard() -> bool:
        heard = (await control.get("streams"))["user_streams"] > 0
        return heard and len(_subscribed(exchange)) == 4

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        watching = [
            tasks.create_task(call)
            for call in (
                exchange.watch_orders(),
                exchange.watch_my_trades(),
                exchange.watch_positions(),
                exchange.watch_balance(),
            )
        ]
        await eventually(is_heard)
        order = await exchange.create_order(LINEAR, "market", "sell", 0.01)
    orders, trades, positions, _ = (task.result() for task in watching)
    assert orders[-1]["id"] == order["id"]
    assert trades[-1]["order"] == order["id"]
    assert Decimal(str(trades[-1]["amount"])) == Decimal("0.01")
    assert positions[-1]["side"] == "short"


def _subscribed(exchange: Any) -> list[str]:
    client = next(iter(exchange.clients.values()))
    # Keyed by what is watched for; the login is none of them.
    return [name for name in client.subscriptions if name != "authenticated"]


async def test_the_control_endpoint_shows_requests_orders_and_fills(
    exchange: Any, simulator: Application
) -> None:
    """The witness names venue, account, client id, side and fate as it does for Binance."""
    await exchange.create_order(SPOT, "market", "sell", 0.01, None, {"clientOrderId": "seen"})
    control = Control(simulator.address)
    request = (await control.get("requests"))[0]
    assert request["venue"] == "bybit-spot"
    assert request["client_order_id"] == "seen"
    assert request["side"] == "SELL"
    assert request["fate"] == "handled"
    order = (await control.get("orders"))[0]
    assert order["executed"] == "0.01"
    assert (await control.get("trades"))[0]["client_order_id"] == "seen"
