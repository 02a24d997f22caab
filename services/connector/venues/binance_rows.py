"""Binance's orders and fills, spot and USD-M: replies, rows and stream messages to venue rows.

Status words never decide quantity: `executedQty` and `z` do, whatever the order's end was called.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from services.common.codec import from_millis
from services.connector.order_types import (
    ZERO,
    ForcedFill,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
    VenueFill,
    VenueOrder,
)
from services.connector.venue_numbers import venue_decimal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_STATUSES: Final = {
    "NEW": OrderStatus.NEW,
    "PENDING_NEW": OrderStatus.NEW,
    "PARTIALLY_FILLED": OrderStatus.PARTIALLY_FILLED,
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELED,
    "PENDING_CANCEL": OrderStatus.NEW,
    "REJECTED": OrderStatus.REJECTED,
    "EXPIRED": OrderStatus.EXPIRED,
    "EXPIRED_IN_MATCH": OrderStatus.EXPIRED,
    "NEW_INSURANCE": OrderStatus.NEW,
    "NEW_ADL": OrderStatus.NEW,
}
_STREAM_ENDS: Final = ("listenKeyExpired", "eventStreamTerminated")
_FORCED: Final = {
    "autoclose-": ForcedFill.LIQUIDATION,
    "adl_autoclose": ForcedFill.AUTO_DELEVERAGING,
}


def find_forced_fill(client_order_id: str) -> ForcedFill | None:
    """Tell whether the venue itself placed the order: Binance names such orders by their prefix."""
    for prefix, forced in _FORCED.items():
        if client_order_id.startswith(prefix):
            return forced
    return None


def order_row(row: Mapping[str, Any]) -> VenueOrder:
    """Read a reply about one order (POST, GET, DELETE); raise ValueError when it is not one."""
    order_type = _text(row, "type")
    complete = "fills" in row
    order_id = _text(row, "orderId")
    symbol = _text(row, "symbol")
    side = Side(_text(row, "side").lower())
    # A cancel reply names the cancel request in clientOrderId and the order in origClientOrderId.
    client_order_id = str(row.get("origClientOrderId") or row.get("clientOrderId") or "")
    return VenueOrder(
        exchange_symbol=symbol,
        client_order_id=client_order_id,
        exchange_order_id=order_id,
        side=side,
        type=OrderType.MARKET if order_type == "MARKET" else OrderType.LIMIT,
        time_in_force=_time_in_force(row.get("timeInForce"), order_type),
        status=_status(_text(row, "status")),
        quantity=_number(row, "origQty"),
        executed=_number(row, "executedQty"),
        price=_price(row.get("price")),
        cumulative_quote=_optional(row, "cummulativeQuoteQty", "cumQuote"),
        reduce_only=row.get("reduceOnly") is True,
        post_only=order_type == "LIMIT_MAKER" or row.get("timeInForce") == "GTX",
        create_time=_time(row.get("transactTime") or row.get("time") or row.get("updateTime")),
        update_time=_time(row.get("updateTime") or row.get("transactTime") or row.get("time")),
        fills=tuple(_reply_fill(fill, row, side) for fill in row.get("fills") or ()),
        fills_complete=complete,
        forced_fill=find_forced_fill(client_order_id),
    )


def fill_row(row: Mapping[str, Any]) -> VenueFill:
    """Read a row of myTrades or userTrades; raise ValueError when it is not one."""
    side = row.get("side")
    buyer = row.get("isBuyer", row.get("buyer"))
    if side is None and buyer is not None:
        side = "BUY" if buyer else "SELL"
    maker = row.get("isMaker", row.get("maker"))
    return VenueFill(
        trade_id=_text(row, "id"),
        exchange_order_id=_text(row, "orderId"),
        exchange_symbol=_text(row, "symbol"),
        side=None if side is None else Side(str(side).lower()),
        price=_number(row, "price"),
        quantity=_number(row, "qty"),
        fee=_optional(row, "commission"),
        fee_asset=row.get("commissionAsset") or None,
        time=_time(row.get("time")),
        maker=maker if isinstance(maker, bool) else None,
        realized_pnl=_optional(row, "realizedPnl"),
    )


def stream_order(message: Mapping[str, Any]) -> VenueOrder | None:
    """Read a user-stream message, wrapped or not; None when it is not about an order.

    Raises ValueError when it is and does not hold.
    """
    body: Any = message
    for wrapper in ("data", "event"):
        if isinstance(body, dict) and isinstance(body.get(wrapper), dict):
            body = body[wrapper]
    if not isinstance(body, dict):
        return None
    if body.get("e") == "executionReport":
        return _stream_row(body, quote=_optional(body, "Z"))
    if body.get("e") == "ORDER_TRADE_UPDATE" and isinstance(body.get("o"), dict):
        row = body["o"]
        # The event has no cumulative quote; average times total is as good as the average's digits.
        average = _optional(row, "ap")
        executed = _number(row, "z")
        return _stream_row(row, quote=None if average is None else average * executed)
    return None


def stream_ended(message: Mapping[str, Any]) -> bool:
    """Tell whether the venue says that the user stream is over, though the socket may be open."""
    body = message.get("event", message)
    return isinstance(body, dict) and body.get("e") in _STREAM_ENDS


def _stream_row(row: Mapping[str, Any], quote: Decimal | None) -> VenueOrder:
    order_type = _text(row, "o")
    order_id = _text(row, "i")
    symbol = _text(row, "s")
    side = Side(_text(row, "S").lower())
    # On spot, C holds the id of the order a cancel was aimed at; c is then the cancel's own id.
    original = row.get("C") if row.get("x") == "CANCELED" else None
    client_order_id = str(original or row.get("c") or "")
    last = _optional(row, "l") or ZERO
    fills: tuple[VenueFill, ...] = ()
    # CALCULATED is a liquidation's fill; no other event carries one of its own.
    if last > ZERO and row.get("x") in ("TRADE", "CALCULATED"):
        fills = (_stream_fill(row, symbol, order_id, side, last),)
    return VenueOrder(
        exchange_symbol=symbol,
        client_order_id=client_order_id,
        exchange_order_id=order_id,
        side=side,
        type=OrderType.MARKET if order_type == "MARKET" else OrderType.LIMIT,
        time_in_force=_time_in_force(row.get("f"), order_type),
        status=_status(_text(row, "X")),
        quantity=_number(row, "q"),
        executed=_number(row, "z"),
        price=_price(row.get("p")),
        cumulative_quote=quote,
        reduce_only=row.get("R") is True,
        post_only=order_type == "LIMIT_MAKER" or row.get("f") == "GTX",
        create_time=_time(row.get("O")),
        update_time=_time(row.get("T")),
        fills=fills,
        forced_fill=find_forced_fill(client_order_id),
    )


def _stream_fill(
    row: Mapping[str, Any], symbol: str, order_id: str, side: Side, quantity: Decimal
) -> VenueFill:
    maker = row.get("m")
    return VenueFill(
        trade_id=_text(row, "t"),
        exchange_order_id=order_id,
        exchange_symbol=symbol,
        side=side,
        price=_number(row, "L"),
        quantity=quantity,
        fee=_optional(row, "n"),
        fee_asset=row.get("N") or None,
        time=_time(row.get("T")),
        maker=maker if isinstance(maker, bool) else None,
        realized_pnl=_optional(row, "rp"),
    )


def _reply_fill(fill: Mapping[str, Any], row: Mapping[str, Any], side: Side) -> VenueFill:
    # The fills of a FULL reply have no time of their own: they happened as the order was taken.
    return VenueFill(
        trade_id=_text(fill, "tradeId"),
        exchange_order_id=_text(row, "orderId"),
        exchange_symbol=_text(row, "symbol"),
        side=side,
        price=_number(fill, "price"),
        quantity=_number(fill, "qty"),
        fee=_optional(fill, "commission"),
        fee_asset=fill.get("commissionAsset") or None,
        time=_time(row.get("transactTime")),
    )


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None or value == "":
        raise ValueError(f"the venue's row has no {key}")
    return str(value)


def _number(row: Mapping[str, Any], key: str) -> Decimal:
    return venue_decimal(row.get(key), key)


def _optional(row: Mapping[str, Any], *keys: str) -> Decimal | None:
    for key in keys:
        value = row.get(key)
        if value is not None and value != "":
            return venue_decimal(value, key)
    return None


def _price(value: object) -> Decimal | None:
    if value is None or value == "":
        return None
    price = venue_decimal(value, "price")
    return price if price > ZERO else None


def _status(word: str) -> OrderStatus:
    try:
        return _STATUSES[word]
    except KeyError as error:
        raise ValueError(f"unknown order status {word[:32]!r}") from error


def _time_in_force(value: object, order_type: str) -> TimeInForce | None:
    if order_type == "LIMIT_MAKER":
        return TimeInForce.GTX
    if order_type == "MARKET" or value not in TimeInForce.__members__:
        return None
    return TimeInForce(str(value))


def _time(value: object) -> datetime | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or value <= 0:
        return None
    return from_millis(value)
