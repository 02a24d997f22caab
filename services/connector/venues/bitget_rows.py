"""Bitget's orders and fills (v2), spot and USDT perpetuals: replies, rows and stream messages.

`baseVolume` is what an order has executed, on the stream `accBaseVolume`; there `baseVolume` is the
last fill's. Fees are signed as the account sees them: what was paid is negative.
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

_STATUSES: Final = {
    "init": OrderStatus.NEW,
    "new": OrderStatus.NEW,
    "live": OrderStatus.NEW,
    "partially_filled": OrderStatus.PARTIALLY_FILLED,
    "filled": OrderStatus.FILLED,
    "cancelled": OrderStatus.CANCELED,
    "canceled": OrderStatus.CANCELED,
}
_TIMES_IN_FORCE: Final = {
    "gtc": TimeInForce.GTC,
    "ioc": TimeInForce.IOC,
    "fok": TimeInForce.FOK,
    "post_only": TimeInForce.GTX,
}
# tradeSide of GET /api/v2/mix/order/detail.
_FORCED: Final = {
    "burst_": ForcedFill.LIQUIDATION,
    "reduce_": ForcedFill.LIQUIDATION,
    "dte_sys_adl_": ForcedFill.AUTO_DELEVERAGING,
}


def place_reply(row: Mapping[str, Any]) -> VenueAcknowledgement:
    """Read the reply to a new order: ids alone, of a reduce-only one perhaps the client's only."""
    order_id, client_id = str(row.get("orderId") or ""), str(row.get("clientOid") or "")
    if not (order_id or client_id):
        raise ValueError("the reply names no order")
    return VenueAcknowledgement(order_id, client_id)


def order_row(row: Mapping[str, Any]) -> VenueOrder:
    """Read a row of order info, detail, pending or history; ValueError when it is not one."""
    executed = _executed(row, "baseVolume")
    # In the list of unfilled spot orders the limit price stands under priceAvg: no average at all.
    price = row.get("price") if "price" in row else row.get("priceAvg")
    # Each tells the other; the documents' own examples agree on the average alone.
    average = read_price(row.get("priceAvg")) if "price" in row and executed > ZERO else None
    return _order(
        row,
        symbol=read_text(row, "symbol"),
        executed=executed,
        price=price,
        quote=read_optional(row, "quoteVolume") if average is None else None,
        average=average,
        is_spot="marginCoin" not in row,
        fills=(),
    )


def fill_row(row: Mapping[str, Any]) -> VenueFill:
    """Read a row of fills, of either product; raise ValueError when it is not one."""
    fee, fee_asset = _fee(row.get("feeDetail"))
    # A fill of a contract names its size as an order does, one of spot by `size`.
    quantity = read_optional(row, "baseVolume", "size")
    price = read_optional(row, "priceAvg", "price")
    if quantity is None or price is None:
        raise ValueError("the fill has no quantity or price")
    return VenueFill(
        trade_id=read_text(row, "tradeId"),
        exchange_order_id=read_text(row, "orderId"),
        exchange_symbol=read_text(row, "symbol").upper(),
        side=Side(read_text(row, "side")),
        price=price,
        quantity=quantity,
        fee=fee,
        fee_asset=fee_asset,
        time=read_time(row.get("cTime")),
        maker=_is_maker(row.get("tradeScope")),
        realized_pnl=read_optional(row, "profit"),
    )


def stream_orders(message: Mapping[str, Any]) -> Sequence[VenueOrder]:
    """Read a message of the order channel; none when it is about something else."""
    argument = message.get("arg")
    if not isinstance(argument, dict) or argument.get("channel") != "orders":
        return []
    is_spot = argument.get("instType") == "SPOT"
    return read_each(message.get("data") or (), lambda row: _stream_row(row, is_spot=is_spot))


def stream_ready(message: Mapping[str, Any] | None) -> bool:
    """Tell whether a message is the venue's word that it sends our orders from now on."""
    argument = None if message is None else message.get("arg")
    if message is None or not isinstance(argument, dict):
        return False
    return message.get("event") == "subscribe" and argument.get("channel") == "orders"


def _stream_row(row: Mapping[str, Any], *, is_spot: bool) -> VenueOrder:
    symbol = read_text(row, "instId")
    executed = _executed(row, "accBaseVolume")
    fills: tuple[VenueFill, ...] = ()
    last = read_optional(row, "baseVolume") or ZERO
    if row.get("tradeId") and last > ZERO:
        fills = (_stream_fill(row, symbol, last),)
    return _order(
        row,
        symbol=symbol,
        executed=executed,
        price=row.get("price"),
        quote=None,
        average=None if executed == ZERO else read_price(row.get("priceAvg")),
        is_spot=is_spot,
        fills=fills,
    )


def _stream_fill(row: Mapping[str, Any], symbol: str, quantity: Decimal) -> VenueFill:
    fee = read_optional(row, "fillFee")
    return VenueFill(
        trade_id=read_text(row, "tradeId"),
        exchange_order_id=read_text(row, "orderId"),
        exchange_symbol=symbol.upper(),
        side=Side(read_text(row, "side")),
        price=read_number(row, "fillPrice"),
        quantity=quantity,
        fee=None if fee is None else -fee,
        fee_asset=str(row.get("fillFeeCoin") or "") or None,
        time=read_time(row.get("fillTime")),
        maker=_is_maker(row.get("tradeScope")),
    )


def _order(
    row: Mapping[str, Any],
    *,
    symbol: str,
    executed: Decimal,
    price: object,
    quote: Decimal | None,
    average: Decimal | None,
    is_spot: bool,
    fills: tuple[VenueFill, ...],
) -> VenueOrder:
    side, order_type = Side(read_text(row, "side")), OrderType(read_text(row, "orderType"))
    market = order_type is OrderType.MARKET
    # The size of a spot market buy is in the quote.
    in_quote = is_spot and market and side is Side.BUY
    tif = _TIMES_IN_FORCE.get(str(row.get("force")).lower())
    return VenueOrder(
        exchange_symbol=symbol.upper(),
        # The documents' messages of contracts write it with two capitals.
        client_order_id=str(row.get("clientOid") or row.get("clientOId") or ""),
        exchange_order_id=read_text(row, "orderId"),
        side=side,
        type=order_type,
        time_in_force=None if market else tif,
        status=_status(row),
        quantity=executed if in_quote else read_number(row, "size"),
        executed=executed,
        price=None if market else read_price(price),
        cumulative_quote=quote,
        reduce_only=str(row.get("reduceOnly")).lower() == "yes",
        post_only=tif is TimeInForce.GTX,
        create_time=read_time(row.get("cTime")),
        update_time=read_time(row.get("uTime")),
        fills=fills,
        forced_fill=_forced_fill(row),
        average_price=average,
    )


def _executed(row: Mapping[str, Any], name: str) -> Decimal:
    executed = read_optional(row, name)
    if executed is not None:
        return executed
    # Left out of an order that has just begun; of any other the lack of it is no zero.
    if _status(row) is not OrderStatus.NEW:
        raise ValueError(f"the venue's row has no {name}")
    return ZERO


def _status(row: Mapping[str, Any]) -> OrderStatus:
    word = str(row.get("status") or row.get("state"))
    try:
        return _STATUSES[word]
    except KeyError as error:
        raise ValueError(f"unknown order status {word[:32]!r}") from error


def _forced_fill(row: Mapping[str, Any]) -> ForcedFill | None:
    word = str(row.get("tradeSide") or "").lower()
    return next((forced for start, forced in _FORCED.items() if word.startswith(start)), None)


def _is_maker(scope: object) -> bool | None:
    return {"maker": True, "M": True, "taker": False, "T": False}.get(str(scope))


def _fee(detail: object) -> tuple[Decimal | None, str | None]:
    # Contracts have a list of them, spot has one.
    parts = detail if isinstance(detail, list) else [detail]
    found = [part for part in parts if isinstance(part, dict) and part.get("feeCoin")]
    assets = {str(part["feeCoin"]) for part in found}
    # In two coins it is no one number; then it is unknown.
    if len(assets) != 1:
        return None, None
    return -sum((read_number(part, "totalFee") for part in found), ZERO), assets.pop()
