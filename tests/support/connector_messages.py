"""Answers of a connector, complete; a change to None leaves a field out."""

from __future__ import annotations

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from google.type import decimal_pb2

from opensqt.market_maker.v1 import (
    exchange_pb2,
    instrument_pb2,
    resources_pb2,
    types_pb2,
)

UPDATED_MILLIS = 1_772_366_400_125


def number(text: str) -> decimal_pb2.Decimal:
    """Return a wire decimal with any text, sound or not."""
    return decimal_pb2.Decimal(value=text)


def _fields(fields: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    # A text given for a decimal field is its figure.
    merged = {**fields, **changes}
    return {
        name: number(value)
        if name in changes
        and isinstance(fields.get(name), decimal_pb2.Decimal)
        and isinstance(value, str)
        else value
        for name, value in merged.items()
    }


def order(**changes: Any) -> resources_pb2.Order:
    """Return an order of half a coin that filled four tenths and was then cancelled."""
    fields: dict[str, Any] = {
        "client_order_id": "aorder1",
        "symbol": "BTCUSDT",
        "status": types_pb2.ORDER_STATUS_CANCELED,
        "quantity": number("0.5"),
        "executed_qty": number("0.4"),
        "net_quantity": number("0.3996"),
        "avg_price": number("64100.25"),
        "cumulative_quote": number("25640.1"),
        "fees": [resources_pb2.AssetAmount(asset="BTC", amount=number("0.0004"))],
        "update_time": UPDATED_MILLIS,
    }
    return resources_pb2.Order(**_fields(fields, changes))


def symbol_info(**changes: Any) -> resources_pb2.SymbolInfo:
    """Return the rules of a perpetual, complete."""
    fields: dict[str, Any] = {
        "symbol": "BTCUSDT",
        "base_asset": "BTC",
        "quote_asset": "USDT",
        "step_size": number("0.001"),
        "tick_size": number("0.1"),
        "min_quantity": number("0.002"),
        "min_notional": number("5"),
        "max_quantity": number("1000"),
        "max_market_quantity": number("120"),
        "trading_status": instrument_pb2.TRADING_STATUS_TRADING,
        "kind": instrument_pb2.INSTRUMENT_KIND_PERPETUAL,
        "margin_allowed": True,
    }
    return resources_pb2.SymbolInfo(**_fields(fields, changes))


def trading_fee(symbol: str = "BTCUSDT", **changes: Any) -> resources_pb2.TradingFee:
    """Return the fees of a symbol."""
    fields: dict[str, Any] = {
        "symbol": symbol,
        "maker_fee_ratio": number("0.0002"),
        "taker_fee_ratio": number("0.0005"),
    }
    return resources_pb2.TradingFee(**_fields(fields, changes))


def funding_payment(**changes: Any) -> resources_pb2.FundingPayment:
    """Return a funding payment that was paid out by us."""
    fields: dict[str, Any] = {
        "symbol": "BTCUSDT",
        "asset": "USDT",
        "amount": number("-0.75"),
        "settle_time": Timestamp(seconds=1_772_366_400),
        "payment_id": "4711",
    }
    return resources_pb2.FundingPayment(**_fields(fields, changes))


def order_book() -> exchange_pb2.GetOrderBookResponse:
    """Return a book of two bids and one ask."""
    return exchange_pb2.GetOrderBookResponse(
        symbol="BTCUSDT",
        bids=[
            resources_pb2.OrderBookLevel(price=number("99.5"), quantity=number("2")),
            resources_pb2.OrderBookLevel(price=number("99"), quantity=number("3.25")),
        ],
        asks=[resources_pb2.OrderBookLevel(price=number("100.5"), quantity=number("1"))],
    )
