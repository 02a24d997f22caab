"""Bitget spot and USDT perpetuals, classic account (v2). Limits: API "Access Restriction".

Perpetuals are traded with cross margin in one-way mode.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from services.common.errors import InvalidFieldError, UnreachableError
from services.common.rate_window import Allowance
from services.connector.instruments import InstrumentKind, TradingStatus
from services.connector.order_calls import (
    FillsRange,
    NewOrder,
    OrderKey,
    UnifiedOrderCalls,
)
from services.connector.order_types import TimeInForce
from services.connector.profile import (
    ClientIdForm,
    EndpointClass,
    VenueProfile,
    plain_credentials,
)
from services.connector.venue_client_ids import derive_plain
from services.connector.venues.bitget_answers import ANSWERS, RATE_CODES, read_refusal
from services.connector.venues.bitget_rows import (
    fill_row,
    order_row,
    place_reply,
    stream_orders,
    stream_ready,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.connector.instruments import Instrument
    from services.connector.order_types import OrderIntent

_PRODUCT: Final = "USDT-FUTURES"
_PAGE: Final = 100
_MOST_PAGES: Final = 20
_STATES: Final = {
    "online": TradingStatus.TRADING,
    "normal": TradingStatus.TRADING,
    # Closing is still matched, and the venue itself refuses the rest.
    "limit_open": TradingStatus.TRADING,
    "restrictedAPI": TradingStatus.BREAK,
    "gray": TradingStatus.BREAK,
    "halt": TradingStatus.BREAK,
    "maintain": TradingStatus.BREAK,
    "listed": TradingStatus.BREAK,
}
# Requests in a second, per account and endpoint ("Frequency limit" of each), the lower of spot and
# contracts.
_PER_SECOND: Final = {
    "order_query": 10,
    "order_cancel": 10,
    "open_orders_cancel": 5,
    "open_orders": 10,
    "fills": 10,
    "positions": 5,
    "account": 10,
    "trading_fee": 10,
}
_ENDPOINTS: Final = {
    **{name: name for name in _PER_SECOND if name != "fills"},
    "all_open_orders": "open_orders",
    "trades": "fills",
    "order_trades": "fills",
}
_OPTIONS: Final[dict[str, Any]] = {
    # Else the first call of all signs one to /v3/account/settings, and takes any failure for "no".
    "uta": False,
    "adjustForTimeDifference": False,
    "timeDifference": 0,
}


class BitgetSpotCalls(UnifiedOrderCalls):
    """ccxt's calls, with the venue's own rows where ccxt makes an order of an empty list."""

    async def place(self, exchange: Any, order: NewOrder) -> Mapping[str, Any]:
        """Send a new order, once; a market buy without a bound is refused, unsent."""
        if (order.type, order.side) == ("market", "buy"):
            # Its size would be in the quote: another order than asked.
            raise InvalidFieldError("worst_price", "is required to buy at market on this venue")
        return await super().place(exchange, order)

    async def query(self, exchange: Any, key: OrderKey) -> Mapping[str, Any] | None:
        """Return the row of one order, live or closed."""
        reply = await exchange.privateSpotGetV2SpotTradeOrderInfo(_named(key))
        rows = reply["data"]
        found: Mapping[str, Any] | None = rows[0] if rows else None
        return found

    async def cancel(self, exchange: Any, key: OrderKey) -> Mapping[str, Any] | None:
        """Ask to cancel one order; the reply is an acknowledgement."""
        await super().cancel(exchange, key)
        return None

    async def open_orders(
        self, exchange: Any, instrument: Instrument | None, *, use_margin: bool
    ) -> list[Mapping[str, Any]]:
        """Return all live orders of one symbol, or of all."""
        del use_margin
        found: list[Mapping[str, Any]] = []
        symbol = {} if instrument is None else {"symbol": instrument.exchange_symbol}
        for _ in range(_MOST_PAGES):
            older = {"idLessThan": str(found[-1]["orderId"])} if found else {}
            rows = await self._open_page(exchange, {"limit": _PAGE, **symbol, **older})
            found.extend(rows)
            if len(rows) < _PAGE:
                return found
        # A live order that is left out would be believed to be gone.
        raise UnreachableError("more live orders than can be read at once")

    async def order_fills(self, exchange: Any, key: OrderKey) -> list[Mapping[str, Any]]:
        """Return the executions of one order, named by the venue's id."""
        symbol = key.instrument.exchange_symbol
        wanted = {"symbol": symbol, "orderId": key.exchange_order_id}
        return await self._all_fills(exchange, wanted)

    async def fills(
        self, exchange: Any, instrument: Instrument, wanted: FillsRange
    ) -> list[Mapping[str, Any]]:
        """Return executions on a symbol, oldest first."""
        span = {"startTime": wanted.since, "endTime": wanted.until}
        asked = {name: value for name, value in span.items() if value is not None}
        named = {"symbol": instrument.exchange_symbol, **asked}
        if wanted.since is None:
            # The venue gives the newest first, and one page of them is what is wanted.
            page = {**named, "limit": min(wanted.limit, _PAGE)}
            return (await self._fills_page(exchange, page))[::-1]
        rows = await self._all_fills(exchange, named)
        return rows[::-1][: wanted.limit]

    async def _all_fills(self, exchange: Any, wanted: dict[str, Any]) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        for _ in range(_MOST_PAGES):
            older = {"idLessThan": str(found[-1]["tradeId"])} if found else {}
            rows = await self._fills_page(exchange, {**wanted, "limit": _PAGE, **older})
            found.extend(rows)
            if len(rows) < _PAGE:
                return found
        raise UnreachableError("more fills than can be read at once")

    async def _open_page(self, exchange: Any, params: dict[str, Any]) -> list[Mapping[str, Any]]:
        reply = await exchange.privateSpotGetV2SpotTradeUnfilledOrders(params)
        return list(reply["data"] or ())

    async def _fills_page(self, exchange: Any, params: dict[str, Any]) -> list[Mapping[str, Any]]:
        reply = await exchange.privateSpotGetV2SpotTradeFills(params)
        return list(reply["data"] or ())


class BitgetSwapCalls(BitgetSpotCalls):
    """The same on contracts, where a market order's size is in the base for either side."""

    async def place(self, exchange: Any, order: NewOrder) -> Mapping[str, Any]:
        """Send a new order, once."""
        return await UnifiedOrderCalls.place(self, exchange, order)

    async def query(self, exchange: Any, key: OrderKey) -> Mapping[str, Any] | None:
        """Return the row of one order, live or closed."""
        params = {"symbol": key.instrument.exchange_symbol, "productType": _PRODUCT, **_named(key)}
        reply = await exchange.privateMixGetV2MixOrderDetail(params)
        found: Mapping[str, Any] | None = reply["data"] or None
        return found

    async def _open_page(self, exchange: Any, params: dict[str, Any]) -> list[Mapping[str, Any]]:
        reply = await exchange.privateMixGetV2MixOrderOrdersPending(
            {"productType": _PRODUCT, **params}
        )
        # Null, not an empty list, where there is none.
        return list(reply["data"]["entrustedList"] or ())

    async def _fills_page(self, exchange: Any, params: dict[str, Any]) -> list[Mapping[str, Any]]:
        reply = await exchange.privateMixGetV2MixOrderFills({**params, "productType": _PRODUCT})
        return list(reply["data"]["fillList"] or ())


def _named(key: OrderKey) -> dict[str, Any]:
    if key.by_client_id:
        return {"clientOid": key.venue_client_id}
    return {"orderId": key.exchange_order_id}


def _order_params(intent: OrderIntent, venue_client_id: str) -> dict[str, Any]:
    params: dict[str, Any] = {"clientOid": venue_client_id}
    if intent.post_only or intent.time_in_force is TimeInForce.GTX:
        params["postOnly"] = True
    elif intent.time_in_force is not None and intent.price is not None:
        params["timeInForce"] = intent.time_in_force.value
    if intent.reduce_only:
        params["reduceOnly"] = True
    return params


def _is_spot(market: Mapping[str, Any]) -> bool:
    return market.get("spot") is True


def _is_linear(market: Mapping[str, Any]) -> bool:
    return market.get("swap") is True and market.get("settle") == "USDT"


def _trading_status(market: Mapping[str, Any]) -> TradingStatus:
    information = market.get("info") or {}
    word = information.get("status") or information.get("symbolStatus")
    return _STATES.get(str(word), TradingStatus.ENDED)


def _never_ended(message: Mapping[str, Any]) -> bool:
    # The venue only closes the socket.
    del message
    return False


_SPOT: Final = VenueProfile(
    code="bitget-spot",
    ccxt_id="bitget",
    kind=InstrumentKind.SPOT,
    needs_passphrase=True,
    options={**_OPTIONS, "defaultType": "spot", "fetchMarkets": {"types": ["spot"]}},
    credentials=plain_credentials,
    client_ids=ClientIdForm(
        # At most 50 by error 40305; the letters are those that every endpoint takes.
        pattern=re.compile(r"[0-9A-Za-z_-]{1,50}", re.ASCII),
        reserved_prefixes=(),
        derive=derive_plain,
    ),
    allowances={
        EndpointClass.WEIGHT: (Allowance(6_000, 60.0),),
        **{name: (Allowance(limit, 1.0),) for name, limit in _PER_SECOND.items()},
        EndpointClass.ORDER: (Allowance(10, 1.0),),
    },
    endpoints=_ENDPOINTS,
    # Pairs and margin coins.
    weights={"exchange_info": 2},
    read_refusal=read_refusal,
    answers=ANSWERS,
    answer_messages={},
    rate_codes=RATE_CODES,
    # No fence: the documents give no bound for how old a signed stamp may be (40008 has none), a
    # contract order takes no window, and the unit of spot's `receiveWindow` is not told. "Not
    # found" proves nothing here; the stream or the order's own row must.
    fence=None,
    expiry_headers=None,
    is_listed=_is_spot,
    trading_status=_trading_status,
    # Opening ends first, then the listing.
    end_fields=("limitOpenTime", "offTime"),
    calls=BitgetSpotCalls(),
    order_params=_order_params,
    place_reply=place_reply,
    order_row=order_row,
    fill_row=fill_row,
    stream_orders=stream_orders,
    stream_ready=stream_ready,
    stream_ended=_never_ended,
    # Fills: startTime and endTime at most 7 days apart on contracts (90 on spot).
    trades_window=timedelta(days=7),
    margin_supported=False,
    fills_by_id=False,
    # A rebate code that ccxt puts on each signed request.
    unwanted_headers=frozenset({"X-CHANNEL-API-CODE"}),
)
_SWAP: Final = replace(
    _SPOT,
    code="bitget-swap",
    kind=InstrumentKind.PERPETUAL,
    options={**_OPTIONS, "defaultType": "swap", "fetchMarkets": {"types": ["swap"]}},
    # ccxt reads the contracts of six product types.
    weights={"exchange_info": 6},
    is_listed=_is_linear,
    calls=BitgetSwapCalls(),
)
PROFILES: Final = (_SPOT, _SWAP)
