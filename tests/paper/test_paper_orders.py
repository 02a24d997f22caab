"""Orders of connectors on paper: filled by the venue's books, in the paper venue's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from opensqt.market_maker.v1 import exchange_pb2, types_pb2
from services.common.errors import FatalError
from services.connector.settings import ConnectorPart
from services.simulator.core.orders import OrderRequest, OrderType, Product, Side, TimeInForce
from services.simulator.market.source import BookLevel, Kind
from tests.support.connector import (
    BUY,
    GTX,
    IOC,
    LIMIT,
    SELL,
    RunningConnector,
    by_id,
    eventually,
    number,
    order,
    running_connector,
)
from tests.support.paper import PaperVenue, paper_venue
from tests.support.simulator import ACCOUNT, running_simulator

SYMBOL = "BTCUSDT"
KINDS = {"binance": Kind.SPOT, "binanceusdm": Kind.PERPETUAL}
FILLED = types_pb2.ORDER_STATUS_FILLED


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PaperVenue]:
    """Run a venue whose market stands still, and its mirror; nobody connects to anywhere else."""
    hosts: set[str | None] = set()
    connect = aiohttp.TCPConnector.connect

    async def noted(self: aiohttp.TCPConnector, request: Any, *rest: Any, **named: Any) -> Any:
        hosts.add(request.url.host)
        return await connect(self, request, *rest, **named)

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", noted)
    async with paper_venue() as running:
        running.venue.simulation.clock.set_speed(Decimal(0))
        yield running
    assert hosts == {"127.0.0.1"}
    assert running.log.requests
    assert running.log.forbidden() == []
    assert running.venue.simulation.arrivals == []
    assert running.venue.user_stream_count == 0


def ladder(rig: PaperVenue, code: str, side: Side) -> tuple[BookLevel, ...]:
    """Return what an order of `side` meets at the real venue, best first."""
    market = rig.venue.simulation.market
    book = market.liquidity.book(KINDS[code], SYMBOL, market.now(), 50)
    return book.asks if side is Side.BUY else book.bids


def trade_at_venue(rig: PaperVenue, code: str, side: Side, quantity: Decimal) -> None:
    """Let somebody else trade at the real venue, by no call of ours."""
    exchange = rig.venue.simulation.exchange
    product = Product.PERPETUAL if code == "binanceusdm" else Product.SPOT
    request = OrderRequest(
        product, SYMBOL, side, OrderType.MARKET, TimeInForce.GTC, quantity, client_order_id="other"
    )
    other = exchange.accounts.by_name(ACCOUNT)
    other.spot.credit("BTC", quantity)
    exchange.place(other, request)


@pytest.mark.parametrize("code", list(KINDS))
@pytest.mark.parametrize("entry", ["rest", "websocket"])
async def test_a_taker_walks_the_venues_book_and_pays_its_fee(
    rig: PaperVenue, tmp_path: Path, code: str, entry: str
) -> None:
    """An order that is more than the best level fills level by level, as the book stands there."""
    asks = ladder(rig, code, Side.BUY)
    quantity = asks[0].quantity + asks[1].quantity
    async with running_connector(rig.part(code, tmp_path, order_entry=entry)) as connector:
        placed = await connector.stub.PlaceOrder(order(BUY, str(quantity)), timeout=20)
    fills = [(number(row.price), number(row.quantity)) for row in placed.trades]
    assert placed.status == FILLED
    assert fills == [(level.price, level.quantity) for level in asks[:2]]
    rate = Decimal("0.0005" if code == "binanceusdm" else "0.001")
    paid = sum((price * amount for price, amount in fills), Decimal(0))
    fees = sum((number(row.fee) for row in placed.trades), Decimal(0))
    expected = rate * (paid if code == "binanceusdm" else quantity)
    assert abs(fees - expected) <= Decimal("0.00000001") * len(fills)


async def test_more_than_the_book_has_is_filled_in_part(rig: PaperVenue, tmp_path: Path) -> None:
    """A limit IOC takes what stands there up to its price, and no more."""
    asks = ladder(rig, "binanceusdm", Side.BUY)
    request = order(
        BUY,
        str(asks[0].quantity * 3),
        type=LIMIT,
        price=str(asks[0].price),
        time_in_force=IOC,
    )
    async with running_connector(rig.part("binanceusdm", tmp_path)) as connector:
        placed = await connector.stub.PlaceOrder(request, timeout=20)
    assert number(placed.executed_qty) == asks[0].quantity


@pytest.mark.parametrize("code", list(KINDS))
async def test_a_post_only_order_fills_when_trades_go_through_it(
    rig: PaperVenue, tmp_path: Path, code: str
) -> None:
    """It rests while nobody trades beyond its price, then fills there as a maker."""
    bids = ladder(rig, code, Side.SELL)
    request = order(
        BUY, "0.002", type=LIMIT, price=str(bids[0].price), time_in_force=GTX, post_only=True
    )
    async with running_connector(rig.part(code, tmp_path)) as connector:
        placed = await connector.stub.PlaceOrder(request, timeout=20)
        assert placed.status == types_pb2.ORDER_STATUS_NEW
        follows = len([one for one in rig.log.requests if "rades" in one.path])

        async def followed() -> bool:
            return len([one for one in rig.log.requests if "rades" in one.path]) > follows + 1

        await eventually(followed)
        trade_at_venue(rig, code, Side.SELL, bids[0].quantity + bids[1].quantity)

        async def filled() -> bool:
            seen = await connector.stub.GetOrder(by_id(placed.client_order_id), timeout=5)
            return bool(seen.status == FILLED)

        await eventually(filled)
        found = await connector.stub.GetOrder(by_id(placed.client_order_id), timeout=5)
    assert number(found.avg_price) == bids[0].price


@pytest.mark.parametrize("code", list(KINDS))
@pytest.mark.parametrize(
    "book",
    [
        '{"lastUpdateId": 1, "bids": [["10", "1"]], "asks": [["9", "1"]]}',
        '{"lastUpdateId": 1, "bids": [["0", "1"]], "asks": [["NaN", "1"]]}',
        "<html>busy</html>",
    ],
)
async def test_a_book_that_cannot_be_fills_nothing(
    rig: PaperVenue, tmp_path: Path, code: str, book: str
) -> None:
    """Crossed, of no numbers, no book at all: a definite refusal, and the next good one fills."""
    await _serve_book(rig, code, book)
    async with running_connector(rig.part(code, tmp_path)) as connector:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await connector.stub.PlaceOrder(order(BUY, "0.01"), timeout=20)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert await rig.control.get("trades") == []
        await rig.control_of_venue.delete("faults")
        placed = await connector.stub.PlaceOrder(order(BUY, "0.01"), timeout=20)
    assert placed.status == FILLED


@pytest.mark.parametrize("code", list(KINDS))
async def test_an_empty_book_fills_nothing(rig: PaperVenue, tmp_path: Path, code: str) -> None:
    """An order at market ends as on a venue where nobody stands."""
    await _serve_book(rig, code, '{"lastUpdateId": 1, "bids": [], "asks": []}')
    async with running_connector(rig.part(code, tmp_path)) as connector:
        placed = await connector.stub.PlaceOrder(order(BUY, "0.01"), timeout=20)
    assert placed.status == types_pb2.ORDER_STATUS_EXPIRED
    assert number(placed.executed_qty) == 0
    assert await rig.control.get("trades") == []


async def _serve_book(rig: PaperVenue, code: str, book: str) -> None:
    path = "/fapi/v1/depth" if code == "binanceusdm" else "/api/v3/depth"
    answer = {"type": "http_status", "status": 200, "body": book}
    await rig.control_of_venue.fault(answer, path=path)


async def test_public_data_is_the_venues_own_byte_for_byte(rig: PaperVenue) -> None:
    """What a connector reads of the market is what the venue says, its weight header included."""
    async with aiohttp.ClientSession() as session:
        for path in (
            "/api/v3/exchangeInfo",
            f"/api/v3/klines?symbol={SYMBOL}&interval=1h&limit=5",
            f"/fapi/v1/fundingRate?symbol={SYMBOL}&limit=3",
            "/fapi/v1/fundingInfo",
        ):
            async with session.get(rig.venue.url + path) as theirs:
                said = await theirs.read()
            async with session.get(rig.paper.url + path) as ours:
                repeated = await ours.read()
            # the one field that tells when it was asked
            assert _timeless(repeated) == _timeless(said), path
            assert ("X-MBX-USED-WEIGHT-1M" in ours.headers) is (
                "X-MBX-USED-WEIGHT-1M" in theirs.headers
            )


def _timeless(body: bytes) -> bytes:
    before, mark, after = body.partition(b'"serverTime":')
    return before + mark + after[13:]


async def test_streams_of_the_venue_are_passed_on(rig: PaperVenue, tmp_path: Path) -> None:
    """A subscriber of books gets the venue's own, and the venue sees no private stream."""
    async with running_connector(rig.part("binanceusdm", tmp_path)) as connector:
        request = exchange_pb2.SubscribePriceRequest(symbols=[SYMBOL])
        stream = connector.stub.SubscribePrice(request)
        async with asyncio.timeout(10):
            first = await stream.read()
        stream.cancel()
    assert first is not None


@pytest.mark.parametrize("code", list(KINDS))
async def test_a_simulator_without_a_mirror_is_no_paper_venue(code: str, tmp_path: Path) -> None:
    """The start ends there: its market is made up too."""
    async with running_simulator() as simulator:
        part = ConnectorPart(
            exchange=code, paper_url=simulator.url, ledger_path=tmp_path / "paper.ledger"
        )
        with pytest.raises(FatalError, match="no paper venue") as ended:
            async with running_connector(part):
                raise RuntimeError("the connector started")
    assert ended.value.reason == "NO_PAPER_VENUE"


async def test_a_venue_that_asks_for_silence_is_left_alone() -> None:
    """One refusal for too many requests is told to all who ask, and nobody asks the venue again."""
    async with paper_venue() as rig:
        refusal = {"type": "rate_limit", "status": 429, "retry_after": 60}
        await rig.control_of_venue.fault(refusal, path="/fapi/v1/premiumIndex")
        url = f"{rig.paper.url}/fapi/v1/klines?symbol={SYMBOL}&interval=1h&limit=1"
        async with aiohttp.ClientSession() as session:

            async def is_told() -> bool:
                async with session.get(url) as answer:
                    return answer.status == 429 and int(answer.headers["Retry-After"]) > 50

            await eventually(is_told)
            asked = len([one for one in rig.log.requests if one.path.startswith("/fapi/")])
            assert await is_told()
        assert asked == len([one for one in rig.log.requests if one.path.startswith("/fapi/")])


async def test_a_position_whose_own_price_is_missing_is_not_told(
    rig: PaperVenue, tmp_path: Path
) -> None:
    """The venue's list of marks goes on, without that symbol."""
    async with running_connector(rig.part("binanceusdm", tmp_path)) as connector:
        await connector.stub.PlaceOrder(order(BUY, "0.01"), timeout=20)
        assert await _tells_positions(connector)
        path = "/fapi/v1/premiumIndex"
        async with aiohttp.ClientSession() as session, session.get(rig.venue.url + path) as answer:
            others = [row for row in await answer.json() if row["symbol"] != SYMBOL]
        answer_without = {"type": "http_status", "status": 200, "body": json.dumps(others)}
        await rig.control_of_venue.fault(answer_without, path=path)
        await eventually(partial(_tells_no_positions, connector))
        assert (await rig.control.get("mirror"))["away"] == {}
        await rig.control_of_venue.delete("faults")
        await eventually(partial(_tells_positions, connector))


async def _tells_positions(connector: RunningConnector) -> bool:
    try:
        await connector.stub.GetPositions(exchange_pb2.GetPositionsRequest(), timeout=5)
    except grpc.aio.AioRpcError:
        return False
    return True


async def _tells_no_positions(connector: RunningConnector) -> bool:
    return not await _tells_positions(connector)


async def test_a_venue_that_is_away_gets_no_order_filled(tmp_path: Path) -> None:
    """Orders are refused, what rests stays, reads fail; once it is back, orders fill again."""
    async with (
        paper_venue() as rig,
        running_connector(rig.part("binanceusdm", tmp_path)) as connector,
    ):
        bids = ladder(rig, "binanceusdm", Side.SELL)
        resting = await connector.stub.PlaceOrder(
            order(BUY, "0.002", type=LIMIT, price=str(bids[-1].price), time_in_force=GTX),
            timeout=20,
        )
        await rig.control_of_venue.fault({"type": "http_status", "status": 503, "body": ""})
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await connector.stub.PlaceOrder(order(SELL, "0.01"), timeout=20)
        assert "paper: " in (refused.value.details() or "")
        with pytest.raises(grpc.aio.AioRpcError):
            await connector.stub.GetFundingRates(exchange_pb2.GetFundingRatesRequest(), timeout=5)
        # a mark price of the past would stand there as that of now
        await eventually(partial(_tells_no_positions, connector))
        away = (await rig.control.get("mirror"))["away"]
        assert "was answered with 503" in away["perpetual prices"]
        assert await rig.control.get("trades") == []
        assert [row["status"] for row in await rig.control.get("orders")] == ["NEW"]
        await rig.control_of_venue.delete("faults")
        await eventually(partial(_tells_positions, connector))
        placed = await connector.stub.PlaceOrder(order(SELL, "0.01"), timeout=20)
        assert placed.status == FILLED
        held = await connector.stub.GetPositions(exchange_pb2.GetPositionsRequest(), timeout=5)
        assert [row.symbol for row in held.positions] == [SYMBOL]
        await connector.stub.CancelOrder(
            exchange_pb2.CancelOrderRequest(symbol=SYMBOL, client_order_id=resting.client_order_id),
            timeout=5,
        )
    assert rig.log.forbidden() == []
