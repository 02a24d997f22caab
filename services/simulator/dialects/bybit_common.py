"""What all of Bybit V5 shares: categories, ids, envelope, refusals in the venue's own codes.

The core refuses with Binance's codes; here they become Bybit's, which come with HTTP 200. Sources:
Bybit V5 "Integration Guidance", "Error Codes". A unified account's two wallets of the core (spot
and futures) are shown as one sum; an order still pays out of its own.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from services.simulator.core.clock import millis
from services.simulator.core.errors import VenueError
from services.simulator.core.orders import Product
from services.simulator.dialects.context import Context
from services.simulator.market.source import InstrumentSpec, Kind

VENUES: Final = {
    Product.SPOT: "bybit-spot",
    Product.MARGIN: "bybit-spot",
    Product.PERPETUAL: "bybit-linear",
}
CATEGORIES: Final = {
    Product.SPOT: "spot",
    Product.MARGIN: "spot",
    Product.PERPETUAL: "linear",
}
_PRODUCTS: Final = {"spot": Product.SPOT, "linear": Product.PERPETUAL}
# Ids of perpetuals are UUIDs, which nobody may take for numbers; the last group counts.
_UUID: Final = "{kind}-5b1e-4c3a-9d2f-{number:012x}"
_UUID_PATTERN: Final = re.compile(r"[0-9a-f]{8}-5b1e-4c3a-9d2f-([0-9a-f]{12})", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
# Core code -> (code of linear, code of spot).
_CODES: Final = {
    -1007: (10000, 170007),
    -1013: (10001, 170136),
    -1021: (10002, 10002),
    -1022: (10004, 10004),
    -1111: (10001, 170137),
    -1121: (10001, 170121),
    -2010: (110007, 170131),
    -2011: (110001, 170213),
    -2013: (110001, 170213),
    -2014: (10003, 10003),
    -2015: (10003, 10003),
    -2019: (110007, 170131),
    -2022: (110017, 170130),
    -3006: (170033, 170033),
    -4016: (110003, 170193),
    -4024: (110003, 170194),
    -4108: (110074, 170151),
    -4116: (110072, 170141),
    -4164: (110094, 170140),
}
_SPOT_MESSAGES: Final = {
    "Duplicate order sent.": (170141, "Duplicate clientOrderId."),
    "Market is closed.": (170151, "The trading pair is not open yet."),
    "Filter failure: NOTIONAL": (170140, "Order value exceeded lower limit."),
    "Filter failure: PRICE_FILTER": (170134, "Order price has too many decimals."),
    "Filter failure: PERCENT_PRICE_BY_SIDE": (170193, "Order price is out of the range."),
    "Filter failure: MARKET_LOT_SIZE": (170135, "Order quantity exceeded upper limit."),
}
# Refusals of the core that Bybit tells only after the acknowledgement, by cancelling the order.
CANCEL_REASONS: Final = {
    -5021: "EC_NoImmediateQtyToFill",
    -5022: "EC_PostOnlyWillTakeLiquidity",
}
POST_ONLY_WORDS: Final = "Order would immediately match and take."


def product_of(context: Context) -> Product:
    """Return the product of the request's category; raises VenueError 10001."""
    product = _PRODUCTS.get(context.params.text("category") or "")
    if product is None:
        raise VenueError(10001, "params error: category invalid", 200)
    return product


def spec_of(context: Context, product: Product) -> InstrumentSpec:
    """Return the instrument asked for; raises VenueError of the category."""
    symbol = context.params.text("symbol")
    if symbol is None:
        raise VenueError(10001, "params error: symbol invalid", 200)
    return context.simulation.market.spec(product.kind, symbol)


def order_id_text(product: Product, number: int) -> str:
    """Return an order id as the venue writes it: digits on spot, a UUID on perpetuals."""
    if product.kind is Kind.SPOT:
        return str(number)
    return _UUID.format(kind="c0ffee00", number=number)


def trade_id_text(product: Product, number: int) -> str:
    """Return an execution's id as the venue writes it."""
    if product.kind is Kind.SPOT:
        return f"21{number:017d}"
    return _UUID.format(kind="fee1dead", number=number)


def order_number(text: str | None) -> int | None:
    """Return the core's number of an order id, zero for one that no order has."""
    if text is None:
        return None
    found = _UUID_PATTERN.fullmatch(text)
    if found:
        return int(found[1], 16)
    return int(text) if _DIGITS.fullmatch(text) else 0


def envelope(now: datetime, result: object) -> dict[str, object]:
    """Return a success as every V5 answer looks."""
    return {
        "retCode": 0,
        "retMsg": "OK",
        "result": result,
        "retExtInfo": {},
        "time": millis(now),
    }


def refusal(now: datetime, code: int, message: str) -> dict[str, object]:
    """Return a refusal as every V5 answer looks."""
    return {**envelope(now, {}), "retCode": code, "retMsg": message}


def translate(error: VenueError, category: str | None) -> VenueError:
    """Return a refusal of the core in Bybit's words; one that is Bybit's already stays."""
    is_spot = category == "spot"
    if is_spot and error.message in _SPOT_MESSAGES:
        return VenueError(*_SPOT_MESSAGES[error.message], 200)
    codes = _CODES.get(error.code)
    if codes is not None:
        return VenueError(codes[is_spot], error.message, 200)
    if error.code < 0:
        return VenueError(10001, f"params error: {error.message}", 200)
    return error


def minutes(interval: timedelta) -> int:
    """Return whole minutes: the unit of funding intervals in the instruments list."""
    return interval // timedelta(minutes=1)
