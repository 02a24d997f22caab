"""What a gap in a stream hides is read and told: candles, settlements, positions, balances."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from opensqt.market_maker.v1 import exchange_pb2
from services.simulator.app import Application
from tests.support.connector import (
    BUY,
    SELL,
    RunningConnector,
    eventually,
    number,
    order,
    patient_part,
    running_connector,
)
from tests.support.connector_streams import data_of, read_until
from tests.support.simulator import Control, running_simulator

E = exchange_pb2
PERPETUALS = ("binanceusdm", "okx-swap", "bybit-linear")
# What Binance does here, test_connector_streams.py shows.
UNIFIED = ("okx-swap", "bybit-linear")
MINUTE = 60_000


@pytest.fixture
async def simulator() -> AsyncIterator[Application]:
    """A small market."""
    async with running_simulator() as running:
        yield running


@pytest.fixture
def control(simulator: Application) -> Control:
    """The simulator's switches."""
    return Control(simulator.address)


@asynccontextmanager
async def serving(
    code: str, simulator: Application, folder: Path
) -> AsyncIterator[RunningConnector]:
    """Serve one account in this process."""
    part = patient_part(code, simulator.address, folder, funding_poll_seconds=0.3)
    async with running_connector(part) as running:
        yield running


@pytest.fixture(params=PERPETUALS)
async def perpetual(
    request: pytest.FixtureRequest, simulator: Application, tmp_path: Path
) -> AsyncIterator[RunningConnector]:
    """A connector of perpetuals of each family."""
    async with serving(request.param, simulator, tmp_path) as running:
        yield running


@pytest.fixture(params=UNIFIED)
async def unified(
    request: pytest.FixtureRequest, simulator: Application, tmp_path: Path
) -> AsyncIterator[RunningConnector]:
    """A connector of perpetuals of each family that is read through ccxt's unified methods."""
    async with serving(request.param, simulator, tmp_path) as running:
        yield running


async def resumed(hub: Any, times: int = 1) -> None:
    """Wait until a hub has resumed."""

    async def enough() -> bool:
        return bool(hub.stats.resumes >= times)

    await eventually(enough, 10)


def closed_minutes(rows: list[Any]) -> set[int]:
    """Return the opening minutes of the candles that were told closed."""
    return {row.timestamp // MINUTE for row in rows if row.is_closed}


async def test_candles_that_closed_while_the_stream_was_cut_are_told(
    perpetual: RunningConnector, control: Control
) -> None:
    """Seven minutes pass in the gap: each of them comes closed, in order, none left out."""
    request = E.SubscribeKlinesRequest(symbols=["BTCUSDT"], interval="1m")
    call = perpetual.stub.SubscribeKlines(request)
    before = [await call.read(), await call.read()]
    hub = data_of(perpetual).market_streams.candles
    await control.post("streams/cut")
    await control.post("clock", {"advance_seconds": 420})
    await resumed(hub)
    last = before[-1].timestamp + 7 * MINUTE
    rows = await read_until(call, lambda row: row.timestamp >= last)
    first = before[-1].timestamp // MINUTE
    assert closed_minutes([*before, *rows]) >= set(range(first - 1, first + 7))
    call.cancel()


async def test_candles_missing_within_a_live_stream_are_read_before_the_next_one(
    perpetual: RunningConnector, control: Control
) -> None:
    """The market jumps five minutes and the venue tells only the newest candle."""
    request = E.SubscribeKlinesRequest(symbols=["BTCUSDT"], interval="1m")
    call = perpetual.stub.SubscribeKlines(request)
    before = [await call.read(), await call.read()]
    await control.post("clock", {"advance_seconds": 300})
    last = before[-1].timestamp + 5 * MINUTE
    rows = await read_until(call, lambda row: row.timestamp >= last)
    first = before[-1].timestamp // MINUTE
    assert closed_minutes([*before, *rows]) >= set(range(first - 1, first + 5))
    assert data_of(perpetual).market_streams.candles.stats.drops == 0
    call.cancel()


async def test_a_settlement_that_passed_in_a_gap_is_told_as_one(
    perpetual: RunningConnector, control: Control
) -> None:
    """First what was paid, at its own time, then the present rate."""
    call = perpetual.stub.SubscribeFundingRate(E.SubscribeFundingRateRequest(symbol="BTCUSDT"))
    first = await call.read()
    await control.post("streams/cut")
    await control.post("clock", {"advance_seconds": 9 * 3600})
    rows = await read_until(
        call, lambda row: not row.settled and row.next_funding_time > first.next_funding_time
    )
    settled = [row for row in rows if row.settled]
    assert [row.timestamp for row in settled] == [first.next_funding_time]
    assert settled[0].HasField("rate")
    call.cancel()


async def test_positions_and_balances_of_a_gap_are_in_the_next_snapshot(
    unified: RunningConnector, control: Control
) -> None:
    """A position opened while the stream was down is there, with its sign, after the resume."""
    positions = unified.stub.SubscribePositions(E.SubscribePositionsRequest())
    account = unified.stub.SubscribeAccount(E.SubscribeAccountRequest())
    await read_until(positions, lambda row: row.caught_up)
    await account.read()
    streams = data_of(unified).account_streams
    await control.post("streams/cut")
    await unified.stub.PlaceOrder(order(SELL, "0.02"))
    await resumed(streams.positions)
    rows = await read_until(positions, lambda row: row.symbol == "BTCUSDT")
    assert number(rows[-1].size) == Decimal("-0.02")
    await resumed(streams.account)
    told = await read_until(account, lambda row: bool(row.positions))
    assert number(told[-1].positions[0].size) == Decimal("-0.02")
    positions.cancel()
    account.cancel()


async def test_positions_change_live_and_end_with_zero(unified: RunningConnector) -> None:
    """Opened, then closed: the last row says zero, without any resume."""
    call = unified.stub.SubscribePositions(E.SubscribePositionsRequest(symbol="BTCUSDT"))
    await read_until(call, lambda row: row.caught_up)
    await unified.stub.PlaceOrder(order(BUY, "0.02"))
    opened = await read_until(call, lambda row: row.symbol == "BTCUSDT")
    assert number(opened[-1].size) == Decimal("0.02")
    assert opened[-1].HasField("update_time")
    await unified.stub.PlaceOrder(order(SELL, "0.02", reduce_only=True))
    closed = await read_until(call, lambda row: row.symbol == "BTCUSDT" and row.size.value == "0")
    assert closed
    assert data_of(unified).account_streams.positions.stats.drops == 0
    call.cancel()


async def test_prices_go_on_after_a_cut_with_the_book_of_after_it(
    unified: RunningConnector, control: Control
) -> None:
    """The first row after the resume is whole, and bid stays below ask."""
    call = unified.stub.SubscribePrice(E.SubscribePriceRequest(symbols=["BTCUSDT"]))
    await call.read()
    hub = data_of(unified).market_streams.prices
    await control.post("streams/cut")
    await resumed(hub)
    rows = await read_until(call, lambda row: row.symbol == "BTCUSDT")
    for row in rows:
        assert number(row.best_bid_price) < number(row.best_ask_price)
        assert row.HasField("price")
    call.cancel()


async def test_a_user_stream_that_says_nothing_is_read_all_the_same(
    perpetual: RunningConnector, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection stays open and is mute: after a quiet time the positions are read."""
    for module in ("raw_account_sources", "unified_account_sources"):
        monkeypatch.setattr(f"services.connector.{module}._QUIET_SECONDS", 0.3)
    call = perpetual.stub.SubscribePositions(E.SubscribePositionsRequest())
    for _ in range(2):
        # The second by a quiet reading: what a venue tells at the subscription is behind us.
        await read_until(call, lambda row: row.caught_up)
    await control.fault({"type": "event_late", "seconds": 60}, operation="wallet_event")
    await perpetual.stub.PlaceOrder(order(BUY, "0.02"))
    rows = await read_until(call, lambda row: row.symbol == "BTCUSDT")
    assert number(rows[-1].size) == Decimal("0.02")
    assert rows[-1].snapshot
    assert data_of(perpetual).account_streams.positions.stats.drops == 0
    call.cancel()
