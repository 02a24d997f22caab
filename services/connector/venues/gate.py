"""Gate spot and USDT perpetuals. Limits: Gate API v4, "Frequency limit rule".

The account's user id stands where other venues have a passphrase: the order channel of contracts
asks for it. A unified account trades under `gate-spot` too: the venue puts its orders there itself.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from services.common.codec import to_millis
from services.common.errors import InvalidFieldError, UnreachableError
from services.connector.instruments import InstrumentKind, TradingStatus
from services.connector.order_calls import (
    FillsRange,
    NewOrder,
    OrderKey,
    UnifiedOrderCalls,
)
from services.connector.order_types import TimeInForce
from services.connector.outcome import AnswerClass
from services.connector.profile import (
    Allowance,
    ClientIdForm,
    Credentials,
    EndpointClass,
    Fence,
    VenueProfile,
)
from services.connector.venue_client_ids import derive_plain
from services.connector.venue_errors import VenueAnswerError, classify
from services.connector.venues.gate_answers import ANSWERS, RATE_CODES, read_refusal
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
    from datetime import datetime

    from services.connector.instruments import Instrument
    from services.connector.order_types import OrderIntent

_PAGE: Final = 100
_FILLS_PAGE: Final = 1_000
_MOST_PAGES: Final = 10
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


class GateOrderCalls(UnifiedOrderCalls):
    """ccxt's calls; the client id goes where the order id goes, because ccxt ignores it elsewhere.

    `product` is the path's first part, `settle` the coin that contracts are settled in.
    """

    def __init__(self, product: str, settle: str) -> None:
        self._product = product
        self._settle = settle

    async def place(self, exchange: Any, order: NewOrder) -> Mapping[str, Any]:
        """Send a new order, once; a spot market buy without a bound is refused, unsent."""
        spot = self._product == "Spot"
        if spot and (order.type, order.side) == ("market", "buy"):
            # Its amount would be in the quote: another order than asked.
            raise InvalidFieldError("worst_price", "is required to buy at market on this venue")
        return await super().place(exchange, order)

    async def query(self, exchange: Any, key: OrderKey) -> Mapping[str, Any] | None:
        """Return the row of one order, live or closed."""
        try:
            return await super().query(exchange, self._named(key))
        except VenueAnswerError as error:
            gone = classify(error, PROFILES[0]) is AnswerClass.CANCEL_RACE_CHECK_FILL
            if not gone or not key.by_client_id:
                raise
        # A closed order answers to a client id for 60 s (contracts) or an hour (spot) only.
        return await self._find_closed(exchange, key)

    async def cancel(self, exchange: Any, key: OrderKey) -> Mapping[str, Any] | None:
        """Cancel one order."""
        return await super().cancel(exchange, self._named(key))

    async def open_orders(
        self, exchange: Any, instrument: Instrument | None, *, use_margin: bool
    ) -> list[Mapping[str, Any]]:
        """Return all live orders of one symbol, or of all."""
        del use_margin
        found: list[Mapping[str, Any]] = []
        symbol = None if instrument is None else instrument.exchange_symbol
        for page in range(_MOST_PAGES):
            rows, last = await self._open_page(exchange, symbol, page)
            found.extend(rows)
            if last:
                return found
        # A live order that is left out would be believed to be gone.
        raise UnreachableError("more live orders than can be read at once")

    async def order_fills(self, exchange: Any, key: OrderKey) -> list[Mapping[str, Any]]:
        """Return the executions of one order, named by the venue's id."""
        contract = key.instrument.exchange_symbol
        params: dict[str, Any] = {"limit": 1000}
        if self._product == "Spot":
            params |= {"currency_pair": contract, "order_id": key.exchange_order_id}
            rows = await exchange.privateSpotGetMyTrades(params)
        else:
            # ccxt asks by time range, where the venue knows no filter by order.
            params |= {"settle": self._settle, "contract": contract, "order": key.exchange_order_id}
            rows = await exchange.privateFuturesGetSettleMyTrades(params)
        return list(rows)

    async def fills(
        self, exchange: Any, instrument: Instrument, wanted: FillsRange
    ) -> list[Mapping[str, Any]]:
        """Return executions on a symbol, oldest first."""
        since, until = wanted.since, wanted.until
        # The venue counts in seconds, gives the newest first and cuts the oldest off.
        span: dict[str, Any] = {"limit": wanted.limit if since is None else _FILLS_PAGE}
        if since is not None:
            span["from"] = since // 1000
        if until is not None:
            span["to"] = until // 1000 + 1
        found: list[Mapping[str, Any]] = []
        for page in range(_MOST_PAGES if since is not None else 1):
            rows = await self._fills_page(exchange, instrument.exchange_symbol, span, page)
            found.extend(row for row in rows if _is_within(fill_row(row).time, since, until))
            if len(rows) < _FILLS_PAGE:
                break
        else:
            if since is not None:
                raise UnreachableError("more fills in that time than can be read at once")
        return found[::-1][: wanted.limit]

    async def _open_page(
        self, exchange: Any, symbol: str | None, page: int
    ) -> tuple[list[Any], bool]:
        if self._product != "Spot":
            named = {} if symbol is None else {"contract": symbol}
            params = {"status": "open", "limit": _PAGE, "offset": page * _PAGE, **named}
            rows = list(
                await exchange.privateFuturesGetSettleOrders({"settle": self._settle, **params})
            )
            return rows, len(rows) < _PAGE
        if symbol is not None:
            # Pages of orders: the list of all pairs below would have to be read whole.
            rows = list(
                await exchange.privateSpotGetOrders(
                    {"status": "open", "currency_pair": symbol, "limit": _PAGE, "page": page + 1}
                )
            )
            return rows, len(rows) < _PAGE
        groups = list(await exchange.privateSpotGetOpenOrders({"limit": _PAGE, "page": page + 1}))
        # The limit is each pair's own.
        parts = [list(group["orders"]) for group in groups]
        return [row for part in parts for row in part], all(len(part) < _PAGE for part in parts)

    async def _fills_page(
        self, exchange: Any, symbol: str, span: dict[str, Any], page: int
    ) -> list[Any]:
        if self._product == "Spot":
            params = {**span, "currency_pair": symbol, "page": page + 1}
            return list(await exchange.privateSpotGetMyTrades(params))
        params = {**span, "contract": symbol, "settle": self._settle, "offset": page * _FILLS_PAGE}
        return list(await exchange.privateFuturesGetSettleMyTradesTimerange(params))

    async def _find_closed(self, exchange: Any, key: OrderKey) -> Mapping[str, Any] | None:
        wanted = f"{ID_PREFIX}{key.venue_client_id}"
        for page in range(_MOST_PAGES):
            rows = await self._closed_page(exchange, key.instrument.exchange_symbol, page)
            for row in rows:
                if row.get("text") == wanted:
                    found: Mapping[str, Any] = row
                    return found
            if len(rows) < _PAGE:
                return None
        # Not in the part that was read is no proof that it is nowhere.
        raise UnreachableError(f"the order is not among the last {_PAGE * _MOST_PAGES} closed ones")

    async def _closed_page(self, exchange: Any, symbol: str, page: int) -> list[Any]:
        params: dict[str, Any] = {"status": "finished", "limit": _PAGE}
        if self._product == "Spot":
            params |= {"currency_pair": symbol, "page": page + 1}
            return list(await exchange.privateSpotGetOrders(params))
        params |= {"settle": self._settle, "contract": symbol, "offset": page * _PAGE}
        return list(await exchange.privateFuturesGetSettleOrders(params))

    def _named(self, key: OrderKey) -> OrderKey:
        if not key.by_client_id:
            return key
        return replace(key, exchange_order_id=f"{ID_PREFIX}{key.venue_client_id}")


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


def _is_within(time: datetime | None, since: int | None, until: int | None) -> bool:
    if time is None:
        return True
    millis = to_millis(time)
    return (since is None or millis >= since) and (until is None or millis <= until)


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
