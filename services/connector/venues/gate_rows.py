"""Gate's orders and fills, spot and USDT contracts: replies, rows and stream messages.

A contract's size is signed, so the sign is the side; both `size` and `left` are contracts. What was
executed is what is not left, whatever the order's end was called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from services.common.codec import from_millis
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
from services.connector.venue_numbers import optional_venue_decimal
from services.connector.venues.row_reading import (
    read_each,
    read_number,
    read_optional,
    read_price,
    read_text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

ID_PREFIX: Final = "t-"
"""Begins each id that is a client's own, at the venue only; other texts are the venue's words."""

_TIMES_IN_FORCE: Final = {
    "gtc": TimeInForce.GTC,
    "ioc": TimeInForce.IOC,
    "fok": TimeInForce.FOK,
    "poc": TimeInForce.GTX,
}
# Reserved texts, POST /futures/{settle}/orders.
_LIQUIDATIONS: Final = (
    *("liquidation", "liq-", "hedge-liq-", "pm_liquidate", "comb_margin_liquidate"),
    "scm_liquidate",
)
# In seconds the year 5138, in milliseconds 1973.
_FIRST_MILLIS: Final = 100_000_000_000
_CHANNELS: Final = ("spot.orders", "futures.orders")


def place_reply(row: Mapping[str, Any]) -> VenueOrder | VenueAcknowledgement:
    """Read the reply to a new order: the order, or (spot, `action_mode` ACK) only its ids."""
    if "status" in row:
        return order_row(row)
    return VenueAcknowledgement(read_text(row, "id"), _client_id(row))


def order_row(row: Mapping[str, Any]) -> VenueOrder:
    """Read a row about one order; raise ValueError when it is not one."""
    return _contract_order(row) if "contract" in row else _spot_order(row)


def fill_row(row: Mapping[str, Any]) -> VenueFill:
    """Read a row of my_trades; raise ValueError when it is not one."""
    contract = row.get("contract")
    if contract is None:
        # The documents leave it out of answers to a question about one pair.
        symbol, quantity = str(row.get("currency_pair") or ""), read_number(row, "amount")
        side = Side(read_text(row, "side"))
    else:
        symbol, size = str(contract), read_number(row, "size")
        side, quantity = _side(size), abs(size)
    fee, fee_asset = _fee(row, symbol)
    role = row.get("role")
    return VenueFill(
        trade_id=str(row.get("trade_id") or read_text(row, "id")),
        exchange_order_id=read_text(row, "order_id"),
        exchange_symbol=symbol,
        side=side,
        price=read_number(row, "price"),
        quantity=quantity,
        fee=fee,
        fee_asset=fee_asset,
        time=_time(row, "create_time"),
        maker=role == "maker" if role in ("maker", "taker") else None,
    )


def stream_orders(message: Mapping[str, Any]) -> Sequence[VenueOrder]:
    """Read a message of the order channels; none when it is about something else."""
    if message.get("channel") not in _CHANNELS or message.get("event") != "update":
        return []
    return read_each(message.get("result") or (), order_row)


def stream_ready(message: Mapping[str, Any] | None) -> bool:
    """Tell whether a message is the venue's word that it sends our orders from now on."""
    if message is None or message.get("channel") not in _CHANNELS:
        return False
    return message.get("event") == "subscribe" and not message.get("error")


def _spot_order(row: Mapping[str, Any]) -> VenueOrder:
    side, word = Side(read_text(row, "side")), read_text(row, "type")
    quantity, left = read_number(row, "amount"), read_number(row, "left")
    executed = quantity - left
    if word == "market" and side is Side.BUY:
        # Amount and left of a market buy are in the quote.
        quantity = executed = read_number(row, "filled_amount")
    tif = _TIMES_IN_FORCE.get(str(row.get("time_in_force")))
    return VenueOrder(
        exchange_symbol=read_text(row, "currency_pair"),
        client_order_id=_client_id(row),
        exchange_order_id=read_text(row, "id"),
        side=side,
        type=OrderType.MARKET if word.startswith("market") else OrderType.LIMIT,
        time_in_force=tif,
        status=_status(row, executed, left),
        quantity=quantity,
        executed=executed,
        price=read_price(row.get("price")),
        cumulative_quote=read_optional(row, "filled_total"),
        reduce_only=False,
        post_only=tif is TimeInForce.GTX,
        create_time=_time(row, "create_time"),
        update_time=_time(row, "update_time"),
    )


def _contract_order(row: Mapping[str, Any]) -> VenueOrder:
    size, left = read_number(row, "size"), read_number(row, "left")
    executed = abs(size) - abs(left)
    price, tif = read_price(row.get("price")), _TIMES_IN_FORCE.get(str(row.get("tif")))
    return VenueOrder(
        exchange_symbol=read_text(row, "contract"),
        client_order_id=_client_id(row),
        exchange_order_id=read_text(row, "id"),
        side=_side(size),
        # A price of zero is the venue's way of saying market.
        type=OrderType.MARKET if price is None else OrderType.LIMIT,
        time_in_force=None if price is None else tif,
        status=_status(row, executed, left),
        quantity=abs(size),
        executed=executed,
        price=price,
        cumulative_quote=None,
        reduce_only=row.get("is_reduce_only") is True,
        post_only=tif is TimeInForce.GTX,
        create_time=_time(row, "create_time"),
        update_time=_time(row, "update_time") or _time(row, "finish_time"),
        forced_fill=_forced_fill(row),
        average_price=read_price(row.get("fill_price")),
    )


def _status(row: Mapping[str, Any], executed: Decimal, left: Decimal) -> OrderStatus:
    # Spot's stream tells the end in `event`, contracts and replies tell it in `status`.
    word = row.get("status") or {"finish": "finished"}.get(str(row.get("event")), "open")
    end = row.get("finish_as")
    if word == "open":
        return OrderStatus.PARTIALLY_FILLED if executed > ZERO else OrderStatus.NEW
    if word not in ("closed", "cancelled", "finished"):
        raise ValueError(f"unknown order status {str(word)[:32]!r}")
    if left == ZERO or end == "filled":
        return OrderStatus.FILLED
    return OrderStatus.EXPIRED if end in ("ioc", "fok", "poc") else OrderStatus.CANCELED


def _side(size: Decimal) -> Side:
    if size == ZERO:
        raise ValueError("a size of zero has no side")
    return Side.BUY if size > ZERO else Side.SELL


def _client_id(row: Mapping[str, Any]) -> str:
    text = str(row.get("text") or "")
    return text.removeprefix(ID_PREFIX) if text.startswith(ID_PREFIX) else ""


def _forced_fill(row: Mapping[str, Any]) -> ForcedFill | None:
    text = str(row.get("text") or "")
    if text == "auto_deleveraging" or row.get("finish_as") == "auto_deleveraged":
        return ForcedFill.AUTO_DELEVERAGING
    if row.get("is_liq") is True or text.startswith(_LIQUIDATIONS):
        return ForcedFill.LIQUIDATION
    return None


def _fee(row: Mapping[str, Any], symbol: str) -> tuple[Decimal | None, str | None]:
    base, _, quote = symbol.partition("_")
    # Contracts against USD itself are settled in the coin.
    settled = base if quote == "USD" else quote
    fee = read_optional(row, "fee")
    asset = str(row.get("fee_currency") or "") or (settled if "contract" in row else None)
    if fee != ZERO:
        return fee, asset
    # A fee paid in GT or in points leaves `fee` at zero.
    for name, other in (("gt_fee", "GT"), ("point_fee", "POINT")):
        paid = read_optional(row, name)
        if paid is not None and paid != ZERO:
            return paid, other
    return fee, asset


def _time(row: Mapping[str, Any], name: str) -> datetime | None:
    millis = optional_venue_decimal(row.get(f"{name}_ms"), name)
    if millis is None:
        told = optional_venue_decimal(row.get(name), name)
        # Seconds, but milliseconds in `update_time` of the stream of contract orders.
        millis = told if told is None or told >= _FIRST_MILLIS else told * 1000
    return from_millis(int(millis)) if millis is not None and millis > ZERO else None
