"""New orders of Binance as sent from here, held to what ccxt makes of the same orders."""

from __future__ import annotations

import hashlib
import hmac
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import aiohttp
import pytest

from services.connector.exchange_factory import build_exchange
from services.connector.order_calls import NewOrder
from services.connector.order_types import OrderIntent, OrderType, Side, TimeInForce
from services.connector.profile import Credentials
from services.connector.venues import find_profile
from services.connector.venues.binance_calls import BinanceOrderCalls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_NOW = 1_700_000_000_000
_VENUES = {"binance": ("BTC/USDT", "private"), "binanceusdm": ("BTC/USDT:USDT", "fapiPrivate")}
_KINDS = {
    "market": (OrderType.MARKET, None, False),
    "limit": (OrderType.LIMIT, None, False),
    "GTC": (OrderType.LIMIT, TimeInForce.GTC, False),
    "IOC": (OrderType.LIMIT, TimeInForce.IOC, False),
    "FOK": (OrderType.LIMIT, TimeInForce.FOK, False),
    "GTX": (OrderType.LIMIT, TimeInForce.GTX, False),
    "post only": (OrderType.LIMIT, TimeInForce.GTC, True),
}


def market(unified: str) -> dict[str, Any]:
    """Return a market in ccxt's words."""
    swap = ":" in unified
    return {
        "id": "BTCUSDT",
        "symbol": unified,
        "type": "swap" if swap else "spot",
        "spot": not swap,
        "swap": swap,
        "future": False,
        "option": False,
        "contract": swap,
        "linear": True if swap else None,
        "inverse": False if swap else None,
        "precision": {"amount": "0.001", "price": "0.1"},
        "limits": {},
        "info": {"orderTypes": ["LIMIT", "MARKET", "LIMIT_MAKER"]},
    }


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session that sends nothing here."""
    async with aiohttp.ClientSession() as opened:
        yield opened


def open_exchange(code: str, session: aiohttp.ClientSession) -> Any:
    """Return a connector's ccxt instance with one market and a clock that stands."""
    exchange = build_exchange(
        find_profile(code),
        session,
        base_url=None,
        credentials=Credentials("the-key", "the-secret"),
        recv_window=timedelta(seconds=5),
        request_timeout=timedelta(seconds=10),
    )
    unified = _VENUES[code][0]
    exchange.markets = {unified: market(unified)}
    exchange.markets_by_id = {"BTCUSDT": [exchange.markets[unified]]}
    exchange.symbols = [unified]
    exchange.milliseconds = lambda: _NOW
    return exchange


def new_order(code: str, kind: str, side: Side, *, reduce_only: bool) -> NewOrder:
    """Return an order as `VenueOrders` words it."""
    type_, time_in_force, post_only = _KINDS[kind]
    price = None if type_ is OrderType.MARKET else Decimal("100.1")
    intent = OrderIntent(
        client_order_id="mine:1/a",
        symbol="BTCUSDT",
        side=side,
        type=type_,
        time_in_force=time_in_force,
        quantity=Decimal("0.25"),
        price=price,
        reduce_only=reduce_only,
        post_only=post_only,
        use_margin=False,
        asked_type=type_,
    )
    params = find_profile(code).order_params(intent, "mine:1/a")
    text = None if price is None else str(price)
    return NewOrder(_VENUES[code][0], type_.value, side.value, "0.25", text, params)


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(
    ("code", "reduce_only"), [("binance", False), ("binanceusdm", False), ("binanceusdm", True)]
)
async def test_an_order_is_what_ccxt_would_send(
    session: aiohttp.ClientSession, code: str, reduce_only: bool, side: Side, kind: str
) -> None:
    """URL, headers and every parameter are ccxt's own, and the signature is of the text sent."""
    exchange = open_exchange(code, session)
    order = new_order(code, kind, side, reduce_only=reduce_only)
    section = _VENUES[code][1]
    form = exchange.create_order_request(
        order.unified, order.type, order.side, order.amount, order.price, order.params
    )
    expected = exchange.sign("order", [section, "POST"], "POST", form)
    url, headers, body = BinanceOrderCalls(section).signed(exchange, order)
    assert (url, headers) == (expected["url"], expected["headers"])
    text, _, signature = body.rpartition("&signature=")
    assert dict(parse_qsl(text)) == dict(parse_qsl(expected["body"].rpartition("&")[0]))
    assert signature == hmac.new(b"the-secret", text.encode(), hashlib.sha256).hexdigest()
