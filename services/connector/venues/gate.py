"""Gate spot and USDT perpetuals. Limits: Gate API v4, "Frequency limit rule".

The account's user id stands where other venues have a passphrase: the order channel of contracts
asks for it. A unified account trades under `gate-spot` too: the venue puts its orders there itself.
"""

from __future__ import annotations

import re
from dataclasses import replace
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
from services.connector.venue_client_ids import derive_plain
from services.connector.venues.gate_answers import ANSWERS, RATE_CODES, read_refusal
from services.connector.venues.gate_calls import GateOrderCalls
from services.connector.venues.gate_rows import (
    ID_PREFIX,
    fill_row,
    order_row,
    place_reply,
    stream_orders,
    stream_ready,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.connector.order_types import OrderIntent

_STATES: Final = {
    # One-sided markets match what they take; the venue itself refuses the other side.
    "tradable": TradingStatus.TRADING,
    "buyable": TradingStatus.TRADING,
    "sellable": TradingStatus.TRADING,
    "trading": TradingStatus.TRADING,
    "delisting": TradingStatus.TRADING,
    "prelaunch": TradingStatus.BREAK,
    "circuit_breaker": TradingStatus.BREAK,
    "suspend": TradingStatus.BREAK,
}
_OPTIONS: Final[dict[str, Any]] = {
    # Else the first call of all signs one to /account/detail, and takes any failure for "no".
    "unifiedAccount": False,
    "adjustForTimeDifference": False,
}


def _orders_per_second(limit: int) -> tuple[Allowance, ...]:
    # The reply tells what is left to its endpoint.
    return (
        Allowance(
            limit,
            1.0,
            remaining_header="x-gate-ratelimit-requests-remain",
            limit_header="x-gate-ratelimit-limit",
        ),
    )


def _credentials(given: Credentials) -> dict[str, str]:
    return {"apiKey": given.api_key, "secret": given.api_secret, "uid": given.passphrase}


def _order_params(intent: OrderIntent, venue_client_id: str) -> dict[str, Any]:
    # With its prefix: ccxt leaves it out where the id begins with a t of its own.
    params: dict[str, Any] = {"text": f"{ID_PREFIX}{venue_client_id}"}
    if intent.post_only or intent.time_in_force is TimeInForce.GTX:
        params["postOnly"] = True
    elif intent.time_in_force is not None and intent.price is not None:
        params["timeInForce"] = intent.time_in_force.value
    if intent.reduce_only:
        params["reduceOnly"] = True
    return params


def _expiry_headers(millis: int) -> dict[str, str]:
    return {"X-Gate-Exptime": str(millis)}


def _is_spot(market: Mapping[str, Any]) -> bool:
    return market.get("spot") is True


def _is_linear(market: Mapping[str, Any]) -> bool:
    return market.get("swap") is True and market.get("settle") == "USDT"


def _trading_status(market: Mapping[str, Any]) -> TradingStatus:
    information = market.get("info") or {}
    word = information.get("trade_status") or information.get("status") or "trading"
    return _STATES.get(str(word), TradingStatus.ENDED)


def _never_ended(message: Mapping[str, Any]) -> bool:
    # The venue only closes the socket.
    del message
    return False


_SPOT: Final = VenueProfile(
    code="gate-spot",
    ccxt_id="gate",
    kind=InstrumentKind.SPOT,
    options={**_OPTIONS, "defaultType": "spot", "fetchMarkets": {"types": ["spot"]}},
    credentials=_credentials,
    client_ids=ClientIdForm(
        # The venue takes 28 after its prefix, ccxt 28 with it.
        pattern=re.compile(r"[0-9A-Za-z_.-]{1,26}", re.ASCII),
        reserved_prefixes=(),
        derive=derive_plain,
    ),
    allowances={
        # Each endpoint has 200 of its own; one window for all is on the safe side.
        EndpointClass.WEIGHT: (Allowance(200, 10.0),),
        EndpointClass.ORDER: _orders_per_second(10),
    },
    weights={},
    read_refusal=read_refusal,
    answers=ANSWERS,
    answer_messages={},
    rate_codes=RATE_CODES,
    # x-gate-exptime, on POST /spot/orders and /futures/{settle}/orders: the venue refuses what it
    # receives later. It names no processing bound; ours is Binance's. The clock bound is what our
    # measured offset may be off by.
    fence=Fence(timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=1)),
    expiry_headers=_expiry_headers,
    is_listed=_is_spot,
    trading_status=_trading_status,
    calls=GateOrderCalls("Spot", ""),
    order_params=_order_params,
    place_reply=place_reply,
    order_row=order_row,
    fill_row=fill_row,
    stream_orders=stream_orders,
    stream_ready=stream_ready,
    stream_ended=_never_ended,
    # my_trades: from and to at most 30 days apart.
    trades_window=timedelta(days=30),
    margin_supported=False,
    fills_by_id=False,
    # A broker's name that ccxt puts on every request.
    unwanted_headers=frozenset({"X-Gate-Channel-Id"}),
)
_SWAP: Final = replace(
    _SPOT,
    code="gate-swap",
    kind=InstrumentKind.PERPETUAL,
    options={
        **_OPTIONS,
        "defaultType": "swap",
        "fetchMarkets": {"types": ["swap"]},
        "swap": {"fetchMarkets": {"settlementCurrencies": ["usdt"]}},
    },
    allowances={
        EndpointClass.WEIGHT: (Allowance(200, 10.0),),
        EndpointClass.ORDER: _orders_per_second(100),
    },
    is_listed=_is_linear,
    calls=GateOrderCalls("Futures", "usdt"),
)
PROFILES: Final = (_SPOT, _SWAP)
