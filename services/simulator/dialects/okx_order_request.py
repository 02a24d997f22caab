"""Orders of OKX v5 as they are asked for: one or a batch, read strictly, in the core's units."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, Final

from services.simulator.core.errors import VenueError
from services.simulator.core.money import ZERO, is_multiple
from services.simulator.core.orders import OrderRequest, OrderType, Product, Side, TimeInForce
from services.simulator.dialects.context import Context
from services.simulator.dialects.okx_common import (
    contract_of,
    parameter_error,
    required,
    spec_of,
)
from services.simulator.dialects.params import Params
from services.simulator.market.source import InstrumentSpec, Kind

MOST_ORDERS: Final = 20
BATCH: Final = "orders"
"""The parameter under which the rows of a batch, a bare JSON list, are kept."""
_CLIENT_ID: Final = re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII)
_SIDES: Final = {"buy": Side.BUY, "sell": Side.SELL}
_TIMES_IN_FORCE: Final = {
    "limit": TimeInForce.GTC,
    "ioc": TimeInForce.IOC,
    "fok": TimeInForce.FOK,
    "post_only": TimeInForce.GTX,
    "market": TimeInForce.GTC,
    "optimal_limit_ioc": TimeInForce.GTC,
}
_MARKET_TYPES: Final = ("market", "optimal_limit_ioc")


def batch_params(params: Params) -> list[Params]:
    """Return the rows of a batch; raises VenueError 50002 when it is not a list of them."""
    try:
        rows: Any = json.loads(params.require(BATCH))
    except ValueError:
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise VenueError(50002, "JSON syntax error", 400)
    if not 0 < len(rows) <= MOST_ORDERS:
        raise VenueError(51111, f"Maximum {MOST_ORDERS} orders can be placed in bulk", 200)
    return [to_params(row) for row in rows]


def to_params(row: dict[str, Any]) -> Params:
    """Return the fields of a JSON object as parameters."""
    return Params({str(name): _text(value) for name, value in row.items()})


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def order_request(context: Context) -> OrderRequest:
    """Read an order; raises VenueError for what is missing or none of the venue's words."""
    params, spec = context.params, spec_of(context)
    kind = required(context, "ordType")
    side = _SIDES.get(required(context, "side"))
    force = _TIMES_IN_FORCE.get(kind)
    if side is None:
        raise parameter_error("side")
    is_swap = spec.kind is Kind.PERPETUAL
    if force is None or (kind == "optimal_limit_ioc" and not is_swap):
        raise parameter_error("ordType")
    _check_modes(context, is_swap=is_swap)
    client_id = params.text("clOrdId") or ""
    if client_id and not _CLIENT_ID.fullmatch(client_id):
        raise parameter_error("clOrdId")
    is_market = kind in _MARKET_TYPES
    price = None if is_market else _number(context, "px")
    order_type = OrderType.MARKET if is_market else OrderType.LIMIT
    # The core's post-only is a type of its own on spot.
    if kind == "post_only" and not is_swap:
        order_type, force = OrderType.LIMIT_MAKER, TimeInForce.GTC
    by_value = is_market and not is_swap and _is_by_value(context, side)
    size, contract = _number(context, "sz"), contract_of(spec)
    return OrderRequest(
        product=Product.PERPETUAL if is_swap else Product.SPOT,
        symbol=spec.symbol,
        side=side,
        type=order_type,
        time_in_force=force,
        quantity=None if by_value else _base_quantity(size, spec),
        price=price,
        quote_quantity=size if by_value else None,
        client_order_id=client_id,
        reduce_only=is_swap and params.flag("reduceOnly"),
        lot=contract.size * contract.lot if is_swap else ZERO,
    )


def _check_modes(context: Context, *, is_swap: bool) -> None:
    mode, side = required(context, "tdMode"), context.params.text("posSide")
    if mode not in (("cross", "isolated") if is_swap else ("cash",)):
        raise parameter_error("tdMode")
    wanted = ("long", "short") if context.account.futures.is_hedge_mode else (None, "net")
    if is_swap and side not in wanted:
        raise parameter_error("posSide")


def _is_by_value(context: Context, side: Side) -> bool:
    # A market buy on spot is by value unless it says otherwise; a sell is by quantity.
    unit = context.params.text("tgtCcy")
    return unit == "quote_ccy" or (unit is None and side is Side.BUY)


def _number(context: Context, name: str) -> Decimal:
    required(context, name)
    try:
        value = context.params.decimal(name)
    except VenueError:
        value = None
    if value is None or value <= 0:
        raise parameter_error(name)
    return value


def _base_quantity(size: Decimal, spec: InstrumentSpec) -> Decimal:
    contract = contract_of(spec)
    if not is_multiple(size, contract.lot):
        raise VenueError(51121, "Order quantity must be a multiple of the lot size.", 200)
    return size * contract.size
