"""Orders and trades of Binance USD-M futures."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from services.simulator.core.clock import millis
from services.simulator.core.errors import VenueError
from services.simulator.core.limits import Family
from services.simulator.core.money import ZERO, fixed, plain, text8
from services.simulator.core.orders import Fill, Order, OrderType, Product
from services.simulator.dialects.binance_common import all_orders, order_key, order_request, page
from services.simulator.dialects.context import (
    USDM_VENUE,
    Context,
    Endpoint,
    Handler,
    Routes,
    Security,
    Weight,
)
from services.simulator.dialects.params import Params
from services.simulator.market.source import InstrumentSpec, Kind

_PERPETUAL = Product.PERPETUAL
MAX_BATCH_PLACE = 5
MAX_BATCH_CANCEL = 10


def order_row(order: Order, spec: InstrumentSpec) -> dict[str, object]:
    """Return an order as every USD-M answer shows it."""
    request = order.request
    price = request.price or ZERO
    average = fixed(order.average_price, spec.price_precision + 3)
    return {
        "orderId": order.order_id,
        "symbol": request.symbol,
        "status": order.status.value,
        "clientOrderId": request.client_order_id,
        "price": fixed(price, spec.price_precision) if price else "0.00",
        "avgPrice": average if order.executed else "0.00",
        "origQty": fixed(order.quantity, spec.quantity_precision),
        "executedQty": fixed(order.executed, spec.quantity_precision),
        "cumQty": fixed(order.executed, spec.quantity_precision),
        "cumQuote": plain(order.quote),
        "timeInForce": request.time_in_force.value,
        "type": request.type.value,
        "reduceOnly": request.reduce_only,
        "closePosition": False,
        "side": request.side.value,
        "positionSide": request.position_side.value,
        "stopPrice": "0.00",
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": request.type.value,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "goodTillDate": 0,
        "time": millis(order.create_time),
        "updateTime": millis(order.update_time),
    }


def trade_row(fill: Fill, spec: InstrumentSpec) -> dict[str, object]:
    """Return one fill."""
    request = fill.request
    return {
        "symbol": request.symbol,
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "side": request.side.value,
        "price": fixed(fill.price, spec.price_precision),
        "qty": fixed(fill.quantity, spec.quantity_precision),
        "realizedPnl": text8(fill.realized_pnl),
        "quoteQty": plain(fill.quote),
        "commission": text8(fill.fee),
        "commissionAsset": fill.fee_asset,
        "time": millis(fill.time),
        "positionSide": request.position_side.value,
        "buyer": request.side.sign > 0,
        "maker": fill.is_maker,
    }


def _spec(context: Context, symbol: str) -> InstrumentSpec:
    return context.simulation.market.spec(Kind.PERPETUAL, symbol)


def _place(context: Context, params: Params) -> dict[str, object]:
    request = order_request(params, _PERPETUAL)
    spec = _spec(context, request.symbol)
    if request.type is OrderType.MARKET:
        request = replace(request, price=None)
    order = context.simulation.place(context.account, USDM_VENUE, request)
    row = order_row(order, spec)
    # the answer to a new order has no creation time, queries have
    row.pop("time")
    if (params.text("newOrderRespType") or "ACK") == "ACK":
        # the acknowledgement shows the order before it was matched
        row |= {"status": "NEW", "executedQty": "0", "cumQty": "0", "cumQuote": "0"}
        row["avgPrice"] = "0.00"
    return row


def place(context: Context) -> object:
    """Place one order."""
    return _place(context, context.params)


def batch_params(params: Params) -> list[Params]:
    """Return the orders of a batch; raises VenueError when it is not a list of up to five."""
    try:
        rows: Any = json.loads(params.require("batchOrders"))
    except ValueError:
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise VenueError(-1102, "Mandatory parameter 'batchOrders' was malformed.")
    if not 0 < len(rows) <= MAX_BATCH_PLACE:
        raise VenueError(-4082, "Invalid number of batch orders.")
    return [Params({name: _text(value) for name, value in row.items()}) for row in rows]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def place_batch(context: Context) -> object:
    """Place up to five orders; each has its own row or its own error."""
    rows: list[dict[str, object]] = []
    for params in batch_params(context.params):
        try:
            rows.append(_place(context, params))
        except VenueError as error:
            rows.append({"code": error.code, "msg": error.message})
    return rows


def _cancel(context: Context, order_id: int | None, client_id: str | None) -> dict[str, object]:
    symbol = context.params.require("symbol")
    exchange = context.simulation.exchange
    order = exchange.cancel(context.account, _PERPETUAL, symbol, order_id, client_id)
    return order_row(order, _spec(context, symbol))


def cancel(context: Context) -> object:
    """Cancel one open order."""
    return _cancel(context, *order_key(context.params))


def cancel_batch(context: Context) -> object:
    """Cancel up to ten orders by id or by client id; each has its own row or its own error."""
    params = context.params
    ids = params.text("orderIdList") or params.text("orderidlist")
    clients = params.text("origClientOrderIdList") or params.text("origclientorderidlist")
    try:
        wanted: Any = json.loads(ids or clients or "[]")
    except ValueError:
        wanted = []
    if not isinstance(wanted, list) or not 0 < len(wanted) <= MAX_BATCH_CANCEL:
        raise VenueError(-4082, "Invalid number of batch orders.")
    rows: list[dict[str, object]] = []
    for item in wanted:
        try:
            # ids win over client ids when both lists are sent
            key = (int(item), None) if ids else (None, str(item))
            rows.append(_cancel(context, *key))
        except VenueError as error:
            rows.append({"code": error.code, "msg": error.message})
    return rows


def cancel_all(context: Context) -> object:
    """Cancel every open order of one symbol."""
    symbol = context.params.require("symbol")
    # no open orders is no error on futures; on spot it is -2011
    context.simulation.exchange.cancel_all(context.account, _PERPETUAL, symbol)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def query(context: Context) -> object:
    """Answer one order."""
    exchange = context.simulation.exchange
    exchange.advance()
    symbol = context.params.require("symbol")
    order = exchange.store.find(
        context.account.name, _PERPETUAL, symbol, *order_key(context.params)
    )
    return order_row(order, _spec(context, symbol))


def query_open(context: Context) -> object:
    """Answer one order that must still be open."""
    exchange = context.simulation.exchange
    exchange.advance()
    symbol = context.params.require("symbol")
    try:
        order = exchange.store.find_open(
            context.account.name, _PERPETUAL, symbol, *order_key(context.params)
        )
    except VenueError:
        raise VenueError(-2013, "Order does not exist.") from None
    return order_row(order, _spec(context, symbol))


def open_orders(context: Context) -> object:
    """Answer open orders of one symbol or of all."""
    exchange = context.simulation.exchange
    exchange.advance()
    orders = exchange.store.open_orders(
        context.account.name, _PERPETUAL, context.params.text("symbol")
    )
    return [order_row(order, _spec(context, order.request.symbol)) for order in orders]


def orders(context: Context) -> object:
    """Answer orders of one symbol, closed ones included."""
    context.simulation.exchange.advance()
    spec = _spec(context, context.params.require("symbol"))
    return [order_row(order, spec) for order in all_orders(context, _PERPETUAL)]


def trades(context: Context) -> object:
    """Answer fills of one symbol, of one order where asked."""
    exchange = context.simulation.exchange
    exchange.advance()
    params = context.params
    spec = _spec(context, params.require("symbol"))
    rows = exchange.store.fills(context.account.name, _PERPETUAL, spec.symbol)
    order_id, first = params.integer("orderId"), params.integer("fromId")
    if order_id is not None:
        rows = [fill for fill in rows if fill.order_id == order_id]
    if first is not None:
        rows = [fill for fill in rows if fill.trade_id >= first][: params.limit(500, 1000)]
    kept = page(rows, params, lambda fill: millis(fill.time), 500, 1000)
    return [trade_row(fill, spec) for fill in kept]


def _signed(handler: Handler, operation: str, weight: Weight = 1, orders_: int = 0) -> Endpoint:
    return Endpoint(handler, operation, weight, Security.SIGNED, orders_, Family.USDM, USDM_VENUE)


def _open_weight(params: Params) -> int:
    return 1 if params.text("symbol") else 40


ROUTES: Routes = {
    ("POST", "/fapi/v1/order"): _signed(place, "place_order", 0, 1),
    ("POST", "/fapi/v1/batchOrders"): _signed(place_batch, "place_orders", 5, 5),
    ("DELETE", "/fapi/v1/order"): _signed(cancel, "cancel_order"),
    ("DELETE", "/fapi/v1/batchOrders"): _signed(cancel_batch, "cancel_orders"),
    ("DELETE", "/fapi/v1/allOpenOrders"): _signed(cancel_all, "cancel_all_orders"),
    ("GET", "/fapi/v1/order"): _signed(query, "get_order"),
    ("GET", "/fapi/v1/openOrder"): _signed(query_open, "get_order"),
    ("GET", "/fapi/v1/openOrders"): _signed(open_orders, "get_open_orders", _open_weight),
    ("GET", "/fapi/v1/allOrders"): _signed(orders, "get_orders", 5),
    ("GET", "/fapi/v1/userTrades"): _signed(trades, "get_trades", 5),
}
