"""The kline stream: the running candle, and each ended one as final."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.support.simulator import Control, running_simulator, simulator_settings

MINUTE_MILLIS = 60_000
TICKS = 10


async def _candle(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while "k" not in (message := await socket.receive_json()):
            # The answer to the subscription comes among the candles.
            continue
    kline: dict[str, Any] = message["k"]
    return kline


@pytest.mark.parametrize("path", ["ws", "market/ws"])
async def test_a_candle_that_ended_comes_once_as_final(path: str) -> None:
    """After a jump over three minutes each of the ended candles is final, in order, once."""
    market = {"symbol_count": 12, "seed": 7, "start": "2026-03-20T10:00:10Z", "speed": "0"}
    async with (
        running_simulator(simulator_settings(market=market)) as simulator,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://{simulator.address}/{path}") as socket,
    ):
        subscribe = {"id": 1, "method": "SUBSCRIBE", "params": ["btcusdt@kline_1m"]}
        await socket.send_json(subscribe)
        first = await _candle(socket)
        assert first["x"] is False
        await Control(simulator.address).post("clock", {"advance_seconds": 180})
        rows = [await _candle(socket) for _ in range(TICKS)]
    ended = [row["t"] for row in rows if row["x"]]
    assert ended == [first["t"] + MINUTE_MILLIS * step for step in range(3)]
    assert rows[-1]["t"] == first["t"] + 3 * MINUTE_MILLIS
    assert rows[-1]["x"] is False
