"""What the canned venue answers: Binance USD-M rows of the documented form, made once.

Forms: USD-M REST reference (Exchange-Information, New-Order) and user data stream
(Event-Order-Update).
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

PRICE: Final = "100.00"
_FILTERS: Final[list[dict[str, Any]]] = [
    {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"},
    {"filterType": "LOT_SIZE", "minQty": "0.001", "stepSize": "0.001", "maxQty": "10000"},
    {"filterType": "MARKET_LOT_SIZE", "minQty": "0.001", "stepSize": "0.001", "maxQty": "1000"},
    {"filterType": "MAX_NUM_ORDERS", "limit": 200},
    {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
    {"filterType": "MIN_NOTIONAL", "notional": "5"},
    {
        "filterType": "PERCENT_PRICE",
        "multiplierUp": "1.1500",
        "multiplierDown": "0.8500",
        "multiplierDecimal": "4",
    },
    {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
]


def symbol_name(number: int) -> str:
    """Return the symbol of a perpetual by its number; the first is BTCUSDT."""
    return "BTCUSDT" if number == 0 else f"C{number:04d}USDT"


def exchange_info(symbol_count: int) -> bytes:
    """Return the body of exchangeInfo with so many perpetuals."""
    return json.dumps(
        {
            "timezone": "UTC",
            "serverTime": now_millis(),
            "futuresType": "U_MARGINED",
            "rateLimits": [],
            "exchangeFilters": [],
            "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
            "symbols": [_symbol_row(symbol_name(number)) for number in range(symbol_count)],
        }
    ).encode()


def _symbol_row(symbol: str) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "pair": symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": symbol.removesuffix("USDT"),
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": 2,
        "quantityPrecision": 3,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["PoW"],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": _FILTERS,
        "orderTypes": [
            "LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET",
            "TRAILING_STOP_MARKET",
        ],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY"],
    }  # fmt: skip


def order_reply(order: Mapping[str, str], order_id: int) -> bytes:
    """Return the reply to a new order: a limit order rests, a market order is filled."""
    is_filled = order["type"] == "MARKET"
    quantity = order["quantity"]
    return json.dumps(
        {
            "orderId": order_id,
            "symbol": order["symbol"],
            "status": "FILLED" if is_filled else "NEW",
            "clientOrderId": order["newClientOrderId"],
            "price": order.get("price", "0"),
            "avgPrice": PRICE if is_filled else "0.00",
            "origQty": quantity,
            "executedQty": quantity if is_filled else "0",
            "cumQty": quantity if is_filled else "0",
            "cumQuote": _quote(quantity) if is_filled else "0",
            "timeInForce": order.get("timeInForce", "GTC"),
            "type": order["type"],
            "reduceOnly": order.get("reduceOnly") == "true",
            "closePosition": False,
            "side": order["side"],
            "positionSide": "BOTH",
            "stopPrice": "0",
            "workingType": "CONTRACT_PRICE",
            "priceProtect": False,
            "origType": order["type"],
            "priceMatch": "NONE",
            "selfTradePreventionMode": "EXPIRE_MAKER",
            "goodTillDate": 0,
            "updateTime": now_millis(),
        }
    ).encode()


def fill_event(order: Mapping[str, str], order_id: int) -> bytes:
    """Return the user stream's message about the fill of a market order, with its fee."""
    quantity, now = order["quantity"], now_millis()
    return json.dumps(
        {
            "e": "ORDER_TRADE_UPDATE",
            "E": now,
            "T": now,
            "o": {
                "s": order["symbol"], "c": order["newClientOrderId"], "S": order["side"],
                "o": "MARKET", "f": "GTC", "q": quantity, "p": "0", "ap": PRICE, "sp": "0",
                "x": "TRADE", "X": "FILLED", "i": order_id, "l": quantity, "z": quantity,
                "L": PRICE, "n": "0.00050000", "N": "USDT", "T": now, "t": order_id, "b": "0",
                "a": "0", "m": False, "R": order.get("reduceOnly") == "true",
                "wt": "CONTRACT_PRICE", "ot": "MARKET", "ps": "BOTH", "cp": False, "rp": "0",
                "pP": False, "si": 0, "ss": 0, "V": "EXPIRE_MAKER", "pm": "NONE", "gtd": 0,
            },
        }
    ).encode()  # fmt: skip


def kline(start: int) -> bytes:
    """Return one candle that begins at `start` in milliseconds."""
    prices = [PRICE] * 4
    return json.dumps([[start, *prices, "1", start + 59_999, "100", 1, "1", "100", "0"]]).encode()


def now_millis() -> int:
    """Return the present time as the venue writes it."""
    return time.time_ns() // 1_000_000


def _quote(quantity: str) -> str:
    # The canned price is a hundred: moving the point twice is exact.
    whole, _, fraction = quantity.partition(".")
    fraction = fraction.ljust(2, "0")
    return f"{whole}{fraction[:2]}.{fraction[2:] or '0'}".lstrip("0") or "0"
