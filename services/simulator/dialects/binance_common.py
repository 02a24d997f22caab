"""What Binance spot and USD-M futures share: intervals, orders as parameters, paging of rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

from services.simulator.core.clock import millis
from services.simulator.core.errors import VenueError
from services.simulator.core.money import plain
from services.simulator.core.orders import (
    Order,
    OrderRequest,
    OrderType,
    PositionSide,
    Product,
    Side,
    SideEffect,
    TimeInForce,
)
from services.simulator.dialects.context import Context
from services.simulator.dialects.params import Params
from services.simulator.market.source import Candle, Kind

_Row = TypeVar("_Row")
# json.dumps would make an encoder for each call
_COMPACT = json.JSONEncoder(separators=(",", ":"))
_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    # a month is thirty days here: the market makes candles of equal length only
    "M": timedelta(days=30),
}
INTERVALS = {
    text: int(text[:-1]) * _UNITS[text[-1]]
    for text in (
        [
            "1s",
            "1m",
            "3m",
            "5m",
            "15m",
            "30m",
            "1h",
            "2h",
            "4h",
            "6h",
            "8h",
            "12h",
            "1d",
            "3d",
            "1w",
            "1M",
        ]
    )
}


def encode(value: object) -> bytes:
    """Return compact JSON."""
    return _COMPACT.encode(value).encode()


def interval_of(params: Params) -> timedelta:
    """Return the kline interval asked for; raises VenueError -1120."""
    interval = INTERVALS.get(params.require("interval"))
    if interval is None:
        raise VenueError(-1120, "Invalid interval.")
    return interval


def klines(context: Context, kind: Kind, maximum: int) -> bytes:
    """Return klines of the symbol, interval and range asked for."""
    params = context.params
    market = context.simulation.market
    symbol = market.spec(kind, params.require("symbol")).symbol
    rows = market.source.candles(
        kind,
        symbol,
        interval_of(params),
        params.time("startTime"),
        params.time("endTime"),
        params.limit(500, maximum),
        market.now(),
    )
    kept = context.simulation.candle_rows("binance.klines", lambda row: encode(kline_row(row)))
    return kept.array(rows)


def kline_row(row: Candle) -> list[object]:
    """Return one candle as the venue's array; the taker's half of the volume is a fixed share."""
    return [
        millis(row.open_time),
        plain(row.open),
        plain(row.high),
        plain(row.low),
        plain(row.close),
        plain(row.volume),
        millis(row.close_time),
        plain(row.quote_volume),
        row.trade_count,
        plain(row.volume / 2),
        plain(row.quote_volume / 2),
        "0",
    ]


def order_request(params: Params, product: Product) -> OrderRequest:
    """Read an order; raises VenueError for what is missing or not one of the venue's words."""
    type_ = params.choice("type", OrderType, -1116, "Invalid orderType.")
    is_perpetual = product is Product.PERPETUAL
    if type_ is OrderType.LIMIT_MAKER and is_perpetual:
        raise VenueError(-1116, "Invalid orderType.")
    time_in_force = TimeInForce.GTC
    # only LIMIT takes a time in force; others ignore what is sent
    if type_ is OrderType.LIMIT:
        time_in_force = params.choice("timeInForce", TimeInForce, -1115, "Invalid timeInForce.")
        if time_in_force is TimeInForce.GTX and not is_perpetual:
            raise VenueError(-1115, "Invalid timeInForce.")
    # spot knows no such parameter and refuses the whole order for it
    if params.text("reduceOnly") is not None and not is_perpetual:
        raise VenueError(
            -1104, "Not all sent parameters were read; read '8' parameter(s) but was sent '9'."
        )
    quantity = params.decimal("quantity")
    quote = params.decimal("quoteOrderQty") if type_ is OrderType.MARKET else None
    if quantity is None and (quote is None or is_perpetual):
        params.require("quantity")
    price = None if type_ is OrderType.MARKET else params.decimal("price")
    if price is None and type_ is not OrderType.MARKET:
        params.require("price")
    return OrderRequest(
        product=product,
        symbol=params.require("symbol"),
        side=params.choice("side", Side, -1117, "Invalid side."),
        type=type_,
        time_in_force=time_in_force,
        quantity=quantity,
        price=price,
        quote_quantity=quote if quantity is None else None,
        client_order_id=params.text("newClientOrderId") or "",
        position_side=_position_side(params),
        reduce_only=params.flag("reduceOnly") if is_perpetual else False,
        side_effect=_side_effect(params),
    )


def _position_side(params: Params) -> PositionSide:
    if params.text("positionSide") is None:
        return PositionSide.BOTH
    return params.choice("positionSide", PositionSide, -4060, "Invalid position side.")


def _side_effect(params: Params) -> SideEffect:
    if params.text("sideEffectType") is None:
        return SideEffect.NONE
    return params.choice("sideEffectType", SideEffect, -1102, "Invalid sideEffectType.")


def order_key(params: Params) -> tuple[int | None, str | None]:
    """Return the order id and client id asked for; raises VenueError -1102 when neither is sent."""
    order_id = params.integer("orderId")
    client_order_id = params.text("origClientOrderId")
    if order_id is None and client_order_id is None:
        raise VenueError(
            -1102,
            "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!",
        )
    return order_id, client_order_id


def page(
    rows: Sequence[_Row], params: Params, time_of: Callable[[_Row], int], default: int, maximum: int
) -> list[_Row]:
    """Return the rows of a time range: the first ones after a start, else the last ones."""
    start, end = params.integer("startTime"), params.integer("endTime")
    kept = [
        row
        for row in rows
        if (start is None or time_of(row) >= start) and (end is None or time_of(row) <= end)
    ]
    limit = params.limit(default, maximum)
    # with a start the venue pages forward from it, without one it shows the newest
    return kept[:limit] if start is not None else kept[-limit:]


def all_orders(context: Context, product: Product) -> list[Order]:
    """Return the account's orders of one symbol in the range asked for."""
    params = context.params
    rows = context.simulation.exchange.store.all_orders(
        context.account.name, product, params.require("symbol")
    )
    # from this order on, and times are not looked at: a client pages by id
    first = params.integer("orderId")
    if first is not None:
        return [order for order in rows if order.order_id >= first][: params.limit(500, 1000)]
    return page(rows, params, lambda order: millis(order.create_time), 500, 1000)
