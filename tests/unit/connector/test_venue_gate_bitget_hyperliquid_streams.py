"""The order streams of Gate, Bitget and Hyperliquid through ccxt.pro: subscribed, ready, read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.canned_markets import MARKETS
from tests.support.canned_venue import open_canned, open_venue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from services.connector.order_types import VenueOrder
    from services.connector.profile import VenueProfile

CLOID = "0x" + "ab" * 16
GATE_SPOT = {
    "id": "7",
    "text": "t-trend-1",
    "currency_pair": "BTC_USDT",
    "type": "limit",
    "side": "buy",
    "amount": "0.002",
    "left": "0.001",
    "price": "38026",
    "filled_total": "38.0255",
    "time_in_force": "gtc",
    "create_time_ms": "1700000000123",
    "update_time_ms": "1700000000456",
    "event": "update",
    "finish_as": "open",
}
GATE_SWAP = {
    "id": 7,
    "text": "t-trend-1",
    "contract": "BTC_USDT",
    "size": "20",
    "left": "10",
    "price": "38026",
    "fill_price": "38025.5",
    "tif": "gtc",
    "status": "open",
    "finish_as": "_update",
    "create_time_ms": 1700000000123,
    "finish_time_ms": 1700000000456,
}
BITGET = {
    "instId": "BTCUSDT",
    "orderId": "7",
    "clientOid": "trend-1",
    "size": "0.002",
    "orderType": "limit",
    "force": "gtc",
    "side": "buy",
    "price": "38026",
    "accBaseVolume": "0.001",
    "priceAvg": "38025.5",
    "status": "partially_filled",
    "feeDetail": [],
    "cTime": "1700000000123",
    "uTime": "1700000000456",
}
HYPERLIQUID = {
    "order": {
        "coin": "BTC",
        "side": "B",
        "limitPx": "38026.0",
        "sz": "0.001",
        "origSz": "0.002",
        "oid": 7,
        "timestamp": 1700000000123,
        "cloid": CLOID,
    },
    "status": "open",
    "statusTimestamp": 1700000000456,
}


def _gate(message: Any, row: dict[str, Any]) -> list[Any]:
    if message.get("event") != "subscribe":
        return []
    channel = message["channel"]
    done = {"channel": channel, "event": "subscribe", "result": {"status": "success"}}
    return [{"id": message["id"], **done}, {"channel": channel, "event": "update", "result": [row]}]


def _bitget(message: Any) -> list[Any]:
    if message.get("op") == "login":
        return [{"event": "login", "code": 0}]
    argument = message["args"][0]
    data = {"action": "snapshot", "arg": argument, "data": [BITGET], "ts": 1700000000500}
    return [{"event": "subscribe", "arg": argument}, data]


def _hyperliquid(message: Any) -> list[Any]:
    kind = message["subscription"]["type"]
    ready = {"channel": "subscriptionResponse", "data": message}
    if kind != "orderUpdates":
        fills = {"isSnapshot": True, "user": message["subscription"]["user"], "fills": []}
        return [ready, {"channel": kind, "data": fills}]
    return [ready, {"channel": kind, "data": [HYPERLIQUID]}]


TELL: dict[str, Callable[[Any], list[Any]]] = {
    "gate-spot": lambda message: _gate(message, GATE_SPOT),
    "gate-swap": lambda message: _gate(message, GATE_SWAP),
    "bitget-spot": _bitget,
    "bitget-swap": _bitget,
    "hyperliquid": _hyperliquid,
}


class Listener:
    """Reads messages as the order stream does."""

    def __init__(self, profile: VenueProfile) -> None:
        self._profile = profile
        self.ready_after: int | None = None
        self.orders: list[VenueOrder] = []
        self.done = asyncio.Event()

    def on_headers(self, headers: Mapping[str, str]) -> None:
        """Leave headers."""

    def on_connected(self, url: str) -> None:
        """An open socket is no stream yet on any of these venues."""
        assert not self._profile.stream_ready(None), url

    def on_message(self, message: Any) -> None:
        """Take one message of the socket."""
        if self._profile.stream_ready(message):
            self.ready_after = len(self.orders)
        self.orders.extend(self._profile.stream_orders(message))
        if self.orders and self.ready_after is not None:
            self.done.set()


@pytest.mark.parametrize("code", sorted(TELL))
async def test_an_update_of_an_order_is_read(code: str, tmp_path: Path) -> None:
    """The venue's word of the subscription comes first, then the order."""
    async with open_canned(tmp_path) as (canned, session):
        canned.answers, canned.tell = dict(MARKETS[code]), TELL[code]
        async with open_venue(code, session) as venue:
            canned.asked.clear()
            listener = Listener(venue.profile)
            venue.trading.observer = listener
            watching = asyncio.get_running_loop().create_task(
                venue.profile.calls.watch(venue.trading)
            )
            async with asyncio.timeout(60):
                await listener.done.wait()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            instrument = venue.instruments.find_exchange_symbol(listener.orders[0].exchange_symbol)
    # Nothing is signed over REST for it.
    assert canned.asked == []
    assert listener.ready_after == 0
    order = listener.orders[0]
    assert instrument is not None
    assert instrument.to_base_quantity(order.executed) == instrument.to_base_quantity(
        order.quantity - order.executed
    )
    assert order.client_order_id in ("trend-1", CLOID)
    assert not order.status.is_closed
