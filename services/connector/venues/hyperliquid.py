"""Hyperliquid perpetuals (USDC). Limits: API, "Rate limits and user limits".

The key is the account's address and the secret the key that signs, best one of an API wallet. The
venue has limit orders alone: no fill-or-kill, and a market order needs its bound.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from services.common.rate_window import Allowance
from services.connector.instruments import InstrumentKind, TradingStatus
from services.connector.order_types import TimeInForce
from services.connector.profile import (
    ClientIdForm,
    Credentials,
    EndpointClass,
    Fence,
    VenueProfile,
)
from services.connector.venues.hyperliquid_answers import ANSWERS, RATE_CODES, read_refusal
from services.connector.venues.hyperliquid_calls import HyperliquidOrderCalls
from services.connector.venues.hyperliquid_rows import (
    fill_row,
    order_row,
    place_reply,
    stream_orders,
    stream_ready,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.connector.order_types import OrderIntent


def _credentials(given: Credentials) -> dict[str, str]:
    return {"walletAddress": given.api_key, "privateKey": given.api_secret}


def _derive(digest: str) -> str:
    return f"0x{digest[:32]}"


def _order_params(intent: OrderIntent, venue_client_id: str) -> dict[str, Any]:
    params: dict[str, Any] = {"clientOrderId": venue_client_id, "reduceOnly": intent.reduce_only}
    if intent.post_only or intent.time_in_force is TimeInForce.GTX:
        params["postOnly"] = True
    elif intent.time_in_force is not None:
        params["timeInForce"] = intent.time_in_force.value
    return params


def _is_listed(market: Mapping[str, Any]) -> bool:
    # A colon names an exchange that somebody else built on this one.
    return market.get("swap") is True and ":" not in str(market.get("baseName"))


def _market_names(market: Mapping[str, Any]) -> tuple[str, str]:
    # ccxt's id is the asset's number and its base is in capitals; rows say kPEPE.
    name = str(market["baseName"])
    return name, name


def _trading_status(market: Mapping[str, Any]) -> TradingStatus:
    delisted = (market.get("info") or {}).get("isDelisted")
    return TradingStatus.ENDED if delisted is True else TradingStatus.TRADING


def _never_ended(message: Mapping[str, Any]) -> bool:
    # The venue only closes the socket.
    del message
    return False


_PROFILE: Final = VenueProfile(
    code="hyperliquid",
    ccxt_id="hyperliquid",
    kind=InstrumentKind.PERPETUAL,
    options={
        "defaultType": "swap",
        "fetchMarkets": {"types": ["swap"]},
        # What ccxt would sign unasked counts as done: a builder's fee, a referral, and a question
        # about the account's kind. See `hyperliquid_calls` for the builder on orders.
        "approvedBuilderFee": True,
        "builderFee": False,
        "refSet": True,
        "enableUnifiedMargin": False,
        "timeDifference": 0,
        # ccxt hands both on with the markets and sets them by reads that are not made here.
        "hip3TokensByName": {},
        "cachedCurrenciesById": {},
    },
    credentials=_credentials,
    client_ids=ClientIdForm(
        pattern=re.compile(r"0x[0-9a-f]{32}", re.ASCII), reserved_prefixes=(), derive=_derive
    ),
    # 1200 a minute and address for both together; the split is ours.
    allowances={
        EndpointClass.WEIGHT: (Allowance(900, 60.0),),
        EndpointClass.ORDER: (Allowance(300, 60.0),),
    },
    weights={
        "exchange_info": 20,
        "time": 2,
        "order_query": 2,
        "order_cancel": 1,
        "open_orders_cancel": 21,
        "open_orders": 20,
        "all_open_orders": 20,
        # 20, and one more for each 20 rows of at most two thousand.
        "order_trades": 120,
        "trades": 120,
        "order_book": 2,
        "account": 2,
        "positions": 2,
        # "All other documented info requests": 20; a list of candles costs more by its length.
        "price": 20,
        "all_day_tickers": 20,
        "open_interest": 20,
        "funding_rate": 20,
        "funding_history": 20,
        "income": 20,
        "klines": 37,
        "trading_fee": 20,
        "symbol_config": 20,
        # The open ones and the history, which has up to two thousand rows.
        "recent_orders": 140,
    },
    read_refusal=read_refusal,
    answers=ANSWERS,
    answer_messages={},
    rate_codes=RATE_CODES,
    # expiresAfter, signed with each action (API, exchange endpoint): the venue refuses what it gets
    # later. Without it an order is good for as long as its nonce, two days. It names no processing
    # bound; ours is Binance's. The clock bound is what our measured offset may be off by.
    fence=Fence(timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=1)),
    expiry_headers=None,
    is_listed=_is_listed,
    trading_status=_trading_status,
    calls=HyperliquidOrderCalls(),
    order_params=_order_params,
    place_reply=place_reply,
    order_row=order_row,
    fill_row=fill_row,
    stream_orders=stream_orders,
    stream_ready=stream_ready,
    stream_ended=_never_ended,
    # By time any span may be asked; two thousand rows come at most.
    trades_window=timedelta(days=7),
    margin_supported=False,
    fills_by_id=False,
    market_names=_market_names,
)
PROFILES: Final = (_PROFILE,)
