"""Unmodified ccxt `binance` does its whole endpoint list against the simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import ccxt
import pytest

from services.simulator.app import Application
from tests.support.simulator import Control, ccxt_exchange, running_simulator

SYMBOL = "BTC/USDT"
OTHER = "ETH/USDT"
Call = Callable[[Any], Awaitable[Any]]


@pytest.fixture
async def simulator() -> AsyncIterator[Application]:
    """A simulator of its own for each test."""
    async with running_simulator() as application:
        yield application


@pytest.fixture
async def binance(simulator: Application) -> AsyncIterator[Any]:
    """The spot exchange with its markets loaded by the shortest way."""
    options = {
        "fetchCurrencies": False,
        "fetchMargins": False,
        "fetchMarkets": {"types": ["spot"]},
        "fetchOpenOrders": {"warnWithoutSymbol": False},
    }
    async with ccxt_exchange("binance", simulator.address, options=options) as exchange:
        await exchange.load_markets()
        yield exchange


READS: dict[str, Call] = {
    "ticker": lambda x: x.fetch_ticker(SYMBOL),
    "tickers": lambda x: x.fetch_tickers(),
    "two tickers": lambda x: x.fetch_tickers([SYMBOL, OTHER]),
    "bids and asks": lambda x: x.fetch_bids_asks(),
    "last prices": lambda x: x.fetch_last_prices(),
    "candles": lambda x: x.fetch_ohlcv(SYMBOL, "1h"),
    "99 candles": lambda x: x.fetch_ohlcv(SYMBOL, "1h", limit=99),
    "book": lambda x: x.fetch_order_book(SYMBOL, 20),
    "balance": lambda x: x.fetch_balance(),
    "margin balance": lambda x: x.fetch_balance({"type": "margin"}),
    "trading fees": lambda x: x.fetch_trading_fees(),
    "trading fee": lambda x: x.fetch_trading_fee(SYMBOL),
    "time": lambda x: x.fetch_time(),
    "borrow rate": lambda x: x.fetch_cross_borrow_rate("BTC"),
    "key permissions": lambda x: x.sapi_get_account_apirestrictions(),
}


async def test_reads(binance: Any) -> None:
    """Every read of the list comes back parsed and not empty."""
    empty = [name for name, read in READS.items() if not await read(binance)]
    assert empty == []


@pytest.mark.parametrize("keys", [None, ("test-api-key", "test-api-secret")])
async def test_load_markets_with_its_hidden_calls(
    simulator: Application, keys: tuple[str, str] | None
) -> None:
    """The default load reads spot, linear and inverse, with keys also wallets and margin pairs."""
    async with ccxt_exchange("binance", simulator.address, keys=keys) as exchange:
        markets = await exchange.load_markets()
    assert markets[SYMBOL]["spot"]
    assert markets["BTC/USDT:USDT"]["swap"]
    assert markets[SYMBOL]["precision"]["amount"] > 0
    assert markets[SYMBOL]["limits"]["cost"]["min"] > 0


ORDERS: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "market": (("market", "buy", 0.01), {}, "closed"),
    "limit": (("limit", "buy", 0.01, 0.95), {}, "open"),
    "IOC": (("limit", "buy", 0.01, 1.01), {"timeInForce": "IOC"}, "closed"),
    "FOK": (("limit", "buy", 0.01, 1.01), {"timeInForce": "FOK"}, "closed"),
    "post-only": (("limit", "buy", 0.01, 0.9), {"postOnly": True}, "open"),
    "PO": (("limit", "buy", 0.01, 0.9), {"timeInForce": "PO"}, "open"),
    "own id": (("market", "sell", 0.01), {"clientOrderId": "abc-1"}, "closed"),
    "cross margin": (
        ("market", "sell", 0.01),
        {"marginMode": "cross", "sideEffectType": "AUTO_BORROW_REPAY"},
        "closed",
    ),
}


async def test_order_kinds(binance: Any) -> None:
    """Each kind of order comes back with the status it must have."""
    last = (await binance.fetch_ticker(SYMBOL))["last"]
    for name, ((type_, side, amount, *factor), params, status) in ORDERS.items():
        price = binance.price_to_precision(SYMBOL, last * factor[0]) if factor else None
        order = await binance.create_order(SYMBOL, type_, side, amount, price, params)
        assert (name, order["status"]) == (name, status)
        assert order["filled"] == (amount if status == "closed" else 0)


async def test_market_order_with_a_price_spends_quote(binance: Any) -> None:
    """ccxt turns amount and price into quoteOrderQty; the simulator takes it as the venue does."""
    order = await binance.create_order(SYMBOL, "market", "buy", 0.01, 50_000)
    assert order["status"] == "closed"
    assert 490 < order["cost"] <= 500


async def test_buy_fee_is_in_the_base_coin(binance: Any) -> None:
    """What arrives is the quantity less the fee."""
    before = (await binance.fetch_balance())["BTC"]["free"]
    order = await binance.create_order(SYMBOL, "market", "buy", 0.02)
    after = (await binance.fetch_balance())["BTC"]["free"]
    assert order["fee"] == {"currency": "BTC", "cost": pytest.approx(0.00002)}
    assert after - before == pytest.approx(0.01998)
    assert sum(trade["amount"] for trade in order["trades"]) == pytest.approx(0.02)


async def test_ioc_fills_partly_against_the_depth_and_the_book_is_thinner(
    simulator: Application, binance: Any
) -> None:
    """More than the first level holds, at its price: that level's quantity and no more."""
    await Control(simulator.address).post("clock", {"speed": 0})
    book = await binance.fetch_order_book(SYMBOL, 5)
    (price, quantity), second = book["asks"][0], book["asks"][1]
    order = await binance.create_order(
        SYMBOL, "limit", "buy", quantity + 0.2, price, {"timeInForce": "IOC"}
    )
    assert order["status"] == "expired"
    assert order["filled"] == quantity
    assert order["remaining"] == pytest.approx(0.2)
    after = await binance.fetch_order_book(SYMBOL, 5)
    assert after["asks"][0] == second


async def test_order_queries_and_cancels(binance: Any) -> None:
    """By id and by client id, open and all, trades of one order; a second cancel finds nothing."""
    last = (await binance.fetch_ticker(SYMBOL))["last"]
    price = binance.price_to_precision(SYMBOL, last * 0.95)
    by_id = await binance.create_order(SYMBOL, "limit", "buy", 0.01, price)
    await binance.create_order(SYMBOL, "limit", "buy", 0.01, price, {"clientOrderId": "mine"})
    assert len(await binance.fetch_open_orders(SYMBOL)) == 2
    assert len(await binance.fetch_open_orders()) == 2
    assert (await binance.cancel_order(by_id["id"], SYMBOL))["status"] == "canceled"
    await binance.cancel_order("", SYMBOL, {"clientOrderId": "mine"})
    with pytest.raises(ccxt.OrderNotFound):
        await binance.cancel_order("", SYMBOL, {"clientOrderId": "mine"})
    found = await binance.fetch_order("", SYMBOL, {"clientOrderId": "mine"})
    assert found["status"] == "canceled"
    await binance.create_order(SYMBOL, "limit", "buy", 0.01, price)
    await binance.cancel_all_orders(SYMBOL)
    assert await binance.fetch_open_orders(SYMBOL) == []
    assert len(await binance.fetch_orders(SYMBOL)) == 3


async def test_trades(binance: Any) -> None:
    """Trades of a symbol, and of one order by both ways."""
    first = await binance.create_order(SYMBOL, "market", "buy", 0.01)
    await binance.create_order(SYMBOL, "market", "sell", 0.01)
    assert len(await binance.fetch_my_trades(SYMBOL)) == 2
    rows = await binance.fetch_my_trades(SYMBOL, params={"orderId": first["id"]})
    assert [row["order"] for row in rows] == [first["id"]]
    assert await binance.fetch_order_trades(first["id"], SYMBOL) == rows
    assert rows[0]["fee"]["currency"] == "BTC"


async def test_margin_short_and_back(binance: Any) -> None:
    """A short spot leg: borrow by selling, repay by buying, queries on the margin account."""
    params = {"marginMode": "cross", "sideEffectType": "AUTO_BORROW_REPAY"}
    sold = await binance.create_order(SYMBOL, "market", "sell", 0.1, None, params)
    balance = await binance.fetch_balance({"type": "margin"})
    assert balance["BTC"]["debt"] == pytest.approx(0.1)
    await binance.create_order(
        SYMBOL, "market", "buy", 0.1002, None, {"marginMode": "cross", "reduceOnly": True}
    )
    after = await binance.fetch_balance({"type": "margin"})
    assert after["BTC"]["debt"] == 0
    assert len(await binance.fetch_orders(SYMBOL, params={"marginMode": "cross"})) == 2
    assert await binance.fetch_order(sold["id"], SYMBOL, {"marginMode": "cross"})
    assert len(await binance.fetch_my_trades(SYMBOL, params={"marginMode": "cross"})) >= 2
    await binance.borrow_cross_margin("ETH", 1)
    await binance.repay_cross_margin("ETH", 1)
    await binance.transfer("USDT", 100, "spot", "margin")
    assert await binance.fetch_borrow_interest("BTC") == []


async def test_refusals_carry_the_venue_code(binance: Any) -> None:
    """Filters and funds are refused with the code a live venue sends."""
    for amount, price, words in (
        ("0.000001", "50000", '"code":-1013'),
        ("0.01", "50000.123", '"code":-1013'),
        ("0.00005", "50000", '"code":-1013'),
        ("10", "60000", "Account has insufficient balance for requested action"),
        ("NaN", "60000", '"code":-1100'),
    ):
        request = {
            "symbol": "BTCUSDT",
            "side": "BUY",
            "type": "LIMIT",
            "timeInForce": "GTC",
            "quantity": amount,
            "price": price,
        }
        with pytest.raises(ccxt.BaseError, match=words):
            await binance.private_post_order(request)


async def test_time_difference_is_measured(binance: Any) -> None:
    """The option that shifts timestamps works against the wire clock."""
    binance.options["adjustForTimeDifference"] = True
    await binance.load_markets(True)
    assert abs(binance.options["timeDifference"]) < 1000
