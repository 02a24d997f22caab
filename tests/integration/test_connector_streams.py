"""Streams over real WebSockets: snapshots, resumes after a cut, and nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from opensqt.market_maker.v1 import exchange_pb2
from services.simulator.app import Application
from tests.support.connector import (
    BUY,
    SELL,
    RunningConnector,
    number,
    order,
    patient_part,
    running_connector,
)
from tests.support.connector_streams import data_of, read_until
from tests.support.simulator import Control, running_simulator

E = exchange_pb2
CODES = ("binance", "binanceusdm")


@pytest.fixture
async def simulator() -> AsyncIterator[Application]:
    """A small market."""
    async with running_simulator() as running:
        yield running


@pytest.fixture
async def perpetual(simulator: Application, tmp_path: Path) -> AsyncIterator[RunningConnector]:
    """A USD-M connector on it."""
    part = patient_part("binanceusdm", simulator.address, tmp_path)
    async with running_connector(part) as running:
        yield running


@pytest.fixture(params=CODES)
async def either(
    request: pytest.FixtureRequest, simulator: Application, tmp_path: Path
) -> AsyncIterator[RunningConnector]:
    """A connector of each kind."""
    part = patient_part(request.param, simulator.address, tmp_path)
    async with running_connector(part) as running:
        yield running


@pytest.fixture
def control(simulator: Application) -> Control:
    """The simulator's switches."""
    return Control(simulator.address)


async def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Poll until a condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - polls what has no event
            await asyncio.sleep(0.01)


def stream_tasks() -> list[str]:
    """Return the names of the hub tasks that run."""
    names = [task.get_name() for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith("stream ") and "orders" not in name]


async def test_prices_start_with_a_snapshot_and_go_on_after_a_cut(
    either: RunningConnector, control: Control
) -> None:
    """Both symbols at once, then changes, and after the cut a snapshot again."""
    call = either.stub.SubscribePrice(E.SubscribePriceRequest(symbols=["BTCUSDT", "ETHUSDT"]))
    first = [await call.read(), await call.read()]
    assert {row.symbol for row in first} == {"BTCUSDT", "ETHUSDT"}
    for row in first:
        assert number(row.best_bid_price) < number(row.best_ask_price)
        assert row.HasField("price")
    await read_until(call, lambda row: row.timestamp.ToMilliseconds() > 0)
    stats = data_of(either).market_streams.prices.stats
    assert (await control.post("streams/cut"))["cut"] > 0
    await wait_for(lambda: stats.resumes > 0)
    rows = await read_until(call, lambda row: row.symbol == "ETHUSDT")
    assert all(row.HasField("price") and row.HasField("best_bid_price") for row in rows)
    seen = len(await read_until(call, lambda row: row.symbol == "BTCUSDT"))
    assert seen > 0
    call.cancel()


async def test_candles_start_with_the_last_ones_and_go_on_with_the_next(
    either: RunningConnector, control: Control
) -> None:
    """The last closed one and the running one at once; then the venue's events."""
    request = E.SubscribeKlinesRequest(symbols=["BTCUSDT"], interval="1m")
    call = either.stub.SubscribeKlines(request)
    first, second = await call.read(), await call.read()
    assert (first.is_closed, second.is_closed) == (True, False)
    await control.post("clock", {"advance_seconds": 61})
    later = await read_until(call, lambda row: row.timestamp > second.timestamp)
    assert later[-1].symbol == "BTCUSDT"
    call.cancel()


async def test_funding_of_all_perpetuals_streams_with_intervals(
    perpetual: RunningConnector, control: Control
) -> None:
    """The snapshot names every symbol; changes keep the interval; a cut brings it all again."""
    listed = len(data_of(perpetual).venue.instruments)
    call = perpetual.stub.SubscribeFundingRate(E.SubscribeFundingRateRequest())
    rows = [await call.read() for _ in range(listed)]
    assert len({row.symbol for row in rows}) == listed
    moved = await read_until(call, lambda row: row.timestamp > rows[0].timestamp)
    assert moved[-1].HasField("interval")
    stats = data_of(perpetual).market_streams.funding.stats
    await control.post("streams/cut")
    await wait_for(lambda: stats.resumes > 0)
    again = await read_until(call, lambda row: row.symbol == rows[-1].symbol)
    assert again
    call.cancel()


async def test_positions_are_a_snapshot_a_marker_and_changes(perpetual: RunningConnector) -> None:
    """Opening and closing is seen with the sign and a final zero."""
    await perpetual.stub.PlaceOrder(order(SELL, "0.02"))
    call = perpetual.stub.SubscribePositions(E.SubscribePositionsRequest(symbol="BTCUSDT"))
    held, marker = await call.read(), await call.read()
    assert held.snapshot
    assert number(held.size) == Decimal("-0.02")
    assert (held.leverage, held.margin_type) == (20, "cross")
    assert marker.caught_up
    assert data_of(perpetual).account_streams.positions.stats.drops == 0
    await perpetual.stub.PlaceOrder(order(BUY, "0.02", reduce_only=True))
    closed = await call.read()
    assert (closed.symbol, number(closed.size), closed.snapshot) == ("BTCUSDT", Decimal(0), False)
    call.cancel()


async def test_a_position_closed_while_the_stream_was_cut_is_missing_from_the_next_snapshot(
    perpetual: RunningConnector, control: Control
) -> None:
    """The gap hides nothing: what the snapshot does not name is flat."""
    await perpetual.stub.PlaceOrder(order(BUY, "0.03"))
    call = perpetual.stub.SubscribePositions(E.SubscribePositionsRequest())
    await read_until(call, lambda row: row.caught_up)
    await control.fault({"type": "stream_cut"}, operation="wallet_event")
    await perpetual.stub.PlaceOrder(order(SELL, "0.03", reduce_only=True))
    await control.delete("faults")
    rows = await read_until(call, lambda row: row.caught_up)
    assert rows[-1].snapshot
    assert not [row for row in rows if row.symbol == "BTCUSDT" and number(row.size)]
    call.cancel()


async def test_in_hedge_mode_a_closed_side_is_missing_and_the_other_stays(
    perpetual: RunningConnector,
) -> None:
    """A long and a short of one symbol: closing one says which, by a snapshot of both."""
    exchange = data_of(perpetual).venue.exchange
    await exchange.fapiPrivatePostPositionSideDual({"dualSidePosition": "true"})

    async def trade(side: str, position_side: str, quantity: str) -> None:
        await exchange.fapiPrivatePostOrder(
            {
                "symbol": "BTCUSDT",
                "side": side,
                "positionSide": position_side,
                "type": "MARKET",
                "quantity": quantity,
            }
        )

    await trade("BUY", "LONG", "0.03")
    await trade("SELL", "SHORT", "0.01")
    call = perpetual.stub.SubscribePositions(E.SubscribePositionsRequest())
    rows = await read_until(call, lambda row: row.caught_up)
    assert sorted(row.size.value for row in rows[:-1]) == ["-0.01", "0.03"]
    await trade("SELL", "LONG", "0.03")
    rows = await read_until(call, lambda row: row.caught_up)
    assert [row.size.value for row in rows[:-1]] == ["-0.01"]
    call.cancel()


async def test_an_expired_listen_key_makes_the_user_stream_anew(
    perpetual: RunningConnector,
) -> None:
    """ccxt does not act on the venue's word that the key is gone; we do."""
    call = perpetual.stub.SubscribePositions(E.SubscribePositionsRequest())
    await read_until(call, lambda row: row.caught_up)
    data = data_of(perpetual)
    (client,) = [one for url, one in data.venue.exchange.clients.items() if "listenKey=" in url]
    data.venue.exchange.handle_message(client, {"e": "listenKeyExpired", "E": 1})
    await read_until(call, lambda row: row.caught_up)
    assert data.account_streams.positions.stats.resumes == 1
    await perpetual.stub.PlaceOrder(order(BUY, "0.01"))
    (row,) = await read_until(call, lambda row: row.symbol == "BTCUSDT")
    assert number(row.size) == Decimal("0.01")
    call.cancel()


async def test_the_account_is_streamed_after_each_change(
    either: RunningConnector, control: Control
) -> None:
    """A fill changes the balance that the next row tells; also after a cut."""
    call = either.stub.SubscribeAccount(E.SubscribeAccountRequest())
    before = await call.read()
    await either.stub.PlaceOrder(order(BUY, "0.01"))

    def usdt(account: Any) -> Decimal:
        return next(number(one.total) for one in account.balances if one.asset == "USDT")

    rows = await read_until(call, lambda row: usdt(row) < usdt(before))
    stats = data_of(either).account_streams.account.stats
    await control.post("streams/cut")
    await wait_for(lambda: stats.resumes > 0)
    await either.stub.PlaceOrder(order(BUY, "0.01"))
    await read_until(call, lambda row: usdt(row) < usdt(rows[-1]))
    call.cancel()


async def test_subscribers_of_the_same_share_one_source_and_leave_nothing_behind(
    perpetual: RunningConnector,
) -> None:
    """Ten readers, one upstream; when they go, no task and no market connection stays."""
    data = data_of(perpetual)
    request = E.SubscribePriceRequest(symbols=["BTCUSDT"])
    calls = [perpetual.stub.SubscribePrice(request) for _ in range(10)]
    for call in calls:
        assert (await call.read()).symbol == "BTCUSDT"
    assert len(stream_tasks()) == 1
    for call in calls:
        call.cancel()
    await wait_for(lambda: not stream_tasks())
    assert len(data.market_streams.prices.keys) == 0
    urls = [url for url in data.venue.exchange.clients if "/public/" in url or "/market/" in url]
    assert urls == []


async def test_all_streams_end_without_a_task_when_their_readers_leave(
    perpetual: RunningConnector,
) -> None:
    """Also the user stream's sources."""
    stub = perpetual.stub
    calls = [
        stub.SubscribePrice(E.SubscribePriceRequest(symbols=["BTCUSDT", "SOLUSDT"])),
        stub.SubscribeFundingRate(E.SubscribeFundingRateRequest(symbol="BTCUSDT")),
        stub.SubscribeKlines(E.SubscribeKlinesRequest(symbols=["BTCUSDT"], interval="5m")),
        stub.SubscribeAccount(E.SubscribeAccountRequest()),
        stub.SubscribePositions(E.SubscribePositionsRequest()),
    ]
    for call in calls:
        assert await call.read() is not grpc.aio.EOF
    assert len(stream_tasks()) == 5
    for call in calls:
        call.cancel()
    await wait_for(lambda: not stream_tasks())


async def test_a_stream_whose_venue_is_down_at_first_starts_when_it_is_back(
    perpetual: RunningConnector, control: Control
) -> None:
    """The subscriber waits through failures of the snapshot; it is not refused."""
    await control.fault(
        {"type": "http_status", "status": 500, "body": ""}, path="/fapi/v2/ticker/price"
    )
    call = perpetual.stub.SubscribePrice(E.SubscribePriceRequest(symbols=["BTCUSDT"]))
    reading = asyncio.get_running_loop().create_task(call.read())
    await wait_for(lambda: data_of(perpetual).market_streams.prices.stats.drops >= 2)
    assert not reading.done()
    await control.delete("faults")
    async with asyncio.timeout(60):
        assert (await reading).symbol == "BTCUSDT"
    call.cancel()


async def test_a_refused_key_ends_the_account_stream(
    perpetual: RunningConnector, control: Control
) -> None:
    """What cannot pass is told once, with its reason."""
    await control.fault(
        {"type": "reject", "code": -2015, "msg": "Invalid API-key.", "status": 401},
        operation="get_account",
    )
    call = perpetual.stub.SubscribeAccount(E.SubscribeAccountRequest())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    held: Any = caught.value
    status = rpc_status.from_call(held)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (caught.value.code(), info.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "VENUE_KEY_REFUSED",
    )
