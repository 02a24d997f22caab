"""OKX: spot and linear perpetual swaps of one account, v5 API.

Limits are per endpoint at OKX, mostly "N requests per 2 seconds", and so they are counted here:
were they one pool, the few calls that each start makes would use it up and hold an entry back.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from services.common.rate_window import Allowance
from services.connector.instruments import InstrumentKind, TradingStatus
from services.connector.order_types import OrderType, TimeInForce
from services.connector.profile import (
    ClientIdForm,
    EndpointClass,
    Fence,
    VenueProfile,
    plain_credentials,
)
from services.connector.venue_client_ids import derive_plain
from services.connector.venues.okx_answers import ANSWERS, RATE_CODES, read_refusal
from services.connector.venues.okx_calls import OkxOrderCalls
from services.connector.venues.okx_rows import (
    fill_row,
    order_row,
    place_reply,
    stream_ended,
    stream_orders,
    stream_ready,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from services.connector.order_types import OrderIntent

_STATES: Final = {
    "live": TradingStatus.TRADING,
    "suspend": TradingStatus.BREAK,
    "preopen": TradingStatus.BREAK,
    "post_only": TradingStatus.BREAK,
    "rebase": TradingStatus.BREAK,
    "test": TradingStatus.BREAK,
}
_OPTIONS: Final[dict[str, Any]] = {
    "adjustForTimeDifference": False,
    "timeDifference": 0,
    # ccxt's default is the batch endpoint; one order is refused there in one more way.
    "createOrder": "privatePostTradeOrder",
    # Sizes of market orders are in the base; OKX's own default for buys is the quote.
    "tgtCcy": "base_ccy",
    # Else watching positions reads them unbidden.
    "watchPositions": {"fetchPositionsSnapshot": False, "awaitPositionsSnapshot": False},
}
# "N requests per 2 seconds" of each endpoint, by user or address ("Rate Limits" of each call).
_PER_TWO_SECONDS: Final = {
    "order_details": 60,
    "cancel": 60,
    "orders_pending": 60,
    # A batch counts its orders: 300 of them, at most 20 in a batch.
    "cancel_batch": 15,
    "orders_history": 40,
    "fills_history": 10,
    "positions": 10,
    "books": 40,
}
# Endpoints that no order and no way out asks.
_READS_PER_TWO_SECONDS: Final = {
    "balance": 10,
    "time": 10,
    "instruments": 20,
    "tickers": 20,
    "ticker": 20,
    "open_interest": 20,
    "funding_rate": 20,
    "leverage": 20,
    "mark_price": 10,
    "candles": 40,
    "account_config": 5,
    "trade_fee": 5,
    "bills": 5,
    "interest_rate": 5,
}
_ENDPOINTS: Final = {
    "order_query": "order_details",
    "order_cancel": "cancel",
    "open_orders": "orders_pending",
    "all_open_orders": "orders_pending",
    "open_orders_cancel": "cancel_batch",
    "recent_orders": "orders_history",
    "order_trades": "fills_history",
    "trades": "fills_history",
    "traded_symbols": "fills_history",
    "account": "balance",
    "positions": "positions",
    "time": "time",
    "exchange_info": "instruments",
    "all_day_tickers": "tickers",
    "price": "ticker",
    "open_interest": "open_interest",
    "funding_rate": "funding_rate",
    "symbol_config": "leverage",
    "mark_prices": "mark_price",
    "order_book": "books",
    "klines": "candles",
    "position_mode": "account_config",
    "key_permissions": "account_config",
    "trading_fee": "trade_fee",
    "income": "bills",
    "borrow_rate": "interest_rate",
}


def _trading_status(market: Mapping[str, Any]) -> TradingStatus:
    information = market.get("info") or {}
    return _STATES.get(str(information.get("state")), TradingStatus.ENDED)


def _is_spot(market: Mapping[str, Any]) -> bool:
    return market.get("spot") is True


def _is_linear_swap(market: Mapping[str, Any]) -> bool:
    information = market.get("info") or {}
    # ccxt's contract size leaves the multiplier out, and contracts in another coin are no base.
    is_plain = str(information.get("ctMult") or "1") == "1"
    return (
        market.get("swap") is True
        and market.get("linear") is True
        and is_plain
        and information.get("ctValCcy") in (None, "", market.get("baseId"))
    )


def _spot_params(intent: OrderIntent, venue_client_id: str) -> dict[str, Any]:
    return {**_common_params(intent, venue_client_id), "tdMode": "cash"}


def _swap_params(intent: OrderIntent, venue_client_id: str) -> dict[str, Any]:
    # "net" is what one-way mode calls a position: in hedge mode the venue refuses the order.
    params = {
        **_common_params(intent, venue_client_id),
        "tdMode": "cross",
        "positionSide": "net",
    }
    if intent.type is OrderType.MARKET:
        # Turned into optimal_limit_ioc by ccxt: a market order that surely ends at once.
        params["timeInForce"] = TimeInForce.IOC.value
    if intent.reduce_only:
        params["reduceOnly"] = True
    return params


def _common_params(intent: OrderIntent, venue_client_id: str) -> dict[str, Any]:
    # Always ours: without one ccxt puts in its broker's id and tag.
    params: dict[str, Any] = {"clientOrderId": venue_client_id}
    if intent.post_only or intent.time_in_force is TimeInForce.GTX:
        params["postOnly"] = True
    elif intent.time_in_force is not None and intent.price is not None:
        params["timeInForce"] = intent.time_in_force.value
    return params


def _expiry_headers(until: int) -> Mapping[str, str]:
    return {"expTime": str(until)}


def _profile(
    code: str,
    kind: InstrumentKind,
    product: str,
    is_listed: Callable[[Mapping[str, Any]], bool],
    order_params: Callable[[OrderIntent, str], dict[str, Any]],
) -> VenueProfile:
    return VenueProfile(
        code=code,
        ccxt_id="okx",
        kind=kind,
        needs_passphrase=True,
        options={
            **_OPTIONS,
            "fetchMarkets": {"types": [product.lower()]},
            "defaultType": product.lower(),
        },
        credentials=plain_credentials,
        client_ids=ClientIdForm(
            # clOrdId of "Place order": up to 32 case-sensitive letters and digits.
            pattern=re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII),
            reserved_prefixes=(),
            derive=derive_plain,
        ),
        allowances={
            # Our own bound on all that is no order: OKX names none.
            EndpointClass.WEIGHT: (Allowance(120, 2.0),),
            **{name: (Allowance(limit, 2.0),) for name, limit in _PER_TWO_SECONDS.items()},
            **{
                name: (Allowance(limit, 2.0, reserve=False),)
                for name, limit in _READS_PER_TWO_SECONDS.items()
            },
            # 60 in 2 s by user and instrument: held for all instruments together.
            EndpointClass.ORDER: (Allowance(60, 2.0),),
            # 10 in 2 s by address and instrument: a page or two of each of many instruments.
            EndpointClass.FUNDING_HISTORY: (Allowance(40, 2.0),),
        },
        # Requests count one each; these calls make more than one.
        weights={"order_trades": 2, "open_orders_cancel": 2, "recent_orders": 2},
        endpoints=_ENDPOINTS,
        read_refusal=read_refusal,
        answers=ANSWERS,
        answer_messages={},
        rate_codes=RATE_CODES,
        # "Transaction Timeouts": a request that carries expTime is not processed once the server's
        # time is past it. How long one that was taken in time may be worked on OKX does not say:
        # ten seconds, as where another venue says so. The clock bound is our measurement's.
        fence=Fence(timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=1)),
        expiry_headers=_expiry_headers,
        is_listed=is_listed,
        trading_status=_trading_status,
        end_fields=("expTime",),
        calls=OkxOrderCalls(product),
        order_params=order_params,
        place_reply=place_reply,
        order_row=order_row,
        fill_row=fill_row,
        stream_orders=stream_orders,
        stream_ready=stream_ready,
        stream_ended=stream_ended,
        # fills-history reaches back three months, whatever the span of one request.
        trades_window=timedelta(days=7),
        # What tdMode=cross does on spot depends on the account's mode (a loan, or a position of its
        # own), and the size of a market buy is in the quote there.
        margin_supported=False,
        fills_by_id=False,
    )


PROFILES: Final = (
    _profile("okx-spot", InstrumentKind.SPOT, "SPOT", _is_spot, _spot_params),
    _profile("okx-swap", InstrumentKind.PERPETUAL, "SWAP", _is_linear_swap, _swap_params),
)
