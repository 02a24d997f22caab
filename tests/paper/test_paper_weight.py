"""A mirror beside others of its address: it waits, and what it waits for is not made up."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import aiohttp
import grpc
import pytest

from opensqt.market_maker.v1 import exchange_pb2, types_pb2
from tests.support.connector import (
    BUY,
    GTX,
    LIMIT,
    RunningConnector,
    best_prices,
    eventually,
    order,
    running_connector,
)
from tests.support.paper import PaperVenue, paper_venue

TICKERS, TICKERS_WEIGHT = "/fapi/v1/ticker/24hr", 40
MARKS, BOOK = "/fapi/v1/premiumIndex", "/fapi/v1/depth"


class MinuteClock:
    """The machine's clock, set back to where a minute begins: the venue's lasts for the test."""

    def __init__(self) -> None:
        now = datetime.now(UTC)
        self._ahead = now - now.replace(second=0, microsecond=0)

    def now(self) -> datetime:
        """Return the shifted instant."""
        return datetime.now(UTC) - self._ahead


async def _use(rig: PaperVenue, weight: int) -> None:
    """Let another program of this address ask the venue, past the mirror."""
    async with aiohttp.ClientSession() as session:
        for _ in range(weight // TICKERS_WEIGHT):
            async with session.get(rig.venue.url + TICKERS) as answer:
                assert answer.status == 200


async def _says_put_off(rig: PaperVenue, what: str) -> bool:
    away = (await rig.control.get("mirror"))["away"]
    return "put off for" in away.get(what, "")


def _asked(rig: PaperVenue, path: str) -> int:
    return len([one for one in rig.log.requests if one.path == path])


async def _asks_more(rig: PaperVenue, path: str, before: int) -> bool:
    return _asked(rig, path) > before


async def _tells_no_positions(connector: RunningConnector) -> bool:
    try:
        await connector.stub.GetPositions(exchange_pb2.GetPositionsRequest(), timeout=5)
    except grpc.aio.AioRpcError:
        return True
    return False


async def test_a_mirror_leaves_the_weight_to_others_of_its_address(tmp_path: Path) -> None:
    """At half the limit what rests is not followed, at 70 % nothing is asked and nothing told."""
    async with (
        paper_venue(wire=MinuteClock(), price_seconds=0.3) as rig,
        running_connector(rig.part("binanceusdm", tmp_path)) as connector,
    ):
        bid, _ = await best_prices(connector.stub)
        price = f"{bid * 9 / 10:.1f}"
        resting = order(BUY, "0.002", type=LIMIT, price=price, time_in_force=GTX)
        placed = await connector.stub.PlaceOrder(resting, timeout=20)
        assert placed.status == types_pb2.ORDER_STATUS_NEW
        await eventually(partial(_asks_more, rig, BOOK, _asked(rig, BOOK)))
        await _use(rig, 1200)
        await eventually(partial(_says_put_off, rig, "resting orders"))
        books, marks = _asked(rig, BOOK), _asked(rig, MARKS)
        await eventually(partial(_asks_more, rig, MARKS, marks + 3))
        assert _asked(rig, BOOK) == books
        await _use(rig, 480)
        await eventually(partial(_says_put_off, rig, "perpetual prices"))
        marks = _asked(rig, MARKS)
        # marks grow old as they do when the venue is away
        await eventually(partial(_tells_no_positions, connector))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await connector.stub.PlaceOrder(order(BUY, "0.01"), timeout=20)
        assert "paper: put off for" in (refused.value.details() or "")
        assert (_asked(rig, MARKS), _asked(rig, BOOK)) == (marks, books)
        assert await rig.control.get("trades") == []
        assert not await _says_put_off(rig, "spot prices")
    assert rig.log.forbidden() == []
