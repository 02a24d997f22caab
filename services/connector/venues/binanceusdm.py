"""Binance USD-M perpetuals. Limits: USD-M General-Info and exchangeInfo.rateLimits."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from services.common.rate_window import Allowance
from services.connector.instruments import InstrumentKind
from services.connector.order_calls import TradedSymbols
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
    return market.get("swap") is True and market.get("linear") is True


def _stream_ready(message: Mapping[str, Any] | None) -> bool:
    # The listen key is in the URL: an open socket is a running stream.
    return message is None


class UsdmOrderCalls(BinanceOrderCalls):
    """Binance's calls, and the income history, which tells of all symbols at once."""

    async def traded_symbols(self, exchange: Any, since: int) -> TradedSymbols:
        """Return the symbols of the commissions paid since an instant in ms, the latest 1000."""
        rows = await exchange.fapiPrivateGetIncome(
            {"incomeType": "COMMISSION", "startTime": since, "limit": 1000}
        )
        # Income is booked after its trade: a hint, not the whole of it.
        return TradedSymbols(frozenset(str(row["symbol"]) for row in rows), whole=False)


_PROFILE: Final = VenueProfile(
    code="binanceusdm",
    ccxt_id="binanceusdm",
    kind=InstrumentKind.PERPETUAL,
    options={**COMMON_OPTIONS, "fetchMarkets": {"types": ["linear"]}},
    credentials=plain_credentials,
    client_ids=CLIENT_IDS,
    allowances={
        EndpointClass.WEIGHT: (Allowance(2_400, 60.0, "x-mbx-used-weight-1m"),),
        EndpointClass.ORDER: (
            Allowance(300, 10.0, "x-mbx-order-count-10s"),
            Allowance(1_200, 60.0, "x-mbx-order-count-1m"),
        ),
        # fundingRate and fundingInfo share 500 requests per 5 minutes and IP; ccxt does not know.
        EndpointClass.FUNDING_HISTORY: (Allowance(500, 300.0),),
        EndpointClass.SAPI: (Allowance(12_000, 60.0, "x-sapi-used-ip-weight-1m"),),
    },
    weights={
        "exchange_info": 1,
        "order_query": 1,
        "open_orders": 1,
        "all_open_orders": 40,
        "recent_orders": 5,
        "traded_symbols": 30,
        "order_cancel": 1,
        "open_orders_cancel": 1,
        "trades": 5,
        "order_trades": 5,
        "account": 5,
        "positions": 5,
        "leverage_bracket": 1,
        "klines": 5,
        "all_day_tickers": 40,
        "all_book_tickers": 5,
        "all_prices": 2,
        "price": 1,
        "order_book": 5,
        "time": 1,
        "trading_fee": 20,
        "income": 30,
        "open_interest": 1,
        "all_funding_rates": 10,
        "funding_rate": 1,
        "position_mode": 30,
    },
    read_refusal=read_refusal,
    answers=ANSWERS,
    answer_messages=ANSWER_MESSAGES,
    rate_codes=RATE_CODES,
    # recvWindow is ours to choose; that an order may execute up to 10 s after a 503 or -1007 is the
    # venue's word (USD-M General-Info); the clock bound is what our measured offset may be off by.
    fence=Fence(timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=1)),
    expiry_headers=None,
    is_listed=_is_listed,
    trading_status=trading_status,
    end_fields=("deliveryDate",),
    calls=UsdmOrderCalls("fapiPrivate"),
    order_params=order_params,
    place_reply=order_row,
    order_row=order_row,
    fill_row=fill_row,
    stream_orders=stream_orders,
    stream_ready=_stream_ready,
    stream_ended=stream_ended,
    # userTrades: startTime and endTime at most 7 days apart.
    trades_window=timedelta(days=7),
    websocket=websocket_form("linear"),
    margin_supported=False,
)
PROFILES: Final = (_PROFILE,)
