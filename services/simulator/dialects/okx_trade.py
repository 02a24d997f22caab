"""Orders of OKX v5: acknowledged first, told by queries and the stream.

Sources: OKX API v5 "Order Book Trading": Place order, Cancel order, Order details, Order list,
Transaction details.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from services.simulator.core.clock import millis
from services.simulator.core.errors import VenueError
from services.simulator.core.money import is_multiple
from services.simulator.core.orders import (
    Fill,
    Order,
    OrderRequest,
    OrderType,
    Product,
    Side,
    TimeInForce,
)
from services.simulator.dialects.context import Context, Endpoint, Handler, Routes, Security
from services.simulator.dialects.okx_common import (
    CANCEL_CODES,
    FIRST_ORDER_CODE,
    POST_ONLY_WORDS,
    VENUES,
    Row,
    contract_of,
    done,
    in_time,
    kind_of,
    page,
    parameter_error,
    required,
    spec_of,
    symbol_of,
    translate,
)
from services.simulator.dialects.okx_rows import fill_row, order_row
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
# "Canceled: post-only order would have taken", and "fill-or-kill could not be filled".
_CANCEL_SOURCES: Final = {-5021: "14", -5022: "31"}


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
    size = _number(context, "sz")
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


def _place(context: Context) -> Order:
    request = order_request(context)
    try:
        return context.simulation.place(context.account, VENUES[request.product], request)
    except VenueError as error:
        refused = -5022 if error.message == POST_ONLY_WORDS else error.code
        if refused not in CANCEL_CODES:
            raise
        source = _CANCEL_SOURCES[refused]
        return context.simulation.exchange.place_cancelled(context.account, request, source)


def _one(context: Context, act: Callable[[Context], Order]) -> Row:
    """Return the row of one order: acknowledged, or refused with its own code."""
    named = {"clOrdId": context.params.text("clOrdId") or "", "tag": ""}
    stamp = str(millis(context.simulation.wire.now()))
    try:
        order = act(context)
    except VenueError as error:
        told = translate(error)
        # What is not about the order refuses the whole request.
        if told.code < FIRST_ORDER_CODE:
            raise
        refused = {"ordId": "", "sCode": str(told.code), "sMsg": told.message}
        return {**named, **refused, "ts": stamp}
    named["clOrdId"] = named["clOrdId"] or _sent_id(order)
    return {**named, "ordId": str(order.order_id), "sCode": "0", "sMsg": "", "ts": stamp}


def _sent_id(order: Order) -> str:
    name = order.request.client_order_id
    return "" if name.startswith("web_") else name


def _told(context: Context, rows: list[Row]) -> Row:
    failed = sum(row["sCode"] != "0" for row in rows)
    code, words = "0", ""
    if failed:
        code, words = ("1", "All operations failed") if failed == len(rows) else ("2", "Bulk")
    now = millis(context.simulation.wire.now()) * 1000
    return {"code": code, "data": rows, "msg": words, "inTime": str(now), "outTime": str(now)}


def _single(act: Callable[[Context], Order]) -> Handler:
    return lambda context: _told(context, [_one(context, act)])


def _batch(act: Callable[[Context], Order]) -> Handler:
    def handle(context: Context) -> object:
        rows = [
            _one(Context(context.simulation, params, context.caller), act)
            for params in batch_params(context.params)
        ]
        return _told(context, rows)

    return handle


def _key(context: Context) -> tuple[int | None, str | None]:
    number, client_id = context.params.text("ordId"), context.params.text("clOrdId")
    if number is None and client_id is None:
        raise VenueError(50015, "Either parameter ordId or clOrdId is required", 400)
    # An id that is none of ours is an order that does not exist.
    if number is not None and not (number.isascii() and number.isdigit() and len(number) < 19):
        return 0, None
    return (None, client_id) if number is None else (int(number), None)


def _cancel(context: Context) -> Order:
    spec = spec_of(context)
    product = Product.PERPETUAL if spec.kind is Kind.PERPETUAL else Product.SPOT
    exchange = context.simulation.exchange
    return exchange.cancel(context.account, product, spec.symbol, *_key(context))


def query(context: Context) -> object:
    """Answer one order, live or closed."""
    exchange = context.simulation.exchange
    exchange.advance()
    spec = spec_of(context)
    product = Product.PERPETUAL if spec.kind is Kind.PERPETUAL else Product.SPOT
    order = exchange.store.find(context.account.name, product, spec.symbol, *_key(context))
    return done([_order_row(context, order)])


def _order_row(context: Context, order: Order) -> Row:
    request = order.request
    spec = context.simulation.market.spec(request.product.kind, request.symbol)
    return order_row(order, spec, order.fills[-1] if order.fills else None)


def _selected(context: Context, *, is_open: bool) -> list[Order]:
    exchange = context.simulation.exchange
    exchange.advance()
    name, kind = context.params.text("instId"), kind_of(context)
    symbol = None if name is None else symbol_of(name)
    rows = [
        order
        for order in exchange.store
        if order.account == context.account.name
        and order.status.is_open is is_open
        and symbol in (None, order.request.symbol)
        and (kind is None or order.request.product.kind is kind)
    ]
    return rows[::-1]


def pending(context: Context) -> object:
    """Answer live orders, newest first."""
    rows = page(context, _selected(context, is_open=True), lambda order: order.order_id)
    return done([_order_row(context, order) for order in rows])


def history(context: Context) -> object:
    """Answer orders that have ended, newest first."""
    state, ended = context.params.text("state"), _selected(context, is_open=False)
    rows = in_time(context, ended, lambda order: millis(order.update_time))
    found = [_order_row(context, order) for order in page(context, rows, lambda o: o.order_id)]
    return done([row for row in found if state in (None, row["state"])])


def fills(context: Context) -> object:
    """Answer executions, newest first."""
    exchange, params = context.simulation.exchange, context.params
    exchange.advance()
    name, kind, number = params.text("instId"), kind_of(context), params.integer("ordId")
    symbol = None if name is None else symbol_of(name)
    found = [
        fill
        for order in exchange.store
        if order.account == context.account.name
        and symbol in (None, order.request.symbol)
        and number in (None, order.order_id)
        and (kind is None or order.request.product.kind is kind)
        for fill in order.fills
    ]
    newest = sorted(found, key=lambda fill: -fill.trade_id)
    rows = page(context, in_time(context, newest, lambda f: millis(f.time)), lambda f: f.trade_id)
    return done([_fill_row(context, fill) for fill in rows])


def _fill_row(context: Context, fill: Fill) -> Row:
    request = fill.request
    return fill_row(fill, context.simulation.market.spec(request.product.kind, request.symbol))


def _signed(handler: Handler, operation: str, limit: int = 60, orders: int = 0) -> Endpoint:
    return Endpoint(handler, operation, limit, Security.SIGNED, orders)


# The weight is the venue's limit: requests in two seconds.
ROUTES: Routes = {
    ("POST", "/api/v5/trade/order"): _signed(_single(_place), "place_order", 60, 1),
    ("POST", "/api/v5/trade/batch-orders"): _signed(_batch(_place), "place_order", 300, 1),
    ("POST", "/api/v5/trade/cancel-order"): _signed(_single(_cancel), "cancel_order"),
    ("POST", "/api/v5/trade/cancel-batch-orders"): _signed(
        _batch(_cancel), "cancel_all_orders", 300
    ),
    ("GET", "/api/v5/trade/order"): _signed(query, "get_order"),
    ("GET", "/api/v5/trade/orders-pending"): _signed(pending, "get_open_orders"),
    ("GET", "/api/v5/trade/orders-history"): _signed(history, "get_orders", 40),
    ("GET", "/api/v5/trade/orders-history-archive"): _signed(history, "get_orders", 20),
    ("GET", "/api/v5/trade/fills"): _signed(fills, "get_trades"),
    ("GET", "/api/v5/trade/fills-history"): _signed(fills, "get_trades", 10),
}
