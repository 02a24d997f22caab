"""OKX's orders and fills, spot and swap: acknowledgements, rows and stream messages to venue rows.

Sizes of swaps are contracts. Fees are below zero when paid, above when it is a rebate. The state
never decides quantity: `accFillSz` does, also of an order that was canceled.
Sources: OKX API v5, "Order Book Trading": Place order, Order details, Transaction details, Order
channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from services.connector.order_types import (
    ZERO,
    ForcedFill,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
    VenueAcknowledgement,
    VenueFill,
    VenueOrder,
)
from services.connector.venues.row_reading import (
    read_each,
    read_number,
    read_optional,
    read_price,
    read_text,
    read_time,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

_STATUSES: Final = {
    "live": OrderStatus.NEW,
    "partially_filled": OrderStatus.PARTIALLY_FILLED,
    "filled": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELED,
    "mmp_canceled": OrderStatus.CANCELED,
}
_FORCED: Final = {
    "full_liquidation": ForcedFill.LIQUIDATION,
    "partial_liquidation": ForcedFill.LIQUIDATION,
    "adl": ForcedFill.AUTO_DELEVERAGING,
}
_TIMES_IN_FORCE: Final = {
    "limit": TimeInForce.GTC,
    "ioc": TimeInForce.IOC,
    "fok": TimeInForce.FOK,
    "post_only": TimeInForce.GTX,
}
_MARKET_TYPES: Final = ("market", "optimal_limit_ioc")
_MAKER: Final = {"M": True, "T": False}
# 64008: the connection will be closed within a minute for an upgrade; better at once, and anew.
_CLOSING_NOTICE: Final = "64008"


def place_reply(row: Mapping[str, Any]) -> VenueAcknowledgement:
    """Read the row of a reply to a new order; raise ValueError when it names no order."""
    return VenueAcknowledgement(read_text(row, "ordId"), str(row.get("clOrdId") or ""))


def order_row(row: Mapping[str, Any]) -> VenueOrder:
    """Read a row about one order, asked for or streamed; raise ValueError when it is not one."""
    kind = read_text(row, "ordType")
    executed = read_number(row, "accFillSz")
    fill = _last_fill(row, executed)
    return VenueOrder(
        exchange_symbol=read_text(row, "instId"),
        client_order_id=str(row.get("clOrdId") or ""),
        exchange_order_id=read_text(row, "ordId"),
        side=Side(read_text(row, "side")),
        type=OrderType.MARKET if kind in _MARKET_TYPES else OrderType.LIMIT,
        time_in_force=_TIMES_IN_FORCE.get(kind),
        status=_status(read_text(row, "state")),
        quantity=executed if _is_sized_in_quote(row) else read_number(row, "sz"),
        executed=executed,
        price=None if kind in _MARKET_TYPES else read_price(row.get("px")),
        cumulative_quote=None,
        average_price=read_price(row.get("avgPx")),
        reduce_only=str(row.get("reduceOnly")).lower() == "true",
        post_only=kind == "post_only",
        create_time=read_time(row.get("cTime")),
        update_time=read_time(row.get("uTime")),
        fills=() if fill is None else (fill,),
        # The last fill is all there is when it is as large as the total.
        fills_complete=fill is not None and fill.quantity == executed,
        forced_fill=_FORCED.get(str(row.get("category"))),
    )


def fill_row(row: Mapping[str, Any]) -> VenueFill:
    """Read a row of our transaction details; raise ValueError when it is not one."""
    fee = read_optional(row, "fee")
    return VenueFill(
        trade_id=read_text(row, "tradeId"),
        exchange_order_id=read_text(row, "ordId"),
        exchange_symbol=read_text(row, "instId"),
        side=Side(read_text(row, "side")),
        price=read_number(row, "fillPx"),
        quantity=read_number(row, "fillSz"),
        fee=None if fee is None else -fee,
        fee_asset=row.get("feeCcy") or None,
        time=read_time(row.get("fillTime") or row.get("ts")),
        maker=_MAKER.get(str(row.get("execType"))),
        realized_pnl=read_optional(row, "fillPnl"),
    )


def stream_orders(message: Mapping[str, Any]) -> tuple[VenueOrder, ...]:
    """Read a message of the private connection; none when it is not about orders.

    Raises ValueError when it is and does not hold.
    """
    if _channel(message) != "orders" or "event" in message:
        return ()
    return read_each(message.get("data") or (), order_row)


def stream_ready(message: Mapping[str, Any] | None) -> bool:
    """Tell whether the venue has taken our subscription to orders."""
    if message is None:
        return False
    return message.get("event") == "subscribe" and _channel(message) == "orders"


def stream_ended(message: Mapping[str, Any]) -> bool:
    """Tell whether the venue says that the stream of orders is over, or will be in a moment."""
    event = message.get("event")
    if event == "notice":
        return str(message.get("code")) == _CLOSING_NOTICE
    if event == "channel-conn-count-error":
        return message.get("channel") == "orders"
    return event == "unsubscribe" and _channel(message) == "orders"


def _channel(message: Mapping[str, Any]) -> str:
    argument = message.get("arg")
    return str(argument.get("channel")) if isinstance(argument, dict) else ""


def _is_sized_in_quote(row: Mapping[str, Any]) -> bool:
    # Only orders placed elsewhere: ours are always in the base. What such an order will buy is not
    # known before it has.
    return row.get("ordType") == "market" and row.get("tgtCcy") == "quote_ccy"


def _last_fill(row: Mapping[str, Any], executed: Decimal) -> VenueFill | None:
    quantity = read_optional(row, "fillSz") or ZERO
    trade_id = str(row.get("tradeId") or "0")
    if quantity <= ZERO or trade_id == "0":
        return None
    fee, asset = _last_fee(row, is_whole=quantity == executed)
    return VenueFill(
        trade_id=trade_id,
        exchange_order_id=read_text(row, "ordId"),
        exchange_symbol=read_text(row, "instId"),
        side=Side(read_text(row, "side")),
        price=read_number(row, "fillPx"),
        quantity=quantity,
        fee=None if fee is None else -fee,
        fee_asset=asset,
        time=read_time(row.get("fillTime")),
        maker=_MAKER.get(str(row.get("execType"))),
        realized_pnl=read_optional(row, "fillPnl"),
    )


def _last_fee(row: Mapping[str, Any], *, is_whole: bool) -> tuple[Decimal | None, str | None]:
    asset = row.get("fillFeeCcy")
    if asset:
        return read_optional(row, "fillFee"), str(asset)
    # `fee` is of the whole order, and a rebate beside it may be in another asset.
    if is_whole and not (read_optional(row, "rebate") or ZERO):
        return read_optional(row, "fee"), row.get("feeCcy") or None
    return None, None


def _status(word: str) -> OrderStatus:
    try:
        return _STATUSES[word]
    except KeyError as error:
        raise ValueError(f"unknown order state {word[:32]!r}") from error
