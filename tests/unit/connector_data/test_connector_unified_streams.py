"""Streams through real ccxt.pro classes over canned WebSockets, where there is no simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from services.connector.data_part import DataPart, build_data_part
from services.connector.order_stream import close_sockets
from services.connector.stream_hub import HubOptions
from tests.support.canned_markets import MARKETS
from tests.support.canned_reads import BITGET, GATE, HYPERLIQUID
from tests.support.canned_venue import Answer, open_canned, open_venue

GATE_UPDATES: dict[str, Any] = {
    "futures.tickers": {
        "contract": "BTC_USDT",
        "last": "6500",
        "mark_price": "6501",
        "t": 1_694_988_061_000,
    },
    "futures.book_ticker": {
        "t": 1_694_988_061_100,
        "s": "BTC_USDT",
        "b": "6499.5",
        "B": 10,
        "a": "6500.5",
        "A": 20,
    },
    "futures.candlesticks": {
        "t": 1_694_988_060,
        "v": 70,
        "c": "2",
        "h": "2",
        "l": "1",
        "o": "2",
        "n": "1m_BTC_USDT",
    },
    "futures.positions": {"contract": "BTC_USDT", "size": -9440, "entry_price": "1"},
}
BITGET_UPDATES: dict[str, Any] = {
    "ticker": {
        "instId": "BTCUSDT",
        "lastPr": "30000",
        "askPr": "30001",
        "bidPr": "29999",
        "bidSz": "1",
        "askSz": "2",
        "ts": "1695796022000",
        "markPrice": "30000",
    },
    "candle1m": ["1695796080000", "2", "3", "1", "3", "7", "10", "10"],
    "positions": {"instId": "BTCUSDT", "posId": "1", "total": "0.01", "holdSide": "short"},
}
HYPERLIQUID_UPDATES: dict[str, Any] = {
    "activeAssetCtx": {"coin": "BTC", "ctx": {"markPx": "38000", "midPx": "38001"}},
    "candle": {
        "t": 1_700_000_040_000,
        "s": "BTC",
        "i": "1m",
        "o": "2",
        "c": "2",
        "h": "2",
        "l": "1",
        "v": "7",
    },
    "clearinghouseState": {"clearinghouseState": {"assetPositions": []}},
}


def tell_gate(message: Any) -> list[Any]:
    """Acknowledge a subscription and send one update of it."""
    channel = message["channel"]
    if message.get("event") != "subscribe" or channel not in GATE_UPDATES:
        return []
    update = GATE_UPDATES[channel]
    result = update if channel == "futures.book_ticker" else [update]
    said = {"time": 1, "id": message["id"], "channel": channel}
    return [
        {**said, "event": "subscribe", "result": {"status": "success"}},
        {"time": 1, "channel": channel, "event": "update", "result": result},
    ]


def tell_bitget(message: Any) -> list[Any]:
    """Acknowledge a login, or subscriptions with one update each."""
    if message["op"] == "login":
        return [{"event": "login", "code": 0, "msg": ""}]
    said: list[Any] = []
    for wanted in message["args"]:
        said.append({"event": "subscribe", "arg": wanted})
        data = [BITGET_UPDATES[wanted["channel"]]]
        said.append({"action": "snapshot", "arg": wanted, "data": data, "ts": 1})
    return said


def tell_hyperliquid(message: Any) -> list[Any]:
    """Acknowledge a subscription and send one update of it."""
    if message.get("method") != "subscribe":
        return []
    kind = message["subscription"]["type"]
    data = {**HYPERLIQUID_UPDATES[kind]}
    if kind == "clearinghouseState":
        data["user"] = message["subscription"]["user"]
    return [
        {"channel": "subscriptionResponse", "data": message},
        {"channel": kind, "data": data},
    ]


@asynccontextmanager
async def reading(
    code: str, answers: dict[str, Answer], tell: Callable[[Any], list[Any]], folder: Path
) -> AsyncIterator[tuple[DataPart, str]]:
    """Open the reading half over a canned venue; yields it and its first symbol."""

    async def reload() -> None:
        raise AssertionError("nothing here reloads markets")

    async with open_canned(folder) as (canned, session):
        canned.answers = {**MARKETS[code], **answers}
        canned.tell = tell
        async with open_venue(code, session) as venue:
            data = build_data_part(venue, reload, HubOptions(poll_seconds=0.05))
            try:
                yield data, next(iter(venue.instruments)).symbol
            finally:
                await data.close()
                await close_sockets(venue.exchange)


async def rows_until(subscription: Any, wanted: Callable[[Any], bool]) -> list[Any]:
    """Return what a stream tells up to the first row that is wanted."""
    found = []
    async with asyncio.timeout(60), subscription as rows:
        async for row in rows:
            found.append(row)
            if wanted(row):
                break
    return found


def is_price(text: str) -> Callable[[Any], bool]:
    """Return whether a price row tells this price."""
    return lambda row: bool(row.price.value == text)


def has_volume(number: str) -> Callable[[Any], bool]:
    """Return whether a candle has this volume."""
    return lambda row: Decimal(row.volume.value) == Decimal(number)


async def check_common(data: DataPart, symbol: str) -> None:
    """Funding is polled, positions start with a snapshot, and nothing was dropped."""
    markets, accounts = data.market_streams, data.account_streams
    seen: list[int] = []

    def third(row: Any) -> bool:
        seen.append(row.next_funding_time)
        return len(seen) == 3

    await rows_until(markets.subscribe_funding(symbol), third)
    told = await rows_until(accounts.subscribe_positions(), lambda row: row.caught_up)
    assert [row.snapshot for row in told] == [True] * len(told)
    for hub in (markets.prices, markets.candles, markets.funding, accounts.positions):
        assert hub.stats.drops == 0, hub.name


async def test_gate_streams_prices_candles_and_positions(tmp_path: Path) -> None:
    """Print and book come apart and are merged; sizes are contracts on the wire, coins here."""
    async with reading("gate-swap", GATE, tell_gate, tmp_path) as (data, symbol):
        rows = await rows_until(
            data.market_streams.subscribe_prices([symbol]),
            lambda row: row.price.value == "6500" and row.best_ask_price.value == "6500.5",
        )
        assert Decimal(rows[-1].best_bid_quantity.value) == Decimal("0.001")
        candles = data.market_streams.subscribe_candles([symbol], "1m")
        await rows_until(candles, has_volume("0.007"))
        await check_common(data, symbol)


async def test_bitget_streams_prices_candles_and_positions(tmp_path: Path) -> None:
    """After a login of its own; a candle is closed by the next."""
    async with reading("bitget-swap", BITGET, tell_bitget, tmp_path) as (data, symbol):
        prices = await rows_until(data.market_streams.subscribe_prices([symbol]), is_price("30000"))
        assert prices[-1].best_ask_price.value == "30001"
        candles = await rows_until(
            data.market_streams.subscribe_candles([symbol], "1m"), has_volume("7")
        )
        closed = [row.timestamp for row in candles if row.is_closed]
        assert closed[-1] == 1_695_796_020_000
        await check_common(data, symbol)


async def test_hyperliquid_messages_that_refuse_nothing_are_let_pass(tmp_path: Path) -> None:
    """ccxt's class checks each message as if it were a reply; a price is the middle of the book."""
    async with reading("hyperliquid", HYPERLIQUID, tell_hyperliquid, tmp_path) as (data, symbol):
        prices = await rows_until(data.market_streams.subscribe_prices([symbol]), is_price("38001"))
        # What is not told is not kept from before.
        assert not prices[-1].HasField("best_bid_price")
        await rows_until(data.market_streams.subscribe_candles([symbol], "1m"), has_volume("7"))
        await check_common(data, symbol)
