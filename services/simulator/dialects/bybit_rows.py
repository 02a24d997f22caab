"""Bybit's rows of orders and executions, the same in answers and on the private stream."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from services.simulator.core.accounts import Account
from services.simulator.core.clock import millis
from services.simulator.core.exchange import Exchange
from services.simulator.core.money import ZERO, down8, fixed, plain
from services.simulator.core.orders import (
    Fill,
    Order,
    OrderRequest,
    OrderStatus,
    OrderType,
    Product,
    Side,
    TimeInForce,
)
from services.simulator.core.positions import Position, initial_margin
from services.simulator.dialects.bybit_common import CATEGORIES, order_id_text, trade_id_text
from services.simulator.market.source import InstrumentSpec, Kind

SIDES: Final = {Side.BUY: "Buy", Side.SELL: "Sell"}
_LIQUIDATION: Final = "autoclose-"
_DELEVERAGING: Final = "adl_autoclose"


def order_row(order: Order, spec: InstrumentSpec) -> dict[str, object]:
    """Return an order as queries and the stream show it."""
    request = order.request
    places, scale = spec.quantity_precision, spec.price_precision
    fees: dict[str, Decimal] = {}
    for fill in order.fills:
        fees[fill.fee_asset] = fees.get(fill.fee_asset, ZERO) + fill.fee
    is_open = order.status.is_open
    price = fixed(request.price, scale) if request.price else "0"
    return {
        "orderId": order_id_text(request.product, order.order_id),
        "orderLinkId": _link_id(request),
        "blockTradeId": "",
        "symbol": request.symbol,
        "price": price,
        "qty": fixed(order.quantity, places),
        "side": SIDES[request.side],
        "isLeverage": "1" if request.product is Product.MARGIN else "",
        "positionIdx": 0,
        "orderStatus": _status(order),
        "createType": create_type(request),
        "cancelType": "CancelByUser" if order.status is OrderStatus.CANCELED else "UNKNOWN",
        "rejectReason": order.close_reason or "EC_NoError",
        "avgPrice": plain(order.average_price.quantize(Decimal("1e-12"))) if order.executed else "",
        "leavesQty": fixed(order.remaining if is_open else ZERO, places),
        "leavesValue": plain(order.remaining * (request.price or ZERO) if is_open else ZERO),
        "cumExecQty": fixed(order.executed, places),
        "cumExecValue": plain(order.quote),
        "cumExecFee": plain(sum(fees.values(), ZERO)),
        "cumFeeDetail": {asset: plain(fee) for asset, fee in fees.items()},
        "timeInForce": _time_in_force(request),
        "orderType": _type(request),
        "stopOrderType": "",
        "marketUnit": _market_unit(request),
        "triggerPrice": "",
        "reduceOnly": request.reduce_only,
        "closeOnTrigger": False,
        "smpType": "None",
        "smpGroup": 0,
        "smpOrderId": "",
        "createdTime": str(millis(order.create_time)),
        "updatedTime": str(millis(order.update_time)),
    }


def fill_row(fill: Fill, order: Order, spec: InstrumentSpec) -> dict[str, object]:
    """Return an execution; `execFee` is above zero when paid."""
    request = fill.request
    places, scale = spec.quantity_precision, spec.price_precision
    through = [one for one in order.fills if one.trade_id <= fill.trade_id]
    leaves = order.quantity - sum((one.quantity for one in through), ZERO)
    rate = fill.fee / (fill.quote if fill.fee_asset == spec.quote_asset else fill.quantity)
    return {
        "category": CATEGORIES[request.product],
        "symbol": request.symbol,
        "orderId": order_id_text(request.product, fill.order_id),
        "orderLinkId": _link_id(request),
        "side": SIDES[request.side],
        "orderPrice": fixed(request.price, scale) if request.price else "0",
        "orderQty": fixed(order.quantity, places),
        "orderType": _type(request),
        "leavesQty": fixed(leaves, places),
        "execId": trade_id_text(request.product, fill.trade_id),
        "execPrice": fixed(fill.price, scale),
        "execQty": fixed(fill.quantity, places),
        "execValue": plain(fill.quote),
        "execFee": plain(fill.fee),
        "feeCurrency": fill.fee_asset,
        "feeRate": plain(rate.quantize(Decimal("1e-8"))),
        "execType": _execution_type(request),
        "execTime": str(millis(fill.time)),
        "execPnl": plain(down8(fill.realized_pnl)),
        "isMaker": fill.is_maker,
        "isLeverage": "1" if request.product is Product.MARGIN else "0",
        "marketUnit": _market_unit(request),
        "createType": create_type(request),
        "stopOrderType": "",
        "closedSize": "",
        "markPrice": "",
        "seq": fill.trade_id,
    }


def position_row(exchange: Exchange, account: Account, position: Position) -> dict[str, object]:
    """Return a position as the list and the stream show it; the side of a flat one is empty."""
    spec = exchange.market.spec(Kind.PERPETUAL, position.symbol)
    mark = exchange.market.mark(position.symbol)
    leverage = account.futures.leverage_of(spec.symbol, spec.max_leverage)
    notional = position.notional(mark)
    maintenance = abs(notional) * spec.maintenance_margin_ratio
    liquidation = exchange.perpetual.liquidation_price(account, position)
    side = "Buy" if position.quantity > 0 else "Sell" if position.quantity < 0 else ""
    entry = plain(position.entry_price.quantize(Decimal("1e-12")))
    return {
        "category": "linear",
        "positionIdx": 0,
        "riskId": 1,
        "riskLimitValue": "100000000",
        "symbol": position.symbol,
        "side": side,
        "size": fixed(abs(position.quantity), spec.quantity_precision),
        "avgPrice": entry,
        "entryPrice": entry,
        "positionValue": plain(down8(abs(position.quantity) * position.entry_price)),
        "tradeMode": 1 if spec.symbol in account.futures.isolated else 0,
        "positionStatus": "Normal",
        "autoAddMargin": 0,
        "adlRankIndicator": 2 if position.quantity else 0,
        "leverage": str(leverage),
        "positionBalance": plain(down8(initial_margin(notional, leverage))),
        "markPrice": fixed(mark, spec.price_precision),
        "liqPrice": fixed(liquidation, spec.price_precision) if liquidation else "",
        "bustPrice": "",
        "positionMM": plain(down8(maintenance)),
        "positionIM": plain(down8(initial_margin(notional, leverage))),
        "tpslMode": "Full",
        "unrealisedPnl": plain(down8(position.unrealized(mark))),
        "curRealisedPnl": plain(down8(position.realized)),
        "cumRealisedPnl": plain(down8(position.realized)),
        "isReduceOnly": False,
        "seq": millis(position.update_time),
        "createdTime": str(millis(position.update_time)),
        "updatedTime": str(millis(position.update_time)),
    }


def create_type(request: OrderRequest) -> str:
    """Return who placed the order; the core names the venue's own orders by their client id."""
    if request.client_order_id.startswith(_LIQUIDATION):
        return "CreateByLiq"
    if request.client_order_id == _DELEVERAGING:
        return "CreateByAdl_PassThrough"
    return "CreateByUser"


def _link_id(request: OrderRequest) -> str:
    # The venue's own orders, and those placed without an id, have none here.
    if create_type(request) != "CreateByUser" or request.client_order_id.startswith("web_"):
        return ""
    return request.client_order_id


def _status(order: Order) -> str:
    if order.status is OrderStatus.NEW:
        return "New"
    if order.status is OrderStatus.PARTIALLY_FILLED:
        return "PartiallyFilled"
    if order.status is OrderStatus.FILLED:
        return "Filled"
    # Spot has a word of its own for an order that ended with a part executed.
    if order.executed and order.request.product is not Product.PERPETUAL:
        return "PartiallyFilledCanceled"
    return "Cancelled"


def _market_unit(request: OrderRequest) -> str:
    if request.type is not OrderType.MARKET or request.product is Product.PERPETUAL:
        return ""
    return "quoteCoin" if request.quantity is None else "baseCoin"


def _type(request: OrderRequest) -> str:
    return "Market" if request.type is OrderType.MARKET else "Limit"


def _time_in_force(request: OrderRequest) -> str:
    if request.type is OrderType.MARKET:
        return "IOC"
    if request.is_post_only:
        return "PostOnly"
    return "GTC" if request.time_in_force is TimeInForce.GTX else request.time_in_force.value


def _execution_type(request: OrderRequest) -> str:
    return {"CreateByLiq": "BustTrade", "CreateByAdl_PassThrough": "AdlTrade"}.get(
        create_type(request), "Trade"
    )
