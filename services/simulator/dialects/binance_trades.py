"""Public trades of Binance: what accounts of this venue traded; the market itself leaves none."""

from __future__ import annotations

from typing import Final

from services.simulator.core.clock import millis
from services.simulator.core.limits import Family
from services.simulator.core.money import fixed, text8
from services.simulator.core.orders import Fill, Side
from services.simulator.dialects.context import USDM_VENUE, Context, Endpoint, Routes
from services.simulator.market.source import InstrumentSpec, Kind

DEFAULT_LIMIT: Final = 500
MOST_TRADES: Final = 1000


def aggregate_trades(context: Context) -> object:
    """Answer spot's aggTrades: the latest, each fill for itself."""
    _, fills = _latest(context, Kind.SPOT)
    return [
        {
            "a": fill.trade_id,
            "p": text8(fill.price),
            "q": text8(fill.quantity),
            "f": fill.trade_id,
            "l": fill.trade_id,
            "T": millis(fill.time),
            "m": _is_buyer_maker(fill),
            "M": True,
        }
        for fill in fills
    ]


def recent_trades(context: Context) -> object:
    """Answer USD-M's trades: the latest."""
    spec, fills = _latest(context, Kind.PERPETUAL)
    return [
        {
            "id": fill.trade_id,
            "price": fixed(fill.price, spec.price_precision),
            "qty": fixed(fill.quantity, spec.quantity_precision),
            "quoteQty": fixed(fill.quote, spec.price_precision),
            "time": millis(fill.time),
            "isBuyerMaker": _is_buyer_maker(fill),
        }
        for fill in fills
    ]


def _latest(context: Context, kind: Kind) -> tuple[InstrumentSpec, list[Fill]]:
    market, store = context.simulation.market, context.simulation.exchange.store
    spec = market.spec(kind, context.params.require("symbol"))
    fills = [
        fill
        for order in store
        if order.request.product.kind is kind and order.request.symbol == spec.symbol
        for fill in order.fills
    ]
    fills.sort(key=lambda fill: fill.trade_id)
    return spec, fills[-context.params.limit(DEFAULT_LIMIT, MOST_TRADES) :]


def _is_buyer_maker(fill: Fill) -> bool:
    return fill.is_maker is (fill.request.side is Side.BUY)


ROUTES: Routes = {
    ("GET", "/api/v3/aggTrades"): Endpoint(aggregate_trades, "get_public_trades", 4),
    ("GET", "/fapi/v1/trades"): Endpoint(
        recent_trades, "get_public_trades", 5, family=Family.USDM, venue=USDM_VENUE
    ),
}
