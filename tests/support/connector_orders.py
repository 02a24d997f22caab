"""Builders of instruments and order requests for the connector's unit tests."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from services.connector.instruments import Instrument, InstrumentKind, TradingStatus
from services.connector.order_mapping import to_state
from services.connector.order_request import OrderRequest
from services.connector.order_types import OrderState, OrderType, Side
from services.connector.symbols import split_base
from services.connector.venues.binance_rows import order_row

SPOT_FULL: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "orderId": 28,
    "clientOrderId": "mine",
    "transactTime": 1507725176595,
    "price": "0.00000000",
    "origQty": "10.00000000",
    "executedQty": "3.00000000",
    "cummulativeQuoteQty": "11999.00000000",
    "status": "EXPIRED",
    "timeInForce": "IOC",
    "type": "LIMIT",
    "side": "BUY",
    "fills": [
        {
            "price": "4000.00",
            "qty": "2.00000000",
            "commission": "0.00200000",
            "commissionAsset": "BTC",
            "tradeId": 56,
        },
        {
            "price": "3999.00",
            "qty": "1.00000000",
            "commission": "0.01000000",
            "commissionAsset": "BNB",
            "tradeId": 57,
        },
    ],
}


def instrument(*, base: str = "BTC", perpetual: bool = False, **changes: Any) -> Instrument:
    """Return an instrument with lot 0.001 and tick 0.1 in the venue's own units."""
    coin, multiplier = split_base(base)
    values: dict[str, Any] = {
        "symbol": f"{coin}USDT",
        "exchange_symbol": f"{base}USDT",
        "unified": f"{base}/USDT:USDT" if perpetual else f"{base}/USDT",
        "kind": InstrumentKind.PERPETUAL if perpetual else InstrumentKind.SPOT,
        "base_asset": coin,
        "quote_asset": "USDT",
        "settle_asset": "USDT" if perpetual else None,
        "contract_size": Decimal(1),
        "base_multiplier": multiplier,
        "lot_size": Decimal("0.001") * multiplier,
        "tick_size": Decimal("0.1") / multiplier,
        "min_quantity": Decimal("0.001") * multiplier,
        "max_quantity": Decimal(1000) * multiplier,
        "max_market_quantity": Decimal(100) * multiplier,
        "min_notional": Decimal(5),
        "status": TradingStatus.TRADING,
        "margin_allowed": not perpetual,
        "price_precision": 1,
        "quantity_precision": 3,
        "venue_base_asset": base,
    }
    return Instrument(**{**values, **changes})


def order_request(**changes: Any) -> OrderRequest:
    """Return a market purchase of 0.01 BTC; keywords replace fields."""
    values: dict[str, Any] = {
        "client_order_id": "mine",
        "symbol": "BTCUSDT",
        "side": Side.BUY,
        "type": OrderType.MARKET,
        "time_in_force": None,
        "quantity": Decimal("0.01"),
        "price": None,
        "reduce_only": False,
        "post_only": False,
        "use_margin": False,
        "worst_price": None,
        "slippage_bound_ratio": None,
        "fill_timeout": None,
        "order_class": None,
    }
    return OrderRequest(**{**values, **changes})


def sample_state() -> OrderState:
    """Return a filled purchase of three coins."""
    return to_state(order_row(SPOT_FULL), instrument(), "mine")
