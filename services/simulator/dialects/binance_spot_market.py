"""Public market data of Binance spot."""

from __future__ import annotations

import json
from typing import Any

from services.simulator.core.clock import millis
from services.simulator.core.errors import VenueError, unknown_symbol
from services.simulator.core.money import text8
from services.simulator.dialects.binance_common import encode, klines
from services.simulator.dialects.context import SPOT_VENUE, Context, Endpoint, Routes
from services.simulator.dialects.params import Params
from services.simulator.market.source import BookLevel, InstrumentSpec, Kind

RATE_LIMITS = (
    ("REQUEST_WEIGHT", "MINUTE", 1, 6000),
    ("ORDERS", "SECOND", 10, 100),
    ("ORDERS", "DAY", 1, 200_000),
    ("RAW_REQUESTS", "MINUTE", 5, 300_000),
)
ORDER_TYPES = ["LIMIT", "LIMIT_MAKER", "MARKET"]


def rate_limits(rows: tuple[tuple[str, str, int, int], ...]) -> list[dict[str, object]]:
    """Return the limits as exchangeInfo lists them."""
    return [
        {"rateLimitType": type_, "interval": interval, "intervalNum": number, "limit": limit}
        for type_, interval, number, limit in rows
    ]


def symbol_row(spec: InstrumentSpec) -> dict[str, object]:
    """Return one symbol of exchangeInfo."""
    permissions = ["SPOT", "MARGIN"] if spec.margin_allowed else ["SPOT"]
    return {
        "symbol": spec.symbol,
        "status": spec.status,
        "baseAsset": spec.base_asset,
        "baseAssetPrecision": 8,
        "quoteAsset": spec.quote_asset,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ORDER_TYPES,
        "icebergAllowed": False,
        "ocoAllowed": False,
        "otoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": False,
        "amendAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": spec.margin_allowed,
        "filters": _filters(spec),
        "permissions": [],
        "permissionSets": [permissions],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }


def _filters(spec: InstrumentSpec) -> list[dict[str, object]]:
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": text8(spec.tick_size),
            "maxPrice": "1000000.00000000",
            "tickSize": text8(spec.tick_size),
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": text8(spec.min_quantity),
            "maxQty": text8(spec.max_quantity),
            "stepSize": text8(spec.lot_size),
        },
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": "0.00000000",
            "maxQty": text8(spec.market_max_quantity),
            # zero means no step of its own: a market order still keeps to LOT_SIZE
            "stepSize": "0.00000000",
        },
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": "5",
            "bidMultiplierDown": "0.2",
            "askMultiplierUp": "5",
            "askMultiplierDown": "0.2",
            "avgPriceMins": 5,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": text8(spec.min_notional),
            "applyMinToMarket": True,
            "maxNotional": "9000000.00000000",
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
    ]


def exchange_info(context: Context) -> bytes:
    """Answer exchangeInfo; the long part is kept as bytes while the list does not change."""
    simulation = context.simulation
    specs = simulation.market.instruments(Kind.SPOT)
    wanted = wanted_symbols(context.params)
    # the table itself is the key: an id alone could come back with a later table
    if wanted is None:
        rows = simulation.cached(
            "spot.exchangeInfo", specs, lambda: encode([symbol_row(s) for s in specs.values()])
        )
    else:
        rows = encode([symbol_row(simulation.market.spec(Kind.SPOT, name)) for name in wanted])
    head = encode(
        {
            "timezone": "UTC",
            "serverTime": millis(simulation.wire.now()),
            "rateLimits": rate_limits(RATE_LIMITS),
            "exchangeFilters": [],
        }
    )
    return head[:-1] + b',"symbols":' + rows + b"}"


def wanted_symbols(params: Params) -> list[str] | None:
    """Return the symbols a request names, None for all; raises VenueError -1100, -1121."""
    one = params.text("symbol")
    if one is not None:
        return [one]
    many = params.text("symbols")
    if many is None:
        return None
    try:
        names: Any = json.loads(many)
    except ValueError:
        raise VenueError(-1100, "Illegal characters found in parameter 'symbols'.") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise VenueError(-1100, "Illegal characters found in parameter 'symbols'.")
    return names


def levels(rows: tuple[BookLevel, ...]) -> list[list[str]]:
    """Return one side of a book as pairs of texts."""
    return [[text8(row.price), text8(row.quantity)] for row in rows]


def depth(context: Context) -> object:
    """Answer a book snapshot and note its prices for the diff stream."""
    simulation = context.simulation
    market = simulation.market
    symbol = market.spec(Kind.SPOT, context.params.require("symbol")).symbol
    book = market.liquidity.book(Kind.SPOT, symbol, market.now(), context.params.limit(100, 1000))
    served = simulation.served_prices(SPOT_VENUE, symbol)
    served.update(row.price for row in (*book.bids, *book.asks))
    return {
        "lastUpdateId": simulation.next_update_id(),
        "bids": levels(book.bids),
        "asks": levels(book.asks),
    }


def book_ticker_row(context: Context, symbol: str) -> dict[str, object]:
    """Return the best bid and ask; zeros where the book is empty."""
    market = context.simulation.market
    bid, ask = market.liquidity.best(Kind.SPOT, symbol, market.now())
    return {
        "symbol": symbol,
        "bidPrice": text8(bid.price) if bid else "0.00000000",
        "bidQty": text8(bid.quantity) if bid else "0.00000000",
        "askPrice": text8(ask.price) if ask else "0.00000000",
        "askQty": text8(ask.quantity) if ask else "0.00000000",
    }


def ticker_row(context: Context, symbol: str) -> dict[str, object]:
    """Return the 24 hour statistics of one symbol, with best bid and ask as spot has them."""
    market = context.simulation.market
    day = market.source.day_ticker(Kind.SPOT, symbol, market.now())
    average = day.quote_volume / day.volume if day.volume else day.last
    book = book_ticker_row(context, symbol)
    return {
        "symbol": symbol,
        "priceChange": text8(day.price_change),
        "priceChangePercent": format(day.price_change_ratio * 100, ".3f"),
        "weightedAvgPrice": text8(average),
        "prevClosePrice": text8(day.open),
        "lastPrice": text8(day.last),
        "lastQty": "0.00000000",
        "bidPrice": book["bidPrice"],
        "bidQty": book["bidQty"],
        "askPrice": book["askPrice"],
        "askQty": book["askQty"],
        "openPrice": text8(day.open),
        "highPrice": text8(day.high),
        "lowPrice": text8(day.low),
        "volume": text8(day.volume),
        "quoteVolume": text8(day.quote_volume),
        "openTime": millis(day.open_time),
        "closeTime": millis(day.close_time),
        # no public trades are kept, only their number
        "firstId": 0,
        "lastId": day.trade_count,
        "count": day.trade_count,
    }


def price_row(context: Context, symbol: str) -> dict[str, object]:
    """Return the last price of one symbol."""
    market = context.simulation.market
    return {
        "symbol": symbol,
        "price": text8(market.source.last_price(Kind.SPOT, symbol, market.now())),
    }


def ticker_24hr(context: Context) -> object:
    """Answer 24 hour statistics of one, some or all symbols."""
    return _per_symbol(context, ticker_row, "spot.ticker24hr")


def book_ticker(context: Context) -> object:
    """Answer best bids and asks of one, some or all symbols."""
    return _per_symbol(context, book_ticker_row, None)


def ticker_price(context: Context) -> object:
    """Answer last prices of one, some or all symbols."""
    return _per_symbol(context, price_row, "spot.price")


def _per_symbol(context: Context, row: Any, cache: str | None) -> object:
    simulation = context.simulation
    specs = simulation.market.instruments(Kind.SPOT)
    wanted = wanted_symbols(context.params)
    if wanted is None:
        if cache is None:
            return [row(context, symbol) for symbol in specs]
        return simulation.cached(
            cache,
            simulation.market_second(),
            lambda: encode([row(context, symbol) for symbol in specs]),
        )
    # one bad name spoils the whole request, as on the venue
    if not all(symbol in specs for symbol in wanted):
        raise unknown_symbol()
    rows = [row(context, symbol) for symbol in wanted]
    return rows[0] if context.params.text("symbol") is not None else rows


def server_time(context: Context) -> object:
    """Answer the venue's clock: wire time."""
    return {"serverTime": millis(context.simulation.wire.now())}


def _depth_weight(params: Params) -> int:
    limit = params.integer("limit") or 100
    return 5 if limit <= 100 else 25 if limit <= 500 else 50


def _ticker_weight(params: Params) -> int:
    if params.text("symbol"):
        return 2
    many = params.text("symbols")
    return 80 if many is None else 2 if many.count(",") < 20 else 40


def _bulk_weight(params: Params) -> int:
    return 2 if params.text("symbol") else 4


ROUTES: Routes = {
    ("GET", "/api/v3/ping"): Endpoint(lambda _: {}, "ping"),
    ("GET", "/api/v3/time"): Endpoint(server_time, "get_time"),
    ("GET", "/api/v3/exchangeInfo"): Endpoint(exchange_info, "get_instruments", 20),
    ("GET", "/api/v3/depth"): Endpoint(depth, "get_book", _depth_weight),
    ("GET", "/api/v3/klines"): Endpoint(
        lambda context: klines(context, Kind.SPOT, 1000), "get_candles", 2
    ),
    ("GET", "/api/v3/ticker/24hr"): Endpoint(ticker_24hr, "get_tickers", _ticker_weight),
    ("GET", "/api/v3/ticker/bookTicker"): Endpoint(book_ticker, "get_book_tickers", _bulk_weight),
    ("GET", "/api/v3/ticker/price"): Endpoint(ticker_price, "get_prices", _bulk_weight),
}
