"""Binance spot. Limits: rest-api.md and exchangeInfo.rateLimits; weights per endpoint there."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from services.common.rate_window import Allowance
from services.connector.instruments import InstrumentKind
from services.connector.profile import (
    EndpointClass,
    Fence,
    VenueProfile,
    plain_credentials,
)
from services.connector.venues.binance_answers import (
    ANSWER_MESSAGES,
    ANSWERS,
    RATE_CODES,
    read_refusal,
)
from services.connector.venues.binance_calls import BinanceOrderCalls
from services.connector.venues.binance_family import (
    CLIENT_IDS,
    COMMON_OPTIONS,
    order_params,
    trading_status,
)
from services.connector.venues.binance_rows import (
    fill_row,
    order_row,
    stream_ended,
    stream_orders,
)
from services.connector.venues.binance_websocket import websocket_form

if TYPE_CHECKING:
    from collections.abc import Mapping


def _is_listed(market: Mapping[str, Any]) -> bool:
    return market.get("spot") is True


def _stream_ready(message: Mapping[str, Any] | None) -> bool:
    # The WebSocket API answers the signed subscription with its id.
    result = None if message is None else message.get("result")
    return isinstance(result, dict) and "subscriptionId" in result


_PROFILE: Final = VenueProfile(
    code="binance",
    ccxt_id="binance",
    kind=InstrumentKind.SPOT,
    options={**COMMON_OPTIONS, "defaultType": "spot", "fetchMarkets": {"types": ["spot"]}},
    credentials=plain_credentials,
    client_ids=CLIENT_IDS,
    allowances={
        EndpointClass.WEIGHT: (Allowance(6_000, 60.0, "x-mbx-used-weight-1m"),),
        EndpointClass.ORDER: (
            Allowance(100, 10.0, "x-mbx-order-count-10s"),
            Allowance(200_000, 86_400.0, "x-mbx-order-count-1d"),
        ),
        EndpointClass.SAPI: (Allowance(12_000, 60.0, "x-sapi-used-ip-weight-1m"),),
    },
    weights={
        "exchange_info": 20,
        "order_query": 4,
        "open_orders": 6,
        "all_open_orders": 80,
        "recent_orders": 20,
        "order_cancel": 1,
        "open_orders_cancel": 1,
        "trades": 20,
        "order_trades": 5,
        "account": 20,
        "klines": 2,
        "all_day_tickers": 80,
        "all_book_tickers": 4,
        "all_prices": 4,
        "price": 2,
        "order_book": 5,
        "time": 1,
        "trading_fees": 1,
        "borrow_rate": 100,
    },
    read_refusal=read_refusal,
    answers=ANSWERS,
    answer_messages=ANSWER_MESSAGES,
    rate_codes=RATE_CODES,
    # recvWindow is ours to choose; the processing bound is the venue's -1007 ("timeout waiting for
    # the backend", 10 s); the clock bound is what our measured offset may be off by.
    fence=Fence(timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=1)),
    expiry_headers=None,
    is_listed=_is_listed,
    trading_status=trading_status,
    calls=BinanceOrderCalls("private"),
    order_params=order_params,
    place_reply=order_row,
    order_row=order_row,
    fill_row=fill_row,
    stream_orders=stream_orders,
    stream_ready=_stream_ready,
    stream_ended=stream_ended,
    # myTrades: startTime and endTime at most 24 h apart.
    trades_window=timedelta(hours=24),
    websocket=websocket_form("spot"),
    margin_supported=True,
)
PROFILES: Final = (_PROFILE,)
