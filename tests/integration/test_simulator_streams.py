"""Unmodified ccxt.pro watches market data and its own orders on the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
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

SYMBOLS = {"binance": "BTC/USDT", "binanceusdm": "BTC/USDT:USDT"}
OTHERS = {"binance": "ETH/USDT", "binanceusdm": "ETH/USDT:USDT"}
OPTIONS = {"fetchCurrencies": False, "fetchMargins": False}
PATIENCE = 60.0


@pytest.fixture
async def simulator() -> AsyncIterator[Application]:
    """A simulator of its own for each test."""
    async with running_simulator() as application:
        yield application


@pytest.fixture(params=["binance", "binanceusdm"])
async def exchange(simulator: Application, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Both exchanges in turn; spot loads linear markets too, so that ids are ambiguous."""
    async with ccxt_exchange(request.param, simulator.address, options=OPTIONS) as made:
        await made.load_markets()
        yield made


async def within(watch: Coroutine[Any, Any, Any]) -> Any:
    """Return what a watch brings, within the patience of a test."""
    return await asyncio.wait_for(watch, PATIENCE)


async def subscribed(simulator: Application, count: int = 1) -> None:
    """Wait until the simulator has so many user streams."""
    async with asyncio.timeout(PATIENCE):
        while simulator.user_stream_count < count:  # noqa: ASYNC110 - nothing there to wait on
            await asyncio.sleep(0.01)


async def test_market_data(exchange: Any) -> None:
    """Tickers, best prices, candles and, on futures, mark prices arrive for the right symbol."""
    symbol, other = SYMBOLS[exchange.id], OTHERS[exchange.id]
    assert (await within(exchange.watch_ticker(symbol)))["symbol"] == symbol
    assert set(await within(exchange.watch_tickers([symbol, other]))) <= {symbol, other}
    best = (await within(exchange.watch_bids_asks([symbol])))[symbol]
    assert 0 < best["bid"] < best["ask"]
    candles = await within(exchange.watch_ohlcv(symbol, "1m"))
    assert candles[-1][4] > 0
    if exchange.id == "binanceusdm":
        assert (await within(exchange.watch_mark_price(symbol)))["markPrice"] > 0
        assert len(await within(exchange.watch_mark_prices())) > 5
        assert len(await within(exchange.watch_tickers())) > 5


async def test_the_watched_book_is_the_fetched_book(simulator: Application, exchange: Any) -> None:
    """With the market standing still, snapshot plus differences equal the book."""
    symbol = SYMBOLS[exchange.id]
    for _ in range(4):
        book = await within(exchange.watch_order_book(symbol))
    assert book["bids"][0][0] < book["asks"][0][0]
    await Control(simulator.address).post("clock", {"speed": 0})
    await exchange.create_order(symbol, "market", "buy", 0.3)
    for _ in range(3):
        book = await within(exchange.watch_order_book(symbol))
    fetched = await exchange.fetch_order_book(symbol, 20)
    assert [row[:2] for row in book["asks"][:20]] == [row[:2] for row in fetched["asks"]]
    assert [row[:2] for row in book["bids"][:20]] == [row[:2] for row in fetched["bids"]]


async def test_user_data(simulator: Application, exchange: Any) -> None:
    """Orders, trades, balance and positions tell of one market order."""
    symbol = SYMBOLS[exchange.id]
    watches = [exchange.watch_orders(), exchange.watch_my_trades(), exchange.watch_balance()]
    if exchange.id == "binanceusdm":
        exchange.options["watchPositions"] = {"fetchPositionsSnapshot": False}
        watches.append(exchange.watch_positions())
    tasks = [asyncio.create_task(within(watch)) for watch in watches]
    await subscribed(simulator)
    placed = await exchange.create_order(symbol, "market", "buy", 0.01)
    orders, trades, balance, *positions = await asyncio.gather(*tasks)
    assert (orders[-1]["id"], orders[-1]["symbol"]) == (placed["id"], symbol)
    assert (trades[-1]["order"], trades[-1]["amount"]) == (placed["id"], 0.01)
    assert trades[-1]["fee"]["cost"] > 0
    assert balance["USDT"]["total" if exchange.id == "binanceusdm" else "free"] < 100_000
    if positions:
        assert (positions[0][0]["contracts"], positions[0][0]["side"]) == (0.01, "long")


async def test_margin_orders_have_a_stream_of_their_own(simulator: Application) -> None:
    """The margin account is watched by a listen token."""
    async with ccxt_exchange("binance", simulator.address, options=OPTIONS) as exchange:
        await exchange.load_markets()
        task = asyncio.create_task(within(exchange.watch_orders(params={"type": "margin"})))
        await subscribed(simulator)
        params = {"marginMode": "cross", "sideEffectType": "AUTO_BORROW_REPAY"}
        placed = await exchange.create_order("BTC/USDT", "market", "sell", 0.01, None, params)
        assert (await task)[-1]["id"] == placed["id"]


class Futures:
    """A futures exchange whose order stream is open, read as raw executions."""

    def __init__(self, simulator: Application, exchange: Any) -> None:
        self.exchange = exchange
        self.control = Control(simulator.address)
        self.seen: list[tuple[str, str]] = []
        self.watch = asyncio.create_task(exchange.watch_orders())

    async def fault(self, action: dict[str, Any], **match: Any) -> None:
        """Arm a fault for order events."""
        await self.control.fault(action, operation="order_event", **match)

    async def buy(self) -> Any:
        """Place a market order."""
        return await self.exchange.create_order("BTC/USDT:USDT", "market", "buy", 0.01)

    async def executions(self, count: int) -> list[str]:
        """Return the first executions the stream brought."""
        async with asyncio.timeout(PATIENCE):
            while len(self.seen) < count:  # noqa: ASYNC110 - ccxt offers no event per message
                await asyncio.sleep(0.01)
        return [execution for _, execution in self.seen[:count]]


@pytest.fixture
async def futures(simulator: Application) -> AsyncIterator[Futures]:
    """A futures exchange with an open order stream."""
    async with ccxt_exchange("binanceusdm", simulator.address, options=OPTIONS) as exchange:
        await exchange.load_markets()
        made = Futures(simulator, exchange)
        original = exchange.handle_order_update

        def spy(client: Any, message: Any) -> Any:
            if message.get("e") == "ORDER_TRADE_UPDATE":
                made.seen.append((message["o"]["c"], message["o"]["x"]))
            return original(client, message)

        exchange.handle_order_update = spy
        await subscribed(simulator)
        try:
            yield made
        finally:
            made.watch.cancel()
            await asyncio.gather(made.watch, return_exceptions=True)


async def test_events_come_in_order_without_faults(futures: Futures) -> None:
    """NEW before TRADE."""
    await futures.buy()
    assert await futures.executions(2) == ["NEW", "TRADE"]


async def test_event_duplicate(futures: Futures) -> None:
    """The trade is told twice."""
    await futures.fault({"type": "event_duplicate"}, method="TRADE")
    await futures.buy()
    assert await futures.executions(3) == ["NEW", "TRADE", "TRADE"]


async def test_event_reorder(futures: Futures) -> None:
    """The trade overtakes the acknowledgement."""
    await futures.fault({"type": "event_reorder"}, method="NEW", nth=1)
    await futures.buy()
    assert await futures.executions(2) == ["TRADE", "NEW"]


async def test_event_late(futures: Futures) -> None:
    """The trade of the first order comes after the second order is done."""
    await futures.fault({"type": "event_late", "seconds": 0.5}, method="TRADE", nth=1)
    first = await futures.buy()
    await futures.buy()
    await futures.executions(4)
    assert futures.seen[-1] == (first["clientOrderId"], "TRADE")


async def test_stream_cut(simulator: Application, futures: Futures) -> None:
    """The stream breaks in place of the trade; a new watch gets a new stream."""
    await futures.fault({"type": "stream_cut"}, method="TRADE", nth=1)
    await futures.buy()
    with pytest.raises(ccxt.NetworkError):
        await within(futures.exchange.watch_orders())
    task = asyncio.create_task(within(futures.exchange.watch_orders()))
    await subscribed(simulator)
    placed = await futures.buy()
    assert (await task)[-1]["id"] == placed["id"]


async def test_streams_cut_on_command(simulator: Application, futures: Futures) -> None:
    """The control endpoint breaks every stream and says how many there were."""
    assert await futures.control.post("streams/cut") == {"cut": 1}
    with pytest.raises(ccxt.NetworkError):
        await asyncio.wait_for(futures.watch, PATIENCE)


async def test_a_forced_close_is_told(futures: Futures) -> None:
    """Liquidation reaches the stream as an order nobody here sent."""
    await futures.buy()
    await futures.control.post("liquidate", {"account": ACCOUNT, "symbol": "BTCUSDT"})
    assert await futures.executions(4) == ["NEW", "TRADE", "NEW", "CALCULATED"]
    assert futures.seen[-1][0].startswith("autoclose-")


async def test_a_listen_key_that_is_not_kept_alive_expires() -> None:
    """After its time the stream says so and sends nothing more."""
    rules = {"listen_key_seconds": 0.3, "tick_seconds": 0.02}
    async with (
        running_simulator(simulator_settings(rules=rules)) as simulator,
        ccxt_exchange("binanceusdm", simulator.address, options=OPTIONS) as exchange,
    ):
        await exchange.load_markets()
        key = (await exchange.fapiprivate_post_listenkey())["listenKey"]
        async with (
            exchange.session.ws_connect(f"{simulator.url}/private/ws?listenKey={key}") as socket,
        ):
            message = await within(socket.receive_json())
        assert (message["e"], message["listenKey"]) == ("listenKeyExpired", key)
        with pytest.raises(ccxt.BaseError, match="-1125"):
            await exchange.fapiprivate_put_listenkey()
