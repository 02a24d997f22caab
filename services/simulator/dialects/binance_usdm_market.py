"""Public market data of Binance USD-M futures."""

from __future__ import annotations

from collections.abc import Callable

from services.simulator.core.clock import millis
from services.simulator.core.limits import Family
from services.simulator.core.money import ZERO, fixed, plain, text8
from services.simulator.dialects.binance_common import encode, klines
from services.simulator.dialects.binance_spot_market import rate_limits, server_time
from services.simulator.dialects.context import (
    USDM_VENUE,
    Context,
    Endpoint,
    Handler,
    Routes,
    Weight,
)
from services.simulator.dialects.params import Params
from services.simulator.market.source import BookLevel, InstrumentSpec, Kind

# the venue writes 2100-12-25 as the delivery of a contract that is never delivered
NEVER = 4_133_404_800_000
RATE_LIMITS = (
    ("REQUEST_WEIGHT", "MINUTE", 1, 2400),
    ("ORDERS", "MINUTE", 1, 1200),
    ("ORDERS", "SECOND", 10, 300),
)
ORDER_TYPES = ["LIMIT", "MARKET"]
TIMES_IN_FORCE = ["GTC", "IOC", "FOK", "GTX", "GTD"]


def symbol_row(spec: InstrumentSpec) -> dict[str, object]:
    """Return one symbol of exchangeInfo."""
    return {
        "symbol": spec.symbol,
        "pair": spec.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": NEVER if spec.delivery_time is None else millis(spec.delivery_time),
        "onboardDate": millis(spec.onboard_time),
        "status": spec.status,
        # the venue says itself to ignore these two; the bracket has the real ratios
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": spec.base_asset,
        "quoteAsset": spec.quote_asset,
        "marginAsset": spec.settle_asset or spec.quote_asset,
        "pricePrecision": spec.price_precision,
        "quantityPrecision": spec.quantity_precision,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": _filters(spec),
        "orderTypes": ORDER_TYPES,
        "timeInForce": TIMES_IN_FORCE,
        "permissionSets": ["GRID", "COPY"],
    }


def _filters(spec: InstrumentSpec) -> list[dict[str, object]]:
    lot = {"minQty": plain(spec.min_quantity), "stepSize": plain(spec.lot_size)}
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": plain(spec.tick_size),
            "maxPrice": "1000000",
            "tickSize": fixed(spec.tick_size, spec.price_precision),
        },
        {"filterType": "LOT_SIZE", **lot, "maxQty": plain(spec.max_quantity)},
        {"filterType": "MARKET_LOT_SIZE", **lot, "maxQty": plain(spec.market_max_quantity)},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MIN_NOTIONAL", "notional": plain(spec.min_notional)},
        {
            "filterType": "PERCENT_PRICE",
            # a band of fifteen percent around the mark price; core.filters refuses by the same
            "multiplierUp": "1.1500",
            "multiplierDown": "0.8500",
            "multiplierDecimal": "4",
        },
    ]


def exchange_info(context: Context) -> bytes:
    """Answer exchangeInfo; the long part is kept as bytes while the list does not change."""
    simulation = context.simulation
    specs = simulation.market.instruments(Kind.PERPETUAL)
    rows = simulation.cached(
        "usdm.exchangeInfo", specs, lambda: encode([symbol_row(s) for s in specs.values()])
    )
    assets = sorted({spec.settle_asset or spec.quote_asset for spec in specs.values()})
    head = encode(
        {
            "timezone": "UTC",
            "serverTime": millis(simulation.wire.now()),
            "futuresType": "U_MARGINED",
            "rateLimits": rate_limits(RATE_LIMITS),
            "exchangeFilters": [],
            "assets": [
                {"asset": asset, "marginAvailable": True, "autoAssetExchange": "-10000"}
                for asset in assets
            ],
        }
    )
    # joined as bytes: encoding hundreds of symbols anew takes longer than all the rest
    return head[:-1] + b',"symbols":' + rows + b"}"


def level_texts(rows: tuple[BookLevel, ...], spec: InstrumentSpec) -> list[list[str]]:
    """Return one side of a book as pairs of texts."""
    return [
        [fixed(row.price, spec.price_precision), fixed(row.quantity, spec.quantity_precision)]
        for row in rows
    ]


def depth(context: Context) -> object:
    """Answer a book snapshot and note its prices for the diff stream."""
    simulation = context.simulation
    market = simulation.market
    spec = market.spec(Kind.PERPETUAL, context.params.require("symbol"))
    now = market.now()
    book = market.liquidity.book(Kind.PERPETUAL, spec.symbol, now, context.params.limit(500, 1000))
    served = simulation.served_prices(USDM_VENUE, spec.symbol)
    served.update(row.price for row in (*book.bids, *book.asks))
    return {
        "lastUpdateId": simulation.next_update_id(),
        "E": millis(now),
        "T": millis(now),
        "bids": level_texts(book.bids, spec),
        "asks": level_texts(book.asks, spec),
    }


def ticker_row(context: Context, spec: InstrumentSpec) -> dict[str, object]:
    """Return the 24 hour statistics of one symbol; USD-M has no bid and ask here."""
    market = context.simulation.market
    day = market.source.day_ticker(Kind.PERPETUAL, spec.symbol, market.now())
    places = spec.price_precision
    average = day.quote_volume / day.volume if day.volume else day.last
    return {
        "symbol": spec.symbol,
        "priceChange": fixed(day.price_change, places),
        "priceChangePercent": format(day.price_change_ratio * 100, ".3f"),
        "weightedAvgPrice": fixed(average, places),
        "lastPrice": fixed(day.last, places),
        "lastQty": "0",
        "openPrice": fixed(day.open, places),
        "highPrice": fixed(day.high, places),
        "lowPrice": fixed(day.low, places),
        "volume": fixed(day.volume, spec.quantity_precision),
        "quoteVolume": fixed(day.quote_volume, 2),
        "openTime": millis(day.open_time),
        "closeTime": millis(day.close_time),
        "firstId": 0,
        "lastId": day.trade_count,
        "count": day.trade_count,
    }


def book_ticker_row(context: Context, spec: InstrumentSpec) -> dict[str, object]:
    """Return the best bid and ask; zeros where the book is empty."""
    market = context.simulation.market
    now = market.now()
    best = market.liquidity.best(Kind.PERPETUAL, spec.symbol, now)
    empty = BookLevel(ZERO, ZERO)
    bids, asks = (level_texts((level or empty,), spec)[0] for level in best)
    return {
        "symbol": spec.symbol,
        "bidPrice": bids[0],
        "bidQty": bids[1],
        "askPrice": asks[0],
        "askQty": asks[1],
        "time": millis(now),
        "lastUpdateId": context.simulation.next_update_id(),
    }


def price_row(context: Context, spec: InstrumentSpec) -> dict[str, object]:
    """Return the last price of one symbol."""
    market = context.simulation.market
    now = market.now()
    price = market.source.last_price(Kind.PERPETUAL, spec.symbol, now)
    return {
        "symbol": spec.symbol,
        "price": fixed(price, spec.price_precision),
        "time": millis(now),
    }


def premium_row(context: Context, spec: InstrumentSpec) -> dict[str, object]:
    """Return mark price, index price and funding of one perpetual; times are market time."""
    market = context.simulation.market
    now = market.now()
    state = market.source.funding_state(spec.symbol, now)
    return {
        "symbol": spec.symbol,
        "markPrice": text8(state.mark_price),
        "indexPrice": text8(state.index_price),
        "estimatedSettlePrice": text8(state.index_price),
        "lastFundingRate": text8(state.last_rate),
        "interestRate": text8(state.interest_rate),
        # the venue says zero where no settlement will follow
        "nextFundingTime": 0 if state.next_time is None else millis(state.next_time),
        "time": millis(now),
    }


def _per_symbol(
    row: Callable[[Context, InstrumentSpec], dict[str, object]], cache: str | None = None
) -> Handler:
    def answer(context: Context) -> object:
        simulation = context.simulation
        wanted = context.params.text("symbol")
        if wanted is not None:
            return row(context, simulation.market.spec(Kind.PERPETUAL, wanted))
        specs = simulation.market.instruments(Kind.PERPETUAL)
        if cache is None:
            return [row(context, spec) for spec in specs.values()]
        return simulation.cached(
            cache,
            simulation.market_second(),
            lambda: encode([row(context, spec) for spec in specs.values()]),
        )

    return answer


def open_interest(context: Context) -> object:
    """Answer the open interest of one symbol."""
    market = context.simulation.market
    spec = market.spec(Kind.PERPETUAL, context.params.require("symbol"))
    now = market.now()
    return {
        "symbol": spec.symbol,
        "openInterest": fixed(
            market.source.open_interest(spec.symbol, now), spec.quantity_precision
        ),
        "time": millis(now),
    }


def _usdm(
    handler: Handler, operation: str, weight: Weight = 1, family: Family = Family.USDM
) -> Endpoint:
    return Endpoint(handler, operation, weight, family=family, venue=USDM_VENUE)


def _depth_weight(params: Params) -> int:
    limit = params.integer("limit") or 500
    return 2 if limit <= 50 else 5 if limit <= 100 else 10 if limit <= 500 else 20


def _klines_weight(params: Params) -> int:
    limit = params.integer("limit") or 500
    return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10


def _bulk(single: int, all_symbols: int) -> Weight:
    return lambda params: single if params.text("symbol") else all_symbols


_PRICE = _per_symbol(price_row, "usdm.price")
ROUTES: Routes = {
    ("GET", "/fapi/v1/ping"): _usdm(lambda _: {}, "ping"),
    ("GET", "/fapi/v1/time"): _usdm(server_time, "get_time"),
    ("GET", "/fapi/v1/exchangeInfo"): _usdm(exchange_info, "get_instruments"),
    ("GET", "/fapi/v1/depth"): _usdm(depth, "get_book", _depth_weight),
    ("GET", "/fapi/v1/klines"): _usdm(
        lambda context: klines(context, Kind.PERPETUAL, 1500), "get_candles", _klines_weight
    ),
    ("GET", "/fapi/v1/ticker/24hr"): _usdm(
        _per_symbol(ticker_row, "usdm.ticker24hr"), "get_tickers", _bulk(1, 40)
    ),
    ("GET", "/fapi/v1/ticker/bookTicker"): _usdm(
        _per_symbol(book_ticker_row), "get_book_tickers", _bulk(2, 5)
    ),
    ("GET", "/fapi/v1/ticker/price"): _usdm(_PRICE, "get_prices", _bulk(1, 2)),
    ("GET", "/fapi/v2/ticker/price"): _usdm(_PRICE, "get_prices", _bulk(1, 2)),
    ("GET", "/fapi/v1/premiumIndex"): _usdm(
        _per_symbol(premium_row, "usdm.premiumIndex"), "get_funding_rates", _bulk(1, 10)
    ),
    ("GET", "/fapi/v1/openInterest"): _usdm(open_interest, "get_open_interest"),
    # ccxt loads the coin-margined list along with this one and fails without an answer
    ("GET", "/dapi/v1/exchangeInfo"): _usdm(
        lambda _: {"timezone": "UTC", "rateLimits": [], "exchangeFilters": [], "symbols": []},
        "get_instruments",
    ),
}
