"""Each fault, shown by a request through real ccxt and by the simulator's own books."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import ccxt
import pytest

from tests.support.simulator import Control, ccxt_exchange, running_simulator

SYMBOL = "BTC/USDT:USDT"
OPTIONS = {"fetchCurrencies": False, "fetchMargins": False}


# Not frozen: ccxt objects inside change anyway.
@dataclass
class Venue:
    """A futures exchange on a simulator, with the simulator's control."""

    exchange: Any
    control: Control

    async def buy(self, client_order_id: str = "ours", amount: float = 0.1) -> Any:
        """Send one market order under an id of our own."""
        params = {"newClientOrderId": client_order_id}
        return await self.exchange.create_order(SYMBOL, "market", "buy", amount, None, params)

    async def fault(self, action: Mapping[str, Any]) -> None:
        """Arm a fault for placing orders."""
        await self.control.fault(action, operation="place_order")

    async def witness(self) -> tuple[list[str], list[str]]:
        """Return the client ids that arrived and those the venue's books hold."""
        arrived = [row["client_order_id"] for row in await self.control.get("requests")]
        booked = [row["client_order_id"] for row in await self.control.get("orders")]
        return arrived, booked


@pytest.fixture
async def venue() -> AsyncIterator[Venue]:
    """A loaded futures exchange with a short timeout."""
    async with (
        running_simulator() as simulator,
        ccxt_exchange(
            "binanceusdm", simulator.address, options=OPTIONS, timeout_ms=2000
        ) as exchange,
    ):
        await exchange.load_markets()
        yield Venue(exchange, Control(simulator.address))


async def eventually(venue: Venue, client_order_id: str) -> dict[str, Any]:
    """Return the venue's order of an id, polled for until it is there."""
    async with asyncio.timeout(60):
        while True:
            for row in await venue.control.get("orders"):
                if row["client_order_id"] == client_order_id:
                    return dict(row)
            await asyncio.sleep(0.02)


async def test_drop_before_leaves_no_order(venue: Venue) -> None:
    """The connection breaks and the venue's books are empty; only the arrival is known."""
    await venue.fault({"type": "drop_before"})
    with pytest.raises(ccxt.NetworkError):
        await venue.buy()
    assert await venue.witness() == (["ours"], [])
    (request,) = await venue.control.get("requests")
    assert request["fate"] == "dropped"


async def test_drop_after_leaves_an_executed_order(venue: Venue) -> None:
    """The connection breaks although the order has filled."""
    await venue.fault({"type": "drop_after"})
    with pytest.raises(ccxt.NetworkError):
        await venue.buy()
    assert await venue.witness() == (["ours"], ["ours"])
    found = await venue.exchange.fetch_order("", SYMBOL, {"clientOrderId": "ours"})
    assert found["status"] == "closed"


@pytest.mark.parametrize(("when", "booked"), [("before", []), ("after", ["ours"])])
async def test_delay_on_either_side_of_the_venue(
    venue: Venue, when: str, booked: list[str]
) -> None:
    """The caller gives up in both cases; what the venue has done by then differs."""
    await venue.fault({"type": "delay", "seconds": 20, "when": when})
    started = time.monotonic()
    with pytest.raises(ccxt.RequestTimeout):
        await venue.buy()
    assert 1.5 < time.monotonic() - started < 19
    assert (await venue.witness())[1] == booked


@pytest.mark.parametrize(("when", "booked"), [("before", []), ("after", ["ours"])])
async def test_http_status_before_and_after_acceptance(
    venue: Venue, when: str, booked: list[str]
) -> None:
    """The same 503 hides an executed order or none."""
    body = '{"code":-1000,"msg":"Unknown error, please check your request or try again later."}'
    await venue.fault({"type": "http_status", "status": 503, "body": body, "when": when})
    with pytest.raises(ccxt.OperationFailed, match="-1000"):
        await venue.buy()
    assert (await venue.witness())[1] == booked


async def test_truncated_json_comes_with_status_200(venue: Venue) -> None:
    """ccxt takes half a body for an order without an id; the venue has executed it."""
    await venue.fault({"type": "truncate_body", "bytes": 40})
    order = await venue.buy()
    assert order["id"] is None
    assert (await venue.witness())[1] == ["ours"]


async def test_a_transfer_that_breaks_off(venue: Venue) -> None:
    """The announced length does not come; that is a broken connection after acceptance."""
    await venue.fault({"type": "truncate_body", "bytes": 40, "declared": True})
    with pytest.raises(ccxt.ExchangeError):
        await venue.buy()
    assert (await venue.witness())[1] == ["ours"]


async def test_an_empty_body_with_status_200(venue: Venue) -> None:
    """Nothing in the reply, an order in the books."""
    await venue.fault({"type": "empty_body"})
    order = await venue.buy()
    assert order["id"] is None
    assert (await venue.witness())[1] == ["ours"]


async def test_reject_by_code(venue: Venue) -> None:
    """Any code and words of the venue; nothing is booked."""
    await venue.fault({"type": "reject", "code": -2019, "msg": "Margin is insufficient."})
    with pytest.raises(ccxt.BaseError, match='"code":-2019'):
        await venue.buy()
    assert (await venue.witness())[1] == []


@pytest.mark.parametrize("status", [429, 418])
async def test_rate_limit_with_retry_after(venue: Venue, status: int) -> None:
    """The refusal carries how long to wait."""
    await venue.fault({"type": "rate_limit", "status": status, "retry_after": 7})
    with pytest.raises(ccxt.DDoSProtection):
        await venue.buy()
    assert venue.exchange.last_response_headers["Retry-After"] == "7"
    assert (await venue.witness())[1] == []


async def test_partial_fill_by_ratio(venue: Venue) -> None:
    """Forty percent of the quantity fills, the rest expires."""
    await venue.fault({"type": "partial", "ratio": "0.4"})
    order = await venue.buy()
    assert (order["status"], order["filled"]) == ("expired", 0.04)


async def test_zero_fill(venue: Venue) -> None:
    """The order is taken and expires with nothing."""
    await venue.fault({"type": "zero_fill"})
    order = await venue.buy()
    assert (order["status"], order["filled"]) == ("expired", 0)


async def test_late_execution(venue: Venue) -> None:
    """Unknown now, not found, and then filled within the processing bound."""
    await venue.fault({"type": "late_execution", "seconds": 0.3})
    with pytest.raises(ccxt.RequestTimeout, match="-1007"):
        await venue.buy()
    with pytest.raises(ccxt.OrderNotFound):
        await venue.exchange.fetch_order("", SYMBOL, {"clientOrderId": "ours"})
    assert (await eventually(venue, "ours"))["status"] == "FILLED"


async def test_rules_are_narrow_and_counted(venue: Venue) -> None:
    """The second sell in one symbol fails and nothing else; the counts say so."""
    await venue.control.fault(
        {"type": "reject", "code": -1008, "msg": "Busy.", "status": 503},
        venue="binanceusdm",
        symbol="BTCUSDT",
        side="SELL",
        nth=2,
    )
    await venue.buy("a")
    await venue.exchange.create_order(SYMBOL, "market", "sell", 0.01)
    with pytest.raises(ccxt.BaseError, match="-1008"):
        await venue.exchange.create_order(SYMBOL, "market", "sell", 0.01)
    await venue.exchange.create_order(SYMBOL, "market", "sell", 0.01)
    (row,) = await venue.control.get("faults")
    assert (row["matched"], row["applied"]) == (3, 1)
    await venue.control.delete("faults")
    assert await venue.control.get("faults") == []


async def test_a_cancel_can_fail_too(venue: Venue) -> None:
    """Faults reach every operation, not only placing."""
    last = (await venue.exchange.fetch_ticker(SYMBOL))["last"]
    price = venue.exchange.price_to_precision(SYMBOL, last * 0.9)
    order = await venue.exchange.create_order(SYMBOL, "limit", "buy", 0.01, price)
    await venue.control.fault({"type": "drop_after"}, operation="cancel_order", times=1)
    # a keep-alive connection that breaks is tried again by aiohttp itself, for a DELETE
    with pytest.raises((ccxt.NetworkError, ccxt.OrderNotFound)):
        await venue.exchange.cancel_order(order["id"], SYMBOL)
    (row,) = await venue.control.get("orders")
    assert row["status"] == "CANCELED"


async def test_a_batch_shows_every_order_that_arrived(venue: Venue) -> None:
    """The witness counts orders, not requests, and order faults reach into a batch."""
    await venue.control.fault({"type": "zero_fill"}, symbol="ETHUSDT")
    rows = await venue.exchange.create_orders(
        [
            {"symbol": symbol, "type": "market", "side": "buy", "amount": 0.1, "params": params}
            for symbol, params in (
                (SYMBOL, {"newClientOrderId": "one"}),
                ("ETH/USDT:USDT", {"newClientOrderId": "two"}),
            )
        ]
    )
    assert sorted(row["filled"] for row in rows) == [0, 0.1]
    arrived, booked = await venue.witness()
    assert arrived == booked == ["one", "two"]
