"""Bybit's orders and executions, spot and linear: replies, rows and stream messages.

Status words never decide quantity: `cumExecQty` does, whatever the order's end was called. The
private stream of a unified account tells spot and linear orders of one symbol name, so a message
is read for one category. Sources: Bybit V5 "Get Open & Closed Orders", "Get Trade History", private
streams "Order" and "Execution", "Enums Definitions".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from services.connector.order_types import (
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

_STATUSES: Final = {
    "Created": OrderStatus.NEW,
    "New": OrderStatus.NEW,
    "Active": OrderStatus.NEW,
    "Untriggered": OrderStatus.NEW,
    "Triggered": OrderStatus.NEW,
    "PartiallyFilled": OrderStatus.PARTIALLY_FILLED,
    "Filled": OrderStatus.FILLED,
    "PartiallyFilledCanceled": OrderStatus.CANCELED,
    "Cancelled": OrderStatus.CANCELED,
    "Deactivated": OrderStatus.CANCELED,
    "Rejected": OrderStatus.REJECTED,
}
_TIMES_IN_FORCE: Final = {
    "GTC": TimeInForce.GTC,
    "IOC": TimeInForce.IOC,
    "FOK": TimeInForce.FOK,
    "PostOnly": TimeInForce.GTX,
    "RPI": TimeInForce.GTX,
}
# Beginnings of createType of the orders that the venue places itself.
_FORCED_CREATION: Final = {
    "CreateByLiq": ForcedFill.LIQUIDATION,
    "CreateByTakeOver": ForcedFill.LIQUIDATION,
    "CreateByAdl": ForcedFill.AUTO_DELEVERAGING,
}
_FORCED_EXECUTION: Final = {
    "BustTrade": ForcedFill.LIQUIDATION,
    "AdlTrade": ForcedFill.AUTO_DELEVERAGING,
}
# Funding payments, too, are listed among the executions.
_FILLS: Final = frozenset({"Trade", "BustTrade", "AdlTrade", "BlockTrade", "Delivery", "Settle"})


def place_reply(reply: Mapping[str, Any]) -> VenueAcknowledgement:
    """Read the reply to a new order: its two ids and nothing else."""
    return VenueAcknowledgement(read_text(reply, "orderId"), str(reply.get("orderLinkId") or ""))


def order_row(row: Mapping[str, Any]) -> VenueOrder:
    """Read a row about one order, of a query or of the stream; ValueError when it is not one."""
    market = row.get("orderType") == "Market"
    force = str(row.get("timeInForce") or "")
    executed = read_number(row, "cumExecQty")
    return VenueOrder(
        exchange_symbol=read_text(row, "symbol"),
        client_order_id=str(row.get("orderLinkId") or ""),
        exchange_order_id=read_text(row, "orderId"),
        side=_side(row),
        type=OrderType.MARKET if market else OrderType.LIMIT,
        time_in_force=None if market else _TIMES_IN_FORCE.get(force),
        status=_status(read_text(row, "orderStatus")),
        quantity=executed if _is_by_value(row) else read_number(row, "qty"),
        executed=executed,
        # A market order on a perpetual has the worst price the venue would take in this place.
        price=None if market else read_price(row.get("price")),
        cumulative_quote=read_optional(row, "cumExecValue"),
        reduce_only=row.get("reduceOnly") is True,
        post_only=force in ("PostOnly", "RPI"),
        create_time=read_time(row.get("createdTime")),
        update_time=read_time(row.get("updatedTime")),
        forced_fill=_forced(row),
        average_price=read_price(row.get("avgPrice")),
    )


def is_fill(row: Mapping[str, Any]) -> bool:
    """Tell whether a row of the executions is a fill, and not a payment of funding."""
    return row.get("execType", "Trade") in _FILLS


def fill_row(category: str, row: Mapping[str, Any]) -> VenueFill:
    """Read a row of the executions; raise ValueError when it is not one."""
    asset = _fee_asset(category, row)
    maker = row.get("isMaker")
    return VenueFill(
        trade_id=read_text(row, "execId"),
        exchange_order_id=read_text(row, "orderId"),
        exchange_symbol=read_text(row, "symbol"),
        side=_side(row),
        price=read_number(row, "execPrice"),
        quantity=read_number(row, "execQty"),
        fee=_fee(row, asset),
        fee_asset=asset,
        time=read_time(row.get("execTime")),
        maker=maker if isinstance(maker, bool) else None,
        realized_pnl=read_optional(row, "execPnl"),
    )


def stream_orders(category: str, message: Mapping[str, Any]) -> Sequence[VenueOrder]:
    """Read a message of the private stream; empty when it is not about orders of `category`."""
    rows = message.get("data")
    if not isinstance(rows, list):
        return ()
    topic = str(message.get("topic") or "")
    return read_each(rows, lambda row: _read_stream(category, topic, row))


def stream_ready(message: Mapping[str, Any] | None) -> bool:
    """Tell whether a message confirms the subscription; the opening of the socket does not."""
    return (
        message is not None and message.get("op") == "subscribe" and message.get("success") is True
    )


def stream_ended(message: Mapping[str, Any]) -> bool:
    """Tell whether the venue ends the stream by a message: Bybit closes the socket instead."""
    del message
    return False


def _read_stream(category: str, topic: str, row: Any) -> VenueOrder | None:
    # Bybit's topics may name their category: "order", "order.linear".
    if not isinstance(row, dict) or row.get("category") not in (None, "", category):
        return None
    if topic in ("order", f"order.{category}"):
        return order_row(row)
    if topic in ("execution", f"execution.{category}") and is_fill(row):
        return _execution(category, row)
    return None


def _execution(category: str, row: Mapping[str, Any]) -> VenueOrder:
    """Read an execution as what it proves of its order: that this much is executed, at least."""
    market = row.get("orderType") == "Market"
    fill = fill_row(category, row)
    return VenueOrder(
        exchange_symbol=fill.exchange_symbol,
        client_order_id=str(row.get("orderLinkId") or ""),
        exchange_order_id=fill.exchange_order_id,
        side=_side(row),
        type=OrderType.MARKET if market else OrderType.LIMIT,
        time_in_force=None,
        # Never an end: what is left may be cancelled, which the order's own row tells.
        status=OrderStatus.PARTIALLY_FILLED,
        quantity=fill.quantity if _is_by_value(row) else read_number(row, "orderQty"),
        executed=fill.quantity,
        price=None if market else read_price(row.get("orderPrice")),
        cumulative_quote=fill.price * fill.quantity,
        reduce_only=False,
        post_only=False,
        create_time=None,
        update_time=fill.time,
        fills=(fill,),
        forced_fill=_FORCED_EXECUTION.get(str(row.get("execType"))) or _forced(row),
    )


def _is_by_value(row: Mapping[str, Any]) -> bool:
    # A spot order by value has its quantity in the quote, and only the executed one in the base.
    return row.get("marketUnit") == "quoteCoin"


def _side(row: Mapping[str, Any]) -> Side:
    return Side(read_text(row, "side").lower())


def _status(word: str) -> OrderStatus:
    try:
        return _STATUSES[word]
    except KeyError as error:
        raise ValueError(f"unknown order status {word[:32]!r}") from error


def _forced(row: Mapping[str, Any]) -> ForcedFill | None:
    created = str(row.get("createType") or "")
    for start, forced in _FORCED_CREATION.items():
        if created.startswith(start):
            return forced
    return None


def _fee_asset(category: str, row: Mapping[str, Any]) -> str | None:
    named = row.get("feeCurrency")
    if isinstance(named, str) and named:
        return named
    # Older rows of perpetuals leave it out: they pay in the coin that the contract settles in.
    symbol = str(row.get("symbol") or "")
    if category != "linear":
        return None
    return "USDC" if symbol.endswith("PERP") else "USDT" if symbol.endswith("USDT") else None


def _fee(row: Mapping[str, Any], asset: str | None) -> Decimal | None:
    fee = read_optional(row, "execFee")
    if fee is None:
        return None
    extra = row.get("extraFees")
    # Taxes on the fee, told apart from it.
    for part in extra if isinstance(extra, list) else ():
        if part.get("feeCoin") == asset:
            more = read_optional(part, "fee")
            # One that does not tell its amount leaves the fee unknown, not smaller.
            if more is None:
                return None
            fee += more
    return fee
