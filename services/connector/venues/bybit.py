"""Bybit spot and linear perpetuals, on a unified trading account.

Sources: Bybit V5 "Rate Limit Rules", "Integration Guidance" (recv_window), "Place Order".
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from services.common.rate_window import Allowance
from services.connector.instruments import InstrumentKind, TradingStatus
from services.connector.order_types import TimeInForce
from services.connector.profile import (
    ClientIdForm,
    EndpointClass,
    Fence,
    VenueProfile,
    ccxt_names,
    plain_credentials,
)
from services.connector.venue_client_ids import derive_plain
from services.connector.venues.bybit_answers import ANSWERS, RATE_CODES, read_refusal
from services.connector.venues.bybit_calls import BybitOrderCalls
from services.connector.venues.bybit_rows import (
    fill_row,
    order_row,
    place_reply,
    stream_ended,
    stream_orders,
    stream_ready,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.connector.order_types import OrderIntent

_CLIENT_IDS: Final = ClientIdForm(
    # orderLinkId: letters, digits, dashes and underscores, at most 36.
    pattern=re.compile(r"[A-Za-z0-9_-]{1,36}", re.ASCII),
    reserved_prefixes=(),
    derive=derive_plain,
)
_OPTIONS: Final[dict[str, Any]] = {
    # Left open, ccxt signs two calls before the first order to find out which account this is.
    "enableUnifiedMargin": False,
    "enableUnifiedAccount": True,
    "unifiedMarginStatus": 6,
    "adjustForTimeDifference": False,
    "timeDifference": 0,
    # Watching positions would read them unbidden first.
    "watchPositions": {"fetchPositionsSnapshot": False, "awaitPositionsSnapshot": False},
}
_READS_PER_SECOND: Final = {
    "orders": 50,
    "executions": 50,
    "positions": 50,
    "wallet": 50,
    "fees": 5,
}
_ENDPOINTS: Final = {
    "order_cancel": "cancel",
    "open_orders_cancel": "cancel_all",
    "order_query": "orders",
    "open_orders": "orders",
    "all_open_orders": "orders",
    "recent_orders": "orders",
    "order_trades": "executions",
    "trades": "executions",
    "traded_symbols": "executions",
    "income": "executions",
    "positions": "positions",
    "position_mode": "positions",
    "symbol_config": "positions",
    "account": "wallet",
    "trading_fee": "fees",
}
# A thousand coins as others write them (1000PEPE), and once behind the name: SHIB1000.
_THOUSAND_BEHIND: Final = re.compile(r"([A-Z]{3,})1000", re.ASCII)
_STATES: Final = {"Trading": TradingStatus.TRADING, "PreLaunch": TradingStatus.BREAK}
# No document bounds the work behind a 10000, 10016 or 170007. An order is matched in milliseconds
# and gateways give up after seconds, so ten seconds are our own bound, not the venue's.
_PROCESSING: Final = timedelta(seconds=10)


def _trading_status(market: Mapping[str, Any]) -> TradingStatus:
    # Delivering, Closed and Settling have ended; so has a word we do not know.
    return _STATES.get(str((market.get("info") or {}).get("status")), TradingStatus.ENDED)


def _is_spot(market: Mapping[str, Any]) -> bool:
    return market.get("spot") is True


def _is_linear(market: Mapping[str, Any]) -> bool:
    return market.get("swap") is True and market.get("linear") is True


def _market_names(market: Mapping[str, Any]) -> tuple[str, str]:
    name, base = ccxt_names(market)
    found = _THOUSAND_BEHIND.fullmatch(base)
    return name, base if found is None else f"1000{found[1]}"


def _order_params(intent: OrderIntent, venue_client_id: str) -> dict[str, Any]:
    """Return ccxt's params for an order: client id, time in force, reduce-only."""
    params: dict[str, Any] = {"clientOrderId": venue_client_id}
    if intent.post_only or intent.time_in_force is TimeInForce.GTX:
        params["postOnly"] = True
    elif intent.time_in_force is not None and intent.price is not None:
        params["timeInForce"] = intent.time_in_force.value
    if intent.reduce_only:
        params["reduceOnly"] = True
    return params


def _linear_params(intent: OrderIntent, venue_client_id: str) -> dict[str, Any]:
    # One-way mode, said aloud: an account in hedge mode refuses the order.
    return {**_order_params(intent, venue_client_id), "positionIdx": 0}


def _per_second(limit: int) -> tuple[Allowance, ...]:
    # The reply tells what is left to its endpoint in this second, and of how many.
    return (
        Allowance(limit, 1.0, remaining_header="x-bapi-limit-status", limit_header="x-bapi-limit"),
    )


def _profile(kind: InstrumentKind, *, orders_per_second: int) -> VenueProfile:
    spot = kind is InstrumentKind.SPOT
    category = "spot" if spot else "linear"
    return VenueProfile(
        code=f"bybit-{category}",
        ccxt_id="bybit",
        kind=kind,
        options={
            **_OPTIONS,
            "defaultType": "spot" if spot else "swap",
            "defaultSubType": "linear",
            "fetchMarkets": {"types": [category]},
        },
        credentials=plain_credentials,
        client_ids=_CLIENT_IDS,
        allowances={
            # Per address: 600 requests of any kind in five seconds, then 403 for ten minutes.
            EndpointClass.WEIGHT: (Allowance(600, 5.0),),
            # Per account, second and category; higher for those the venue has raised.
            EndpointClass.ORDER: _per_second(orders_per_second),
            "cancel": _per_second(orders_per_second),
            "cancel_all": _per_second(orders_per_second),
            # Per account, second and endpoint.
            **{name: _per_second(limit) for name, limit in _READS_PER_SECOND.items()},
        },
        endpoints=_ENDPOINTS,
        # "403: access too frequent": the address is shut out until it was silent for ten minutes.
        bans={403: timedelta(minutes=10)},
        # Requests count one each; these calls make more than one.
        weights={"order_query": 2, "all_open_orders": 2, "recent_orders": 3},
        read_refusal=read_refusal,
        answers=ANSWERS,
        answer_messages={},
        rate_codes=RATE_CODES,
        # X-BAPI-RECV-WINDOW, which ccxt sends: the venue takes a request whose stamp is younger
        # than that by its own clock. The clock bound is what our measured offset may be off by.
        fence=Fence(timedelta(seconds=5), _PROCESSING, timedelta(seconds=1)),
        expiry_headers=None,
        is_listed=_is_spot if spot else _is_linear,
        trading_status=_trading_status,
        end_fields=("deliveryTime",),
        calls=BybitOrderCalls(kind),
        order_params=_order_params if spot else _linear_params,
        place_reply=place_reply,
        order_row=order_row,
        fill_row=partial(fill_row, category),
        stream_orders=partial(stream_orders, category),
        stream_ready=stream_ready,
        stream_ended=stream_ended,
        # execution/list: startTime and endTime at most 7 days apart.
        trades_window=timedelta(days=7),
        margin_supported=False,
        fills_by_id=False,
        market_names=_market_names,
        # ccxt's broker tag, on every POST.
        unwanted_headers=frozenset({"Referer"}),
    )


PROFILES: Final = (
    _profile(InstrumentKind.SPOT, orders_per_second=20),
    _profile(InstrumentKind.PERPETUAL, orders_per_second=10),
)
