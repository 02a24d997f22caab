"""OKX's rows of orders, executions and positions, the same in answers and on the private stream."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from services.simulator.core.accounts import Account
from services.simulator.core.clock import millis
from services.simulator.core.exchange import Exchange
from services.simulator.core.money import ZERO, fixed, plain
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
from services.simulator.dialects.okx_common import TYPES, Row, contract_of, name_of
from services.simulator.market.source import InstrumentSpec, Kind

SIDES: Final = {Side.BUY: "buy", Side.SELL: "sell"}
_STATES: Final = {
    OrderStatus.NEW: "live",
    OrderStatus.PARTIALLY_FILLED: "partially_filled",
    OrderStatus.FILLED: "filled",
    OrderStatus.CANCELED: "canceled",
    OrderStatus.EXPIRED: "canceled",
}
_TYPES: Final = {
    TimeInForce.GTC: "limit",
    TimeInForce.IOC: "ioc",
    TimeInForce.FOK: "fok",
    TimeInForce.GTX: "post_only",
}
_LIQUIDATION: Final = "autoclose-"
_DELEVERAGING: Final = "adl_autoclose"
# Of the core's places: an average of many prices has no end.
_AVERAGE_PLACES: Final = Decimal("1e-12")


def order_row(order: Order, spec: InstrumentSpec, fill: Fill | None) -> Row:
    """Return an order as queries and the stream show it, `fill` as its last execution."""
    request, contract = order.request, contract_of(spec)
    average = order.average_price.quantize(_AVERAGE_PLACES)
    assets = {one.fee_asset for one in order.fills}
    paid = -sum((one.fee for one in order.fills), ZERO)
    by_value = request.quantity is None
    size = request.quote_quantity if by_value else order.quantity / contract.size
    return {
        **_head(request, spec),
        "ordId": str(order.order_id),
        "ordType": _order_type(request, spec),
        "state": _STATES[order.status],
        "px": fixed(request.price, spec.price_precision) if request.price else "",
        "sz": plain(size or ZERO),
        "tgtCcy": _target(request),
        "accFillSz": contract.to_venue(order.executed),
        "avgPx": plain(average) if order.executed else "",
        **_last_fill(fill, spec),
        "fee": plain(paid),
        "feeCcy": assets.pop() if len(assets) == 1 else spec.quote_asset,
        "rebate": "0",
        "rebateCcy": spec.quote_asset,
        "pnl": plain(sum((one.realized_pnl for one in order.fills), ZERO)),
        "reduceOnly": str(request.reduce_only).lower(),
        "category": category(request),
        "cancelSource": order.close_reason,
        "source": "",
        "lever": "",
        "ccy": "",
        "tag": "",
        "quickMgnType": "",
        "attachAlgoOrds": [],
        "cTime": str(millis(order.create_time)),
        "uTime": str(millis(order.update_time)),
    }


def _head(request: OrderRequest, spec: InstrumentSpec) -> Row:
    is_swap = spec.kind is Kind.PERPETUAL
    return {
        "instType": TYPES[spec.kind],
        "instId": name_of(spec),
        "clOrdId": _client_id(request),
        "side": SIDES[request.side],
        "posSide": "net" if is_swap else "",
        "tdMode": "cross" if is_swap else "cash",
    }


def _last_fill(fill: Fill | None, spec: InstrumentSpec) -> Row:
    if fill is None:
        empty = ("fillPx", "tradeId", "fillTime", "fillFeeCcy", "execType", "fillPnl")
        return {**dict.fromkeys(empty, ""), "fillSz": "0", "fillFee": "0"}
    return {
        "fillPx": fixed(fill.price, spec.price_precision),
        "fillSz": contract_of(spec).to_venue(fill.quantity),
        "fillTime": str(millis(fill.time)),
        "tradeId": str(fill.trade_id),
        "fillFee": plain(-fill.fee),
        "fillFeeCcy": fill.fee_asset,
        "fillPnl": plain(fill.realized_pnl),
        "execType": "M" if fill.is_maker else "T",
    }


def fill_row(fill: Fill, spec: InstrumentSpec) -> Row:
    """Return an execution; the fee is below zero when it was paid."""
    return {
        **_head(fill.request, spec),
        "ordId": str(fill.order_id),
        "billId": str(fill.trade_id),
        "tradeId": str(fill.trade_id),
        "subType": "1" if fill.request.side is Side.BUY else "2",
        "fillPx": fixed(fill.price, spec.price_precision),
        "fillSz": contract_of(spec).to_venue(fill.quantity),
        "fillPnl": plain(fill.realized_pnl),
        "fee": plain(-fill.fee),
        "feeCcy": fill.fee_asset,
        "execType": "M" if fill.is_maker else "T",
        "tag": "",
        "fillTime": str(millis(fill.time)),
        "ts": str(millis(fill.time)),
    }


def position_row(exchange: Exchange, account: Account, position: Position) -> Row:
    """Return a position in contracts, signed as in net mode."""
    spec = exchange.market.spec(Kind.PERPETUAL, position.symbol)
    mark = exchange.market.mark(position.symbol)
    leverage = account.futures.leverage_of(spec.symbol, spec.max_leverage)
    notional = abs(position.notional(mark))
    maintenance = notional * spec.maintenance_margin_ratio
    liquidation = exchange.perpetual.liquidation_price(account, position)
    profit = position.unrealized(mark)
    margin = initial_margin(notional, leverage)
    is_held = bool(position.quantity)
    stamp = str(millis(position.update_time))
    return {
        "instType": "SWAP",
        "instId": name_of(spec),
        "posId": str(1 + sum(spec.symbol.encode())),
        "posSide": "net",
        "mgnMode": "isolated" if spec.symbol in account.futures.isolated else "cross",
        "pos": contract_of(spec).to_venue(position.quantity),
        "availPos": contract_of(spec).to_venue(abs(position.quantity)),
        "ccy": spec.settle_asset or spec.quote_asset,
        "avgPx": plain(position.entry_price.quantize(_AVERAGE_PLACES)) if is_held else "",
        "markPx": plain(mark),
        "last": plain(mark),
        "upl": plain(profit),
        "uplRatio": plain((profit / margin).quantize(Decimal("1e-8"))) if margin else "0",
        "realizedPnl": plain(position.realized),
        "lever": str(leverage),
        "liqPx": fixed(liquidation, spec.price_precision) if liquidation and is_held else "",
        "imr": plain(margin),
        "mmr": plain(maintenance),
        "margin": "",
        "mgnRatio": "",
        "notionalUsd": plain(notional),
        "adl": "2" if is_held else "",
        "interest": "",
        "tradeId": "",
        "cTime": stamp,
        "uTime": stamp,
    }


def category(request: OrderRequest) -> str:
    """Return who placed the order; the core names the venue's own orders by their client id."""
    if request.client_order_id.startswith(_LIQUIDATION):
        return "full_liquidation"
    return "adl" if request.client_order_id == _DELEVERAGING else "normal"


def _client_id(request: OrderRequest) -> str:
    # The venue's own orders, and those placed without an id, have none here.
    if category(request) != "normal" or request.client_order_id.startswith("web_"):
        return ""
    return request.client_order_id


def _order_type(request: OrderRequest, spec: InstrumentSpec) -> str:
    if request.type is OrderType.MARKET:
        return "market" if spec.kind is Kind.SPOT else "optimal_limit_ioc"
    return "post_only" if request.is_post_only else _TYPES[request.time_in_force]


def _target(request: OrderRequest) -> str:
    if request.type is not OrderType.MARKET or request.product is Product.PERPETUAL:
        return ""
    return "quote_ccy" if request.quantity is None else "base_ccy"
