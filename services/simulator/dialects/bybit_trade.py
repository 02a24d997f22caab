"""Orders and executions of Bybit V5: an acknowledgement first, the truth by query and stream."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final, TypeVar

from services.simulator.core.clock import millis
from services.simulator.core.errors import VenueError
from services.simulator.core.income import IncomeType
from services.simulator.core.orders import (
    Fill,
    Order,
    OrderRequest,
    OrderType,
    Product,
    Side,
    TimeInForce,
)
from services.simulator.dialects.bybit_common import (
    CANCEL_REASONS,
    CATEGORIES,
    POST_ONLY_WORDS,
    VENUES,
    order_id_text,
    order_number,
    product_of,
    spec_of,
)
from services.simulator.dialects.bybit_rows import fill_row, order_row
from services.simulator.dialects.context import Context, Endpoint, Handler, Routes, Security

_Row = TypeVar("_Row")
_LINK_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,36}", re.ASCII)
_SIDES: Final = {"Buy": Side.BUY, "Sell": Side.SELL}
_MARKET_SPAN: Final = 7 * 86_400_000


def _params_error(words: str) -> VenueError:
    return VenueError(10001, f"params error: {words}", 200)


def order_request(context: Context) -> OrderRequest:
    """Read an order; raises VenueError 10001 for what is missing or not one of the venue's."""
    params, product = context.params, product_of(context)
    side = _SIDES.get(params.text("side") or "")
    kind = params.text("orderType")
    if side is None or kind not in ("Market", "Limit"):
        raise _params_error("side or orderType invalid")
    # Hedge mode's sides: this account is in one-way mode.
    if (params.text("positionIdx") or "0") != "0":
        raise VenueError(10001, "position idx not match position mode", 200)
    link_id = params.text("orderLinkId") or ""
    if link_id and not _LINK_ID.fullmatch(link_id):
        raise _params_error("orderLinkId invalid")
    quantity = params.decimal("qty")
    price = params.decimal("price")
    if quantity is None or quantity <= 0:
        raise _params_error("qty invalid")
    if kind == "Limit" and price is None:
        raise _params_error("price invalid")
    by_value = product is Product.SPOT and kind == "Market" and _is_by_value(context, side)
    if product is Product.SPOT and params.text("isLeverage") == "1":
        raise VenueError(170037, "Cross Margin Trading not yet supported.", 200)
    force, post_only = _time_in_force(params.text("timeInForce"))
    is_perpetual = product is Product.PERPETUAL
    order_type = OrderType.MARKET if kind == "Market" else OrderType.LIMIT
    if post_only and order_type is OrderType.LIMIT and not is_perpetual:
        order_type = OrderType.LIMIT_MAKER
    if post_only:
        force = TimeInForce.GTX if is_perpetual else TimeInForce.GTC
    return OrderRequest(
        product=product,
        symbol=params.require("symbol"),
        side=side,
        type=order_type,
        time_in_force=force,
        quantity=None if by_value else quantity,
        price=None if order_type is OrderType.MARKET else price,
        quote_quantity=quantity if by_value else None,
        client_order_id=link_id,
        reduce_only=is_perpetual and params.flag("reduceOnly"),
    )


def _is_by_value(context: Context, side: Side) -> bool:
    # A market buy on spot is by value unless it says otherwise; a sell is by quantity.
    unit = context.params.text("marketUnit")
    return unit == "quoteCoin" or (unit is None and side is Side.BUY)


def _time_in_force(word: str | None) -> tuple[TimeInForce, bool]:
    if word == "PostOnly":
        return TimeInForce.GTC, True
    try:
        return TimeInForce(word or "GTC"), False
    except ValueError:
        raise _params_error("timeInForce invalid") from None


def create(context: Context) -> object:
    """Take an order and acknowledge it; what became of it the reply does not say."""
    request = order_request(context)
    spec_of(context, request.product)
    try:
        order = context.simulation.place(context.account, VENUES[request.product], request)
    except VenueError as error:
        reason = CANCEL_REASONS.get(error.code)
        if error.message == POST_ONLY_WORDS:
            reason = CANCEL_REASONS[-5022]
        if reason is None:
            raise
        order = context.simulation.exchange.place_cancelled(context.account, request, reason)
    return _acknowledgement(order)


def _acknowledgement(order: Order) -> dict[str, object]:
    row = {"orderId": order_id_text(order.request.product, order.order_id)}
    return {**row, "orderLinkId": order.request.client_order_id}


def _key(context: Context) -> tuple[int | None, str | None]:
    number, link_id = (
        order_number(context.params.text("orderId")),
        context.params.text("orderLinkId"),
    )
    if number is None and link_id is None:
        raise _params_error("orderId or orderLinkId is required")
    return number, link_id


def cancel(context: Context) -> object:
    """Cancel one open order and acknowledge it."""
    product = product_of(context)
    symbol = spec_of(context, product).symbol
    exchange = context.simulation.exchange
    order = exchange.cancel(context.account, product, symbol, *_key(context))
    return _acknowledgement(order)


def cancel_all(context: Context) -> object:
    """Cancel every open order of one symbol; without a symbol, of all."""
    product, exchange = product_of(context), context.simulation.exchange
    wanted = context.params.text("symbol")
    if wanted is None:
        rows = exchange.store.open_orders(context.account.name, product)
        symbols = sorted({order.request.symbol for order in rows})
    else:
        symbols = [spec_of(context, product).symbol]
    gone = [
        order
        for symbol in symbols
        for order in exchange.cancel_all(context.account, product, symbol)
    ]
    return {"list": [_acknowledgement(order) for order in gone], "success": "1"}


def _find(context: Context, product: Product) -> list[Order]:
    """Return the order a query names, none where there is none; unlike Binance that is no error."""
    number, link_id = _key(context)
    account, store = context.account.name, context.simulation.exchange.store
    found = [
        order
        for order in store
        if order.account == account
        and order.request.product is product
        and (order.order_id == number if number is not None else _has_link(order, link_id))
    ]
    # An id may have been used again: the newest order comes first.
    return sorted(found, key=lambda order: -order.order_id)


def _has_link(order: Order, link_id: str | None) -> bool:
    return order.request.client_order_id == link_id


def _selected(context: Context, product: Product, *, is_open: bool) -> list[Order]:
    params, store = context.params, context.simulation.exchange.store
    symbol = params.text("symbol")
    if product is Product.PERPETUAL and not (symbol or params.text("settleCoin")):
        raise _params_error("symbol or settleCoin is required")
    if is_open:
        rows = store.open_orders(context.account.name, product, symbol)
    else:
        rows = [
            order
            for order in store
            if order.account == context.account.name
            and order.request.product is product
            and symbol in (None, order.request.symbol)
            and not order.status.is_open
        ]
    settle = params.text("settleCoin")
    if settle is not None:
        specs = context.simulation.market.instruments(product.kind)
        rows = [order for order in rows if specs[order.request.symbol].settle_asset == settle]
    return sorted(rows, key=lambda order: -order.order_id)


def _orders(context: Context, product: Product, rows: Sequence[Order]) -> object:
    market = context.simulation.market
    kept, cursor = page(context, rows, 20, 50)
    return {
        "list": [
            order_row(order, market.spec(product.kind, order.request.symbol)) for order in kept
        ],
        "nextPageCursor": cursor,
        "category": CATEGORIES[product],
    }


def realtime(context: Context) -> object:
    """Answer open orders; the one asked for by id also when it has closed."""
    context.simulation.exchange.advance()
    product, params = product_of(context), context.params
    if params.text("orderId") or params.text("orderLinkId"):
        return _orders(context, product, _find(context, product))
    is_open = (params.text("openOnly") or "0") == "0"
    return _orders(context, product, _selected(context, product, is_open=is_open))


def history(context: Context) -> object:
    """Answer closed orders, newest first."""
    context.simulation.exchange.advance()
    product, params = product_of(context), context.params
    if params.text("orderId") or params.text("orderLinkId"):
        closed = [order for order in _find(context, product) if not order.status.is_open]
        return _orders(context, product, closed)
    return _orders(context, product, _selected(context, product, is_open=False))


def executions(context: Context) -> object:
    """Answer executions newest first, with the payments of funding where they are asked for."""
    exchange = context.simulation.exchange
    exchange.advance()
    product, params = product_of(context), context.params
    start, end = params.integer("startTime"), params.integer("endTime")
    if start is not None and end is not None and end - start > _MARKET_SPAN:
        raise _params_error("the time range must not exceed 7 days")
    if start is not None and end is None:
        end = start + _MARKET_SPAN
    if params.text("execType") == "Funding":
        rows = _in_time(_funding_rows(context), lambda row: int(str(row["execTime"])), start, end)
    else:
        fills = _in_time(_fills(context, product), lambda fill: millis(fill.time), start, end)
        rows = [_fill_row(context, fill) for fill in fills]
    kept, cursor = page(context, rows, 50, 100)
    return {"list": kept, "nextPageCursor": cursor, "category": CATEGORIES[product]}


def _fills(context: Context, product: Product) -> list[Fill]:
    params = context.params
    symbol, number = params.text("symbol"), order_number(params.text("orderId"))
    link_id = params.text("orderLinkId")
    fills = [
        fill
        for order in context.simulation.exchange.store
        if order.account == context.account.name
        and order.request.product is product
        and symbol in (None, order.request.symbol)
        and number in (None, order.order_id)
        and link_id in (None, order.request.client_order_id)
        for fill in order.fills
    ]
    return sorted(fills, key=lambda fill: -fill.trade_id)


def _fill_row(context: Context, fill: Fill) -> dict[str, object]:
    simulation = context.simulation
    product, symbol = fill.request.product, fill.request.symbol
    order = simulation.exchange.store.find(fill.account, product, symbol, fill.order_id, None)
    return fill_row(fill, order, simulation.market.spec(product.kind, symbol))


def _funding_rows(context: Context) -> list[dict[str, object]]:
    symbol = context.params.text("symbol")
    rows = [
        row
        for row in context.simulation.exchange.income.rows(context.account.name)
        if row.type is IncomeType.FUNDING_FEE and symbol in (None, row.symbol)
    ]
    return [
        {
            "symbol": row.symbol,
            "execType": "Funding",
            # What was paid is above zero, as with every fee of this venue.
            "execFee": format(-row.amount, "f"),
            "feeCurrency": row.asset,
            "execId": f"funding-{row.tran_id}",
            "execTime": str(millis(row.time)),
            "execQty": "0",
            "execPrice": "0",
            "execValue": "0",
            "feeRate": "0",
            "side": "Sell" if row.amount > Decimal(0) else "Buy",
            "orderId": "",
            "orderLinkId": "",
        }
        for row in reversed(rows)
    ]


def _in_time(
    rows: Sequence[_Row], time_of: Callable[[_Row], int], start: int | None, end: int | None
) -> list[_Row]:
    return [
        row
        for row in rows
        if (start is None or time_of(row) >= start) and (end is None or time_of(row) <= end)
    ]


def page(
    context: Context, rows: Sequence[_Row], default: int, maximum: int
) -> tuple[list[_Row], str]:
    """Return a page of rows and the cursor of the next, empty at the end."""
    first = order_number(context.params.text("cursor")) or 0
    size = context.params.limit(default, maximum)
    following = first + size
    return list(rows[first:following]), str(following) if following < len(rows) else ""


def _signed(handler: Handler, operation: str, orders: int = 0) -> Endpoint:
    return Endpoint(handler, operation, 1, Security.SIGNED, orders)


ROUTES: Routes = {
    ("POST", "/v5/order/create"): _signed(create, "place_order", 1),
    ("POST", "/v5/order/cancel"): _signed(cancel, "cancel_order"),
    ("POST", "/v5/order/cancel-all"): _signed(cancel_all, "cancel_all_orders"),
    ("GET", "/v5/order/realtime"): _signed(realtime, "get_order"),
    ("GET", "/v5/order/history"): _signed(history, "get_orders"),
    ("GET", "/v5/execution/list"): _signed(executions, "get_trades"),
}
