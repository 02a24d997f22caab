"""Hyperliquid's orders and fills: replies, rows and stream messages.

`sz` is what is left of an order and `origSz` what was asked. A fee is positive when paid and holds
the builder's part already.
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
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

_SIDES: Final = {"B": Side.BUY, "A": Side.SELL}
_TIMES_IN_FORCE: Final = {
    "Gtc": TimeInForce.GTC,
    "Ioc": TimeInForce.IOC,
    "Alo": TimeInForce.GTX,
}
# `dir` of a fill that nobody here ordered.
_FORCED: Final = {
    "Liquidated": ForcedFill.LIQUIDATION,
    "Auto-Deleveraging": ForcedFill.AUTO_DELEVERAGING,
}


def place_reply(reply: Mapping[str, Any]) -> VenueOrder | VenueAcknowledgement:
    """Read the reply to one new order, with the order as `asked` beside it where we know it.

    Only one that was filled whole is read as an order: of a part the rest may rest or be canceled.
    """
    statuses = reply["response"]["data"]["statuses"]
    if len(statuses) != 1:
        raise ValueError("the reply is not about one order")
    status, asked = statuses[0], reply.get("asked")
    if isinstance(status, str):
        return VenueAcknowledgement("", "")
    filled = status.get("filled")
    if filled is None:
        return VenueAcknowledgement(read_text(status["resting"], "oid"), "")
    executed = read_number(filled, "totalSz")
    if asked is None or executed != read_number(asked, "origSz"):
        return VenueAcknowledgement(read_text(filled, "oid"), "")
    row = {**asked, "oid": filled["oid"], "sz": "0"}
    return _order(row, "filled", None, average=read_number(filled, "avgPx"))


def order_row(row: Mapping[str, Any]) -> VenueOrder:
    """Read an order with its status, or one of the open ones; ValueError when it is neither."""
    inner = row.get("order")
    if inner is None:
        return _order(row, "open", row.get("timestamp"))
    return _order(inner, read_text(row, "status"), row.get("statusTimestamp"))


def fill_row(row: Mapping[str, Any]) -> VenueFill:
    """Read a fill of ours; raise ValueError when it is not one."""
    crossed = row.get("crossed")
    return VenueFill(
        trade_id=read_text(row, "tid"),
        exchange_order_id=read_text(row, "oid"),
        exchange_symbol=read_text(row, "coin"),
        side=_side(row),
        price=read_number(row, "px"),
        quantity=read_number(row, "sz"),
        # builderFee is a part of fee, not beside it.
        fee=read_optional(row, "fee"),
        fee_asset=str(row.get("feeToken") or "USDC"),
        time=read_time(row.get("time")),
        maker=not crossed if isinstance(crossed, bool) else None,
        realized_pnl=read_optional(row, "closedPnl"),
    )


def stream_orders(message: Mapping[str, Any]) -> Sequence[VenueOrder]:
    """Read a message of the order channel, or forced fills out of one of the fill channel."""
    channel, data = message.get("channel"), message.get("data")
    if channel == "orderUpdates":
        return read_each(data or (), order_row)
    if channel != "userFills" or not isinstance(data, dict) or data.get("isSnapshot") is True:
        return []
    return read_each(data.get("fills") or (), _forced_order)


def stream_ready(message: Mapping[str, Any] | None) -> bool:
    """Tell whether a message is the venue's word that it sends our orders from now on."""
    if message is None or message.get("channel") != "subscriptionResponse":
        return False
    data = message.get("data")
    subscription = data.get("subscription") if isinstance(data, dict) else None
    return isinstance(subscription, dict) and subscription.get("type") == "orderUpdates"


def _order(
    row: Mapping[str, Any], word: str, updated: object, average: Decimal | None = None
) -> VenueOrder:
    left = read_number(row, "sz")
    # The short list of open orders tells what is left alone.
    quantity = read_optional(row, "origSz") or left
    executed = quantity - left
    tif = _TIMES_IN_FORCE.get(str(row.get("tif")))
    market = "Market" in str(row.get("orderType"))
    return VenueOrder(
        exchange_symbol=read_text(row, "coin"),
        client_order_id=str(row.get("cloid") or ""),
        exchange_order_id=read_text(row, "oid"),
        side=_side(row),
        type=OrderType.MARKET if market else OrderType.LIMIT,
        time_in_force=tif,
        status=_status(word, executed, left),
        quantity=quantity,
        executed=executed,
        price=read_price(row.get("limitPx")),
        cumulative_quote=None,
        reduce_only=row.get("reduceOnly") is True,
        post_only=tif is TimeInForce.GTX,
        create_time=read_time(row.get("timestamp")),
        update_time=read_time(updated),
        average_price=average,
    )


def _status(word: str, executed: Decimal, left: Decimal) -> OrderStatus:
    if word in ("open", "triggered"):
        return OrderStatus.PARTIALLY_FILLED if executed > ZERO else OrderStatus.NEW
    if word == "filled":
        return OrderStatus.FILLED if left == ZERO else OrderStatus.CANCELED
    if word == "iocCancelRejected":
        return OrderStatus.EXPIRED
    if word == "rejected" or word.endswith("Rejected"):
        return OrderStatus.REJECTED
    if word in ("canceled", "scheduledCancel") or word.endswith("Canceled"):
        return OrderStatus.CANCELED
    raise ValueError(f"unknown order status {word[:32]!r}")


def _side(row: Mapping[str, Any]) -> Side:
    side = _SIDES.get(str(row.get("side")))
    if side is None:
        raise ValueError("the row has no side")
    return side


def _forced_fill(row: Mapping[str, Any]) -> ForcedFill | None:
    direction = str(row.get("dir") or "")
    return next((one for start, one in _FORCED.items() if direction.startswith(start)), None)


def _forced_order(row: Mapping[str, Any]) -> VenueOrder | None:
    forced = _forced_fill(row)
    if forced is None:
        return None
    # The order channel says nothing of the venue's own orders: the fill is all there is.
    fill = fill_row(row)
    return VenueOrder(
        exchange_symbol=fill.exchange_symbol,
        client_order_id="",
        exchange_order_id=fill.exchange_order_id,
        side=_side(row),
        type=OrderType.MARKET,
        time_in_force=None,
        status=OrderStatus.FILLED,
        quantity=fill.quantity,
        executed=fill.quantity,
        price=None,
        cumulative_quote=fill.quantity * fill.price,
        reduce_only=False,
        post_only=False,
        create_time=fill.time,
        update_time=fill.time,
        fills=(fill,),
        forced_fill=forced,
    )
