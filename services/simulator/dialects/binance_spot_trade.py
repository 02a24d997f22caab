"""Orders, trades and the account of Binance spot, and the shapes margin orders share with them."""

from __future__ import annotations

from services.simulator.core.accounts import Wallet
from services.simulator.core.clock import millis
from services.simulator.core.errors import cancel_refused
from services.simulator.core.money import ZERO, text8
from services.simulator.core.orders import Fill, Order, OrderType, Product
from services.simulator.dialects.binance_common import all_orders, order_key, order_request, page
from services.simulator.dialects.context import (
    SPOT_VENUE,
    Context,
    Endpoint,
    Handler,
    Routes,
    Security,
    Weight,
)
from services.simulator.dialects.params import Params


def order_head(order: Order) -> dict[str, object]:
    """Return the fields that every spot answer about an order has."""
    request = order.request
    return {
        "price": text8(request.price or ZERO),
        "origQty": text8(order.quantity),
        "executedQty": text8(order.executed),
        "origQuoteOrderQty": text8(request.quote_quantity or ZERO),
        "cummulativeQuoteQty": text8(order.quote),
        "status": order.status.value,
        "timeInForce": request.time_in_force.value,
        "type": request.type.value,
        "side": request.side.value,
    }


def placed_row(order: Order, response: str) -> dict[str, object]:
    """Return the answer to a new order: ACK, RESULT or FULL."""
    row: dict[str, object] = {
        "symbol": order.request.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.request.client_order_id,
        "transactTime": millis(order.update_time),
    }
    if response == "ACK":
        return row
    row |= order_head(order)
    row["workingTime"] = millis(order.create_time)
    row["selfTradePreventionMode"] = "EXPIRE_MAKER"
    if response == "FULL":
        row["fills"] = [
            {
                "price": text8(fill.price),
                "qty": text8(fill.quantity),
                "commission": text8(fill.fee),
                "commissionAsset": fill.fee_asset,
                "tradeId": fill.trade_id,
            }
            for fill in order.fills
        ]
    return row


def order_row(order: Order) -> dict[str, object]:
    """Return an order as queries show it."""
    return {
        "symbol": order.request.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.request.client_order_id,
        **order_head(order),
        "stopPrice": "0.00000000",
        "icebergQty": "0.00000000",
        "time": millis(order.create_time),
        "updateTime": millis(order.update_time),
        "isWorking": True,
        "workingTime": millis(order.create_time),
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }


def canceled_row(order: Order) -> dict[str, object]:
    """Return the answer to a cancel."""
    return {
        "symbol": order.request.symbol,
        "origClientOrderId": order.request.client_order_id,
        "orderId": order.order_id,
        "orderListId": -1,
        # the cancel has an id of its own here; the order is found under origClientOrderId
        "clientOrderId": f"cancel{order.order_id}",
        "transactTime": millis(order.update_time),
        **order_head(order),
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }


def trade_row(fill: Fill) -> dict[str, object]:
    """Return one fill."""
    return {
        "symbol": fill.request.symbol,
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "orderListId": -1,
        "price": text8(fill.price),
        "qty": text8(fill.quantity),
        "quoteQty": text8(fill.quote),
        "commission": text8(fill.fee),
        "commissionAsset": fill.fee_asset,
        "time": millis(fill.time),
        "isBuyer": fill.request.side.sign > 0,
        "isMaker": fill.is_maker,
        "isBestMatch": True,
    }


def place_as(context: Context, product: Product) -> dict[str, object]:
    """Place an order of one product and answer as asked."""
    request = order_request(context.params, product)
    order = context.simulation.place(context.account, SPOT_VENUE, request)
    # the venue answers LIMIT and MARKET in full when nothing is asked for
    default = "ACK" if request.type is OrderType.LIMIT_MAKER else "FULL"
    return placed_row(order, context.params.text("newOrderRespType") or default)


def cancel_as(context: Context, product: Product) -> dict[str, object]:
    """Cancel an open order of one product."""
    order_id, client_order_id = order_key(context.params)
    symbol = context.params.require("symbol")
    exchange = context.simulation.exchange
    order = exchange.cancel(context.account, product, symbol, order_id, client_order_id)
    return canceled_row(order)


def cancel_all_as(context: Context, product: Product) -> list[dict[str, object]]:
    """Cancel every open order of one symbol."""
    exchange = context.simulation.exchange
    symbol = context.params.require("symbol")
    orders = exchange.cancel_all(context.account, product, symbol)
    # spot refuses to cancel nothing; futures answers that it is done
    if not orders:
        raise cancel_refused()
    return [canceled_row(order) for order in orders]


def query_as(context: Context, product: Product) -> dict[str, object]:
    """Answer one order."""
    context.simulation.exchange.advance()
    order_id, client_order_id = order_key(context.params)
    order = context.simulation.exchange.store.find(
        context.account.name, product, context.params.require("symbol"), order_id, client_order_id
    )
    return order_row(order)


def open_orders_as(context: Context, product: Product) -> list[dict[str, object]]:
    """Answer open orders of one symbol or of all."""
    exchange = context.simulation.exchange
    exchange.advance()
    orders = exchange.store.open_orders(
        context.account.name, product, context.params.text("symbol")
    )
    return [order_row(order) for order in orders]


def all_orders_as(context: Context, product: Product) -> list[dict[str, object]]:
    """Answer orders of one symbol, closed ones included."""
    context.simulation.exchange.advance()
    return [order_row(order) for order in all_orders(context, product)]


def trades_as(context: Context, product: Product) -> list[dict[str, object]]:
    """Answer fills of one symbol, of one order where asked."""
    exchange = context.simulation.exchange
    exchange.advance()
    params = context.params
    rows = exchange.store.fills(context.account.name, product, params.require("symbol"))
    order_id, first = params.integer("orderId"), params.integer("fromId")
    if order_id is not None:
        rows = [fill for fill in rows if fill.order_id == order_id]
    if first is not None:
        rows = [fill for fill in rows if fill.trade_id >= first][: params.limit(500, 1000)]
    return [trade_row(fill) for fill in page(rows, params, lambda f: millis(f.time), 500, 1000)]


def balance_rows(wallet: Wallet) -> list[dict[str, object]]:
    """Return every balance that is not zero."""
    return [
        {"asset": asset, "free": text8(balance.free), "locked": text8(balance.locked)}
        for asset, balance in sorted(wallet.balances.items())
        # the venue lists zeros too, unless omitZeroBalances; clients must take absence for zero
        if balance.total
    ]


def account(context: Context) -> object:
    """Answer the spot account."""
    simulation = context.simulation
    simulation.exchange.advance()
    fees = simulation.exchange.fees
    return {
        "makerCommission": int(fees.spot_maker * 10_000),
        "takerCommission": int(fees.spot_taker * 10_000),
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {
            "maker": text8(fees.spot_maker),
            "taker": text8(fees.spot_taker),
            "buyer": "0.00000000",
            "seller": "0.00000000",
        },
        "canTrade": True,
        "canWithdraw": context.account.can_withdraw,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": millis(simulation.market.now()),
        "accountType": "SPOT",
        "balances": balance_rows(context.account.spot),
        "permissions": ["SPOT"],
        "uid": 354937868,
    }


def _signed(handler: Handler, operation: str, weight: Weight = 1, orders: int = 0) -> Endpoint:
    return Endpoint(handler, operation, weight, Security.SIGNED, orders)


def _open_weight(params: Params) -> int:
    # asking for all symbols is meant to hurt: eighty of six thousand a minute
    return 6 if params.text("symbol") else 80


def _trades_weight(params: Params) -> int:
    return 5 if params.text("orderId") else 20


_SPOT = Product.SPOT
ROUTES: Routes = {
    ("POST", "/api/v3/order"): _signed(lambda c: place_as(c, _SPOT), "place_order", 1, 1),
    ("DELETE", "/api/v3/order"): _signed(lambda c: cancel_as(c, _SPOT), "cancel_order"),
    ("GET", "/api/v3/order"): _signed(lambda c: query_as(c, _SPOT), "get_order", 4),
    ("DELETE", "/api/v3/openOrders"): _signed(
        lambda c: cancel_all_as(c, _SPOT), "cancel_all_orders"
    ),
    ("GET", "/api/v3/openOrders"): _signed(
        lambda c: open_orders_as(c, _SPOT), "get_open_orders", _open_weight
    ),
    ("GET", "/api/v3/allOrders"): _signed(lambda c: all_orders_as(c, _SPOT), "get_orders", 20),
    ("GET", "/api/v3/myTrades"): _signed(
        lambda c: trades_as(c, _SPOT), "get_trades", _trades_weight
    ),
    ("GET", "/api/v3/account"): _signed(account, "get_account", 20),
}
