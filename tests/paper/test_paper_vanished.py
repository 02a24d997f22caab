"""The end of a coin on paper: a symbol that the venue lists no more, without a word before."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from opensqt.market_maker.v1 import exchange_pb2, types_pb2
from services.simulator.core.accounts import Account
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

GONE, STAYS = "BTCUSDT", "ETHUSDT"
RULES = {"binance": "/api/v3/exchangeInfo", "binanceusdm": "/fapi/v1/exchangeInfo"}
PRICES = {"binance": "/api/v3/ticker/price", "binanceusdm": "/fapi/v1/premiumIndex"}
LISTING_SECONDS = 61.0
"""After how long, by its own clock, the matching core looks at the list again."""


class JumpClock:
    """The machine's clock, which the test can set ahead."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        """Return the shifted instant."""
        return datetime.now(UTC) + self.ahead


async def _ask_venue(rig: PaperVenue, path: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(rig.venue.url + path) as answer:
        return await answer.json()


def _without(told: Any) -> str:
    """Return an answer of the venue without the row of one symbol."""
    rows = told["symbols"] if isinstance(told, dict) else told
    left = [row for row in rows if row["symbol"] != GONE]
    return json.dumps({**told, "symbols": left} if isinstance(told, dict) else left)


async def _serve(rig: PaperVenue, path: str, body: str, **match: Any) -> None:
    action = {"type": "http_status", "status": 200, "body": body}
    rule = {"id": path, "match": {"path": path, **match}, "action": action}
    await rig.control_of_venue.post("faults", [rule])


async def _readings(rig: PaperVenue, path: str, count: int) -> None:
    """Wait until the mirror has read a list so many times more."""
    before = len([one for one in rig.log.requests if one.path == path])

    async def is_read() -> bool:
        return len([one for one in rig.log.requests if one.path == path]) >= before + count

    await eventually(is_read)


async def _core_looks(rig: PaperVenue, clock: JumpClock, code: str) -> None:
    """Let the core take up what the mirror read, by prices that are new again."""
    clock.ahead += timedelta(seconds=LISTING_SECONDS)
    await _readings(rig, PRICES[code], 3)


async def _hold_and_rest(connector: RunningConnector) -> str:
    """Buy some of both symbols, let an order rest in one, and return its id."""
    for symbol in (GONE, STAYS):
        placed = await connector.stub.PlaceOrder(order(BUY, "0.05", symbol=symbol), timeout=20)
        assert placed.status == types_pb2.ORDER_STATUS_FILLED
    bid, _ = await best_prices(connector.stub, GONE)
    price = f"{bid * 9 / 10:.1f}"
    resting = await connector.stub.PlaceOrder(
        order(BUY, "0.002", type=LIMIT, price=price, time_in_force=GTX), timeout=20
    )
    assert resting.status == types_pb2.ORDER_STATUS_NEW
    return str(resting.client_order_id)


async def _status(rig: PaperVenue, client_order_id: str) -> str:
    rows = await rig.control.get("orders")
    (status,) = [row["status"] for row in rows if row["client_order_id"] == client_order_id]
    return str(status)


async def _has_status(rig: PaperVenue, client_order_id: str, status: str) -> bool:
    return await _status(rig, client_order_id) == status


async def _refuses(connector: RunningConnector) -> bool:
    try:
        await connector.stub.PlaceOrder(order(BUY, "0.01"), timeout=20)
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.FAILED_PRECONDITION
    return False


async def _tells(connector: RunningConnector, symbols: list[str]) -> bool:
    """Tell whether positions can be read, and are in these symbols."""
    request = exchange_pb2.GetPositionsRequest()
    try:
        told = await connector.stub.GetPositions(request, timeout=5)
    except grpc.aio.AioRpcError:
        return False
    return [row.symbol for row in told.positions] == symbols


def _account(rig: PaperVenue) -> Account:
    (account,) = rig.paper.simulation.exchange.accounts.all()
    return account


def _held(rig: PaperVenue) -> dict[str, Decimal]:
    return {row.symbol: row.quantity for row in _account(rig).futures.open_positions()}


@pytest.mark.parametrize("code", list(RULES))
async def test_a_symbol_that_vanished_ends_on_paper(tmp_path: Path, code: str) -> None:
    """Its orders expire, new ones are refused, a perpetual is settled at its last mark; coins stay.

    One list that lacks it does nothing, nor does any number of lists that lack half.
    """
    clock = JumpClock()
    async with (
        paper_venue(wire=clock, reload_seconds=0.2, price_seconds=0.2) as rig,
        running_connector(rig.part(code, tmp_path, clock_check_seconds=0.2)) as connector,
    ):
        rig.venue.simulation.clock.set_speed(Decimal(0))
        resting = await _hold_and_rest(connector)
        coins, positions = _account(rig).spot.get("BTC").free, _held(rig)
        rules, prices = RULES[code], PRICES[code]
        listing = _without(await _ask_venue(rig, rules))

        await _serve(rig, rules, listing, times=1)
        await _readings(rig, rules, 4)
        whole: Any = json.loads(listing)
        half = {**whole, "symbols": whole["symbols"][: len(whole["symbols"]) // 2]}
        await _serve(rig, rules, json.dumps(half), times=3)
        await _readings(rig, rules, 4)
        await _serve(rig, rules, json.dumps({**whole, "symbols": []}), times=2)
        await _readings(rig, rules, 3)
        await _core_looks(rig, clock, code)
        assert await _status(rig, resting) == "NEW"
        assert _held(rig) == positions

        wallet = _account(rig).futures.balance("USDT")
        await _serve(rig, rules, listing)
        priced = await _ask_venue(rig, prices)
        await _readings(rig, prices, 2)
        await _serve(rig, prices, _without(priced))
        await _readings(rig, rules, 4)
        await _core_looks(rig, clock, code)
        await eventually(partial(_has_status, rig, resting, "EXPIRED"))
        assert await _refuses(connector)
        assert _account(rig).spot.get("BTC").free == coins
        if code == "binanceusdm":
            (mark,) = [Decimal(row["markPrice"]) for row in priced if row["symbol"] == GONE]
            await _check_settled(rig, mark, wallet, positions)
            await eventually(partial(_tells, connector, [STAYS]))
    assert rig.log.forbidden() == []


async def _check_settled(
    rig: PaperVenue, mark: Decimal, wallet: Decimal, positions: dict[str, Decimal]
) -> None:
    """The account got what the position was worth at the last mark, without a fee."""
    assert _held(rig) == {STAYS: positions[STAYS]}
    *bought, settled = [row for row in await rig.control.get("trades") if row["symbol"] == GONE]
    assert Decimal(settled["price"]) == mark
    paid = sum(Decimal(row["price"]) * Decimal(row["quantity"]) for row in bought)
    gain = positions[GONE] * mark - paid
    assert abs(_account(rig).futures.balance("USDT") - wallet - gain) < Decimal("0.00000002")
