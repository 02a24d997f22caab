"""Unmodified ccxt `binanceusdm` does its whole endpoint list against the simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import ccxt
import pytest

from services.simulator.app import Application
from tests.support.simulator import (
    ACCOUNT,
    Control,
    ccxt_exchange,
    running_simulator,
    simulator_settings,
)

SYMBOL = "BTC/USDT:USDT"
OTHER = "ETH/USDT:USDT"
DAY_MS = 86_400_000
Call = Callable[[Any], Awaitable[Any]]


@pytest.fixture
async def simulator() -> AsyncIterator[Application]:
    """A simulator of its own for each test, with history up to now: ccxt pages up to its clock."""
    settings = simulator_settings(market={"symbol_count": 12, "seed": 7})
    async with running_simulator(settings) as application:
        yield application


@pytest.fixture
async def usdm(simulator: Application) -> AsyncIterator[Any]:
    """The futures exchange with its markets loaded by the shortest way."""
    options = {
        "fetchCurrencies": False,
        "fetchMargins": False,
        "fetchOpenOrders": {"warnWithoutSymbol": False},
    }
    async with ccxt_exchange("binanceusdm", simulator.address, options=options) as exchange:
        await exchange.load_markets()
        yield exchange


def _since(exchange: Any, days: int) -> int:
    return int(exchange.milliseconds()) - days * DAY_MS


READS: dict[str, Call] = {
    "ticker": lambda x: x.fetch_ticker(SYMBOL),
    "tickers": lambda x: x.fetch_tickers(),
    "two tickers": lambda x: x.fetch_tickers([SYMBOL, OTHER]),
    "bids and asks": lambda x: x.fetch_bids_asks(),
    "last prices": lambda x: x.fetch_last_prices(),
    "candles": lambda x: x.fetch_ohlcv(SYMBOL, "1h"),
    "99 candles": lambda x: x.fetch_ohlcv(SYMBOL, "1h", limit=99),
    "book": lambda x: x.fetch_order_book(SYMBOL, 20),
    "funding rate": lambda x: x.fetch_funding_rate(SYMBOL),
    "funding rates": lambda x: x.fetch_funding_rates(),
    "two funding rates": lambda x: x.fetch_funding_rates([SYMBOL, OTHER]),
    "history": lambda x: x.fetch_funding_rate_history(SYMBOL),
    "history since": lambda x: x.fetch_funding_rate_history(SYMBOL, _since(x, 30), 1000),
    "history of all": lambda x: x.fetch_funding_rate_history(
        None, _since(x, 1), 1000, {"until": x.milliseconds()}
    ),
    "history paged": lambda x: x.fetch_funding_rate_history(
        SYMBOL, _since(x, 30), params={"paginate": True}
    ),
    "funding intervals": lambda x: x.fetch_funding_intervals(),
    "open interest": lambda x: x.fetch_open_interest(SYMBOL),
    "position mode": lambda x: x.fetch_position_mode(),
    "leverages": lambda x: x.fetch_leverages([SYMBOL]),
    "leverage tiers": lambda x: x.fetch_leverage_tiers(),
    "balance": lambda x: x.fetch_balance(),
    "trading fees": lambda x: x.fetch_trading_fees(),
    "trading fee": lambda x: x.fetch_trading_fee(SYMBOL),
    "time": lambda x: x.fetch_time(),
}


async def test_reads(usdm: Any) -> None:
    """Every read of the list comes back parsed and not empty."""
    empty = [name for name, read in READS.items() if not await read(usdm)]
    assert empty == []


async def test_load_markets_with_its_hidden_calls(simulator: Application) -> None:
    """With keys ccxt also reads wallets and margin pairs."""
    async with ccxt_exchange("binanceusdm", simulator.address) as exchange:
        markets = await exchange.load_markets()
    assert markets[SYMBOL]["swap"]
    assert markets[SYMBOL]["contractSize"] == 1


async def test_funding_interval_of_an_adjusted_symbol(usdm: Any) -> None:
    """fundingInfo lists the symbols that differ from eight hours, and ccxt reads their interval."""
    rows = await usdm.fetch_funding_intervals()
    adjusted = next(symbol for symbol, row in rows.items() if row["interval"] != "8h")
    row = await usdm.fetch_funding_interval(adjusted)
    assert row["interval"] in {"1h", "2h", "4h"}


ORDERS: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "market": (("market", "buy", 0.01), {}, "closed"),
    "limit": (("limit", "buy", 0.01, 0.95), {}, "open"),
    "IOC": (("limit", "buy", 0.01, 1.01), {"timeInForce": "IOC"}, "closed"),
    "FOK": (("limit", "buy", 0.01, 1.01), {"timeInForce": "FOK"}, "closed"),
    "post-only": (("limit", "buy", 0.01, 0.9), {"postOnly": True}, "open"),
    "PO": (("limit", "buy", 0.01, 0.9), {"timeInForce": "PO"}, "open"),
    "own id": (("market", "sell", 0.01), {"clientOrderId": "abc-1"}, "closed"),
}


async def test_order_kinds(usdm: Any) -> None:
    """Each kind of order comes back with the status it must have, and by query the same."""
    last = (await usdm.fetch_ticker(SYMBOL))["last"]
    for name, ((type_, side, amount, *factor), params, status) in ORDERS.items():
        price = usdm.price_to_precision(SYMBOL, last * factor[0]) if factor else None
        order = await usdm.create_order(SYMBOL, type_, side, amount, price, params)
        assert (name, order["status"]) == (name, status)
        assert order["filled"] == (amount if status == "closed" else 0)
        again = await usdm.fetch_order(order["id"], SYMBOL)
        assert (again["status"], again["average"]) == (order["status"], order["average"])


async def test_reduce_only_closes_and_never_opens(usdm: Any) -> None:
    """More than the position closes it; with nothing left it is refused."""
    await usdm.create_order(SYMBOL, "market", "buy", 0.01)
    order = await usdm.create_order(SYMBOL, "market", "sell", 0.05, None, {"reduceOnly": True})
    assert order["filled"] == 0.01
    assert await usdm.fetch_positions([SYMBOL]) == []
    with pytest.raises(ccxt.BaseError, match='"code":-2022'):
        await usdm.create_order(SYMBOL, "market", "sell", 0.01, None, {"reduceOnly": True})


async def test_batches(usdm: Any) -> None:
    """A batch answers per order, a bad one beside good ones; cancels go in a batch too."""
    last = (await usdm.fetch_ticker(SYMBOL))["last"]
    price = usdm.price_to_precision(SYMBOL, last * 0.9)
    rows = await usdm.create_orders(
        [
            {"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": 0.01, "price": price},
            {"symbol": SYMBOL, "type": "market", "side": "buy", "amount": 0.01, "price": None},
            {"symbol": OTHER, "type": "limit", "side": "sell", "amount": 1, "price": 1},
        ]
    )
    assert sorted(row["status"] for row in rows) == ["closed", "open", "rejected"]
    resting = next(row for row in rows if row["status"] == "open")
    second = await usdm.create_order(SYMBOL, "limit", "buy", 0.01, price)
    canceled = await usdm.cancel_orders([resting["id"], second["id"]], SYMBOL)
    assert {row["status"] for row in canceled} == {"canceled"}


async def test_order_queries_and_cancels(usdm: Any) -> None:
    """By id and by client id; cancel-all empties the book of ours."""
    last = (await usdm.fetch_ticker(SYMBOL))["last"]
    price = usdm.price_to_precision(SYMBOL, last * 0.95)
    by_id = await usdm.create_order(SYMBOL, "limit", "buy", 0.01, price)
    await usdm.create_order(SYMBOL, "limit", "buy", 0.01, price, {"clientOrderId": "mine"})
    assert len(await usdm.fetch_open_orders(SYMBOL)) == 2
    assert len(await usdm.fetch_open_orders()) == 2
    assert (await usdm.cancel_order(by_id["id"], SYMBOL))["status"] == "canceled"
    await usdm.cancel_order("", SYMBOL, {"clientOrderId": "mine"})
    found = await usdm.fetch_order("", SYMBOL, {"clientOrderId": "mine"})
    assert found["status"] == "canceled"
    await usdm.create_order(SYMBOL, "limit", "buy", 0.01, price)
    await usdm.cancel_all_orders(SYMBOL)
    assert await usdm.fetch_open_orders(SYMBOL) == []
    with pytest.raises(ccxt.OrderNotFound):
        await usdm.fetch_order("77", SYMBOL)


async def test_positions_by_both_ways(usdm: Any) -> None:
    """positionRisk and account agree; a short is negative notional with a liquidation price."""
    await usdm.set_leverage(5, SYMBOL)
    await usdm.create_order(SYMBOL, "market", "sell", 0.5)
    (risk,) = await usdm.fetch_positions([SYMBOL])
    (account,) = await usdm.fetch_positions([SYMBOL], {"method": "account"})
    for position in (risk, account):
        assert (position["side"], position["contracts"]) == ("short", 0.5)
    assert risk["liquidationPrice"] > risk["markPrice"]
    assert risk["info"]["positionAmt"] == "-0.500"
    (old,) = await usdm.fetch_positions_risk([SYMBOL], {"method": "positionRisk"})
    assert old["entryPrice"] == risk["entryPrice"]


async def test_account_settings(usdm: Any) -> None:
    """Leverage, margin mode and position mode are set, read back, and refused when unchanged."""
    assert (await usdm.set_leverage(7, SYMBOL))["leverage"] == 7
    await usdm.set_margin_mode("isolated", SYMBOL)
    await usdm.set_margin_mode("cross", SYMBOL)
    await usdm.set_position_mode(True)
    assert (await usdm.fetch_position_mode())["hedged"]
    order = await usdm.create_order(SYMBOL, "market", "buy", 0.01, None, {"hedged": True})
    assert order["info"]["positionSide"] == "LONG"
    with pytest.raises(ccxt.BaseError, match='"code":-4068'):
        await usdm.set_position_mode(False)
    with pytest.raises(ccxt.BaseError, match='"code":-4028'):
        await usdm.fapiprivate_post_leverage({"symbol": "BTCUSDT", "leverage": 126})


async def test_trades_have_fees_and_profit(usdm: Any) -> None:
    """Fees of an order come from its trades, in the settle asset."""
    order = await usdm.create_order(SYMBOL, "market", "buy", 0.01)
    rows = await usdm.fetch_my_trades(SYMBOL, params={"orderId": order["id"]})
    assert rows[0]["fee"]["currency"] == "USDT"
    assert rows[0]["fee"]["cost"] == pytest.approx(order["cost"] * 0.0005)
    assert len(await usdm.fetch_my_trades(SYMBOL)) == 1


async def test_funding_comes_with_market_time(simulator: Application, usdm: Any) -> None:
    """Nine hours on, the position has been paid at its settlements, with income rows to show."""
    await usdm.create_order(SYMBOL, "market", "buy", 0.1)
    await Control(simulator.address).post("clock", {"advance_seconds": 9 * 3600})
    rows = await usdm.fetch_funding_history(SYMBOL)
    settled = await usdm.fetch_funding_rate_history(SYMBOL, limit=2)
    assert rows
    last, rate = rows[-1], settled[-1]
    assert last["timestamp"] == rate["timestamp"]
    mark = float(rate["info"]["markPrice"])
    assert last["amount"] == pytest.approx(-0.1 * mark * rate["fundingRate"], abs=1e-8)


async def test_liquidation_and_adl_on_command(simulator: Application, usdm: Any) -> None:
    """A forced close takes the position away by an order nobody here sent."""
    control = Control(simulator.address)
    await usdm.create_order(SYMBOL, "market", "buy", 0.2)
    await control.post("adl", {"account": ACCOUNT, "symbol": "BTCUSDT", "quantity": "0.05"})
    (position,) = await usdm.fetch_positions([SYMBOL])
    assert position["contracts"] == 0.15
    await control.post("liquidate", {"account": ACCOUNT, "symbol": "BTCUSDT"})
    assert await usdm.fetch_positions([SYMBOL]) == []
    names = [row["clientOrderId"] for row in await usdm.fetch_orders(SYMBOL)]
    assert "adl_autoclose" in names
    assert any(name.startswith("autoclose-") for name in names)


REFUSED: tuple[tuple[dict[str, str], int], ...] = (
    ({"quantity": "0"}, -4003),
    ({"quantity": "0.0101"}, -1111),
    ({"quantity": "100000"}, -4005),
    ({"quantity": "NaN"}, -1100),
    ({"quantity": "1e3"}, -1100),
    ({"quantity": "0.01", "side": "HOLD"}, -1117),
    ({"quantity": "0.01", "type": "STOP"}, -1116),
    ({"quantity": "0.01", "symbol": "NOSUCHUSDT"}, -1121),
    ({"quantity": "0.01", "newClientOrderId": "a b"}, -1100),
)


async def test_refusals_carry_the_venue_code(usdm: Any) -> None:
    """Each bad order is refused with the code a live venue sends."""
    for fields, code in REFUSED:
        request = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", **fields}
        with pytest.raises(ccxt.BaseError, match=f'"code":{code}'):
            await usdm.fapiprivate_post_order(request)
