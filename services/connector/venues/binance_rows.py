"""Binance's orders and fills, spot and USD-M: replies, rows and stream messages to venue rows.

Status words never decide quantity: `executedQty` and `z` do, whatever the order's end was called.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

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
from services.connector.venues.row_reading import (
    read_number,
    read_optional,
    read_price,
    read_text,
    read_time,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    order_type = read_text(row, "type")
    complete = "fills" in row
    order_id = read_text(row, "orderId")
    symbol = read_text(row, "symbol")
    side = Side(read_text(row, "side").lower())
    # A cancel reply names the cancel request in clientOrderId and the order in origClientOrderId.
    client_order_id = str(row.get("origClientOrderId") or row.get("clientOrderId") or "")
    return VenueOrder(
        exchange_symbol=symbol,
        client_order_id=client_order_id,
        exchange_order_id=order_id,
        side=side,
        type=OrderType.MARKET if order_type == "MARKET" else OrderType.LIMIT,
        time_in_force=_time_in_force(row.get("timeInForce"), order_type),
        status=_status(read_text(row, "status")),
        quantity=read_number(row, "origQty"),
        executed=read_number(row, "executedQty"),
        price=read_price(row.get("price")),
        cumulative_quote=read_optional(row, "cummulativeQuoteQty", "cumQuote"),
        reduce_only=row.get("reduceOnly") is True,
        post_only=order_type == "LIMIT_MAKER" or row.get("timeInForce") == "GTX",
        create_time=read_time(row.get("transactTime") or row.get("time") or row.get("updateTime")),
        update_time=read_time(row.get("updateTime") or row.get("transactTime") or row.get("time")),
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
        trade_id=read_text(row, "id"),
        exchange_order_id=read_text(row, "orderId"),
        exchange_symbol=read_text(row, "symbol"),
        side=None if side is None else Side(str(side).lower()),
        price=read_number(row, "price"),
        quantity=read_number(row, "qty"),
        fee=read_optional(row, "commission"),
        fee_asset=row.get("commissionAsset") or None,
        time=read_time(row.get("time")),
        maker=maker if isinstance(maker, bool) else None,
        realized_pnl=read_optional(row, "realizedPnl"),
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
        return _stream_row(body, quote=read_optional(body, "Z"))
    if body.get("e") == "ORDER_TRADE_UPDATE" and isinstance(body.get("o"), dict):
        row = body["o"]
        # The event has no cumulative quote; average times total is as good as the average's digits.
        average = read_optional(row, "ap")
        executed = read_number(row, "z")
        return _stream_row(row, quote=None if average is None else average * executed)
    return None


def stream_orders(message: Mapping[str, Any]) -> tuple[VenueOrder, ...]:
    """Read a user-stream message; Binance tells one order in each, or none."""
    row = stream_order(message)
    return () if row is None else (row,)


def stream_ended(message: Mapping[str, Any]) -> bool:
    """Tell whether the venue says that the user stream is over, though the socket may be open."""
    body = message.get("event", message)
    return isinstance(body, dict) and body.get("e") in _STREAM_ENDS


def _stream_row(row: Mapping[str, Any], quote: Decimal | None) -> VenueOrder:
    order_type = read_text(row, "o")
    order_id = read_text(row, "i")
    symbol = read_text(row, "s")
    side = Side(read_text(row, "S").lower())
    # On spot, C holds the id of the order a cancel was aimed at; c is then the cancel's own id.
    original = row.get("C") if row.get("x") == "CANCELED" else None
    client_order_id = str(original or row.get("c") or "")
    last = read_optional(row, "l") or ZERO
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
        status=_status(read_text(row, "X")),
        quantity=read_number(row, "q"),
        executed=read_number(row, "z"),
        price=read_price(row.get("p")),
        cumulative_quote=quote,
        reduce_only=row.get("R") is True,
        post_only=order_type == "LIMIT_MAKER" or row.get("f") == "GTX",
        create_time=read_time(row.get("O")),
        update_time=read_time(row.get("T")),
        fills=fills,
        forced_fill=find_forced_fill(client_order_id),
    )


def _stream_fill(
    row: Mapping[str, Any], symbol: str, order_id: str, side: Side, quantity: Decimal
) -> VenueFill:
    maker = row.get("m")
    return VenueFill(
        trade_id=read_text(row, "t"),
        exchange_order_id=order_id,
        exchange_symbol=symbol,
        side=side,
        price=read_number(row, "L"),
        quantity=quantity,
        fee=read_optional(row, "n"),
        fee_asset=row.get("N") or None,
        time=read_time(row.get("T")),
        maker=maker if isinstance(maker, bool) else None,
        realized_pnl=read_optional(row, "rp"),
    )


def _reply_fill(fill: Mapping[str, Any], row: Mapping[str, Any], side: Side) -> VenueFill:
    # The fills of a FULL reply have no time of their own: they happened as the order was taken.
    return VenueFill(
        trade_id=read_text(fill, "tradeId"),
        exchange_order_id=read_text(row, "orderId"),
        exchange_symbol=read_text(row, "symbol"),
        side=side,
        price=read_number(fill, "price"),
        quantity=read_number(fill, "qty"),
        fee=read_optional(fill, "commission"),
        fee_asset=fill.get("commissionAsset") or None,
        time=read_time(row.get("transactTime")),
    )


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
