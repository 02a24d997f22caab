"""Orders of OKX v5: acknowledged first, told by queries and the stream.

Sources: OKX API v5 "Order Book Trading": Place order, Cancel order, Order details, Order list,
Transaction details.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from services.simulator.core.clock import millis
from services.simulator.core.errors import VenueError
from services.simulator.core.orders import (
    Fill,
    Order,
    Product,
)
from services.simulator.dialects.context import Context, Endpoint, Handler, Routes, Security
from services.simulator.dialects.okx_common import (
    CANCEL_CODES,
    FIRST_ORDER_CODE,
    POST_ONLY_WORDS,
    VENUES,
    Row,
    done,
    in_time,
    kind_of,
    page,
    spec_of,
    symbol_of,
    translate,
)
from services.simulator.dialects.okx_order_request import batch_params, order_request
from services.simulator.dialects.okx_rows import fill_row, order_row
from services.simulator.market.source import Kind

# "Canceled: post-only order would have taken", and "fill-or-kill could not be filled".
_CANCEL_SOURCES: Final = {-5021: "14", -5022: "31"}


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
