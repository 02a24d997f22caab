"""Market data of Bybit V5: instruments, tickers, books, candles, funding, open interest."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from services.simulator.core.clock import millis
from services.simulator.core.errors import VenueError
from services.simulator.core.money import fixed, plain
from services.simulator.core.orders import Product
from services.simulator.dialects.binance_common import encode
from services.simulator.dialects.bybit_common import CATEGORIES, minutes, product_of, spec_of
from services.simulator.dialects.context import Context, Endpoint, Handler, Routes
from services.simulator.market.source import BookLevel, Candle, InstrumentSpec, Kind
from services.simulator.simulation import Simulation

INTERVALS: Final = {
    "1": timedelta(minutes=1),
    "3": timedelta(minutes=3),
    "5": timedelta(minutes=5),
    "15": timedelta(minutes=15),
    "30": timedelta(minutes=30),
    "60": timedelta(hours=1),
    "120": timedelta(hours=2),
    "240": timedelta(hours=4),
    "360": timedelta(hours=6),
    "720": timedelta(hours=12),
    "D": timedelta(days=1),
    "W": timedelta(weeks=1),
}
_INTEREST_SPANS: Final = {
    "5min": timedelta(minutes=5),
    "15min": timedelta(minutes=15),
    "30min": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
}
_STATUSES: Final = {"TRADING": "Trading", "BREAK": "Closed", "SETTLING": "Closed"}


def server_time(context: Context) -> object:
    """Answer the venue's clock."""
    now = millis(context.simulation.wire.now())
    return {"timeSecond": str(now // 1000), "timeNano": str(now * 1_000_000)}


def instrument_row(simulation: Simulation, spec: InstrumentSpec) -> dict[str, object]:
    """Return one instrument with its filters."""
    row: dict[str, object] = {
        "symbol": spec.symbol,
        "baseCoin": spec.base_asset,
        "quoteCoin": spec.quote_asset,
        "status": _STATUSES.get(spec.status, "Closed"),
    }
    lot = {"minOrderQty": plain(spec.min_quantity), "maxOrderQty": plain(spec.max_quantity)}
    tick = fixed(spec.tick_size, spec.price_precision)
    if spec.kind is Kind.SPOT:
        return {
            **row,
            "innovation": "0",
            "marginTrading": "utaOnly" if spec.margin_allowed else "none",
            "stTag": "0",
            "lotSizeFilter": {
                **lot,
                "basePrecision": plain(spec.lot_size),
                "quotePrecision": "0.00000001",
                "minOrderAmt": plain(spec.min_notional),
                "maxOrderAmt": "4000000",
                "maxLimitOrderQty": plain(spec.max_quantity),
                "maxMarketOrderQty": plain(spec.market_max_quantity),
            },
            "priceFilter": {"tickSize": tick},
        }
    interval = simulation.market.source.funding_state(spec.symbol, simulation.market.now()).interval
    return {
        **row,
        "settleCoin": spec.settle_asset or spec.quote_asset,
        "contractType": "LinearPerpetual",
        "launchTime": str(millis(spec.onboard_time)),
        "deliveryTime": str(millis(spec.delivery_time)) if spec.delivery_time else "0",
        "deliveryFeeRate": "",
        "priceScale": str(spec.price_precision),
        "leverageFilter": {
            "minLeverage": "1",
            "maxLeverage": str(spec.max_leverage),
            "leverageStep": "0.01",
        },
        "priceFilter": {"minPrice": tick, "maxPrice": "1999999.8", "tickSize": tick},
        "lotSizeFilter": {
            **lot,
            "qtyStep": plain(spec.lot_size),
            "maxMktOrderQty": plain(spec.market_max_quantity),
            "minNotionalValue": plain(spec.min_notional),
        },
        "unifiedMarginTrade": True,
        "fundingInterval": minutes(interval),
        "copyTrading": "none",
        "upperFundingRate": plain(spec.funding_cap),
        "lowerFundingRate": plain(-spec.funding_cap),
        "isPreListing": False,
    }


def instruments(context: Context) -> object:
    """Answer one instrument or all of a category, in one page."""
    product, simulation = product_of(context), context.simulation
    if context.params.text("symbol"):
        specs = [spec_of(context, product)]
    else:
        specs = list(simulation.market.instruments(product.kind).values())
    return {
        "category": CATEGORIES[product],
        "list": [instrument_row(simulation, spec) for spec in specs],
        "nextPageCursor": "",
    }


def ticker_row(simulation: Simulation, spec: InstrumentSpec) -> dict[str, object]:
    """Return price, book top, day's statistics and, on a perpetual, funding and open interest."""
    market, now = simulation.market, simulation.market.now()
    day = market.source.day_ticker(spec.kind, spec.symbol, now)
    bid, ask = market.liquidity.best(spec.kind, spec.symbol, now)
    places, scale = spec.quantity_precision, spec.price_precision
    row: dict[str, object] = {
        "symbol": spec.symbol,
        "lastPrice": fixed(day.last, scale),
        "prevPrice24h": fixed(day.open, scale),
        "price24hPcnt": fixed(day.price_change_ratio, 6),
        "highPrice24h": fixed(day.high, scale),
        "lowPrice24h": fixed(day.low, scale),
        "turnover24h": fixed(day.quote_volume, 4),
        "volume24h": fixed(day.volume, places),
        "bid1Price": fixed(bid.price, scale) if bid else "",
        "bid1Size": fixed(bid.quantity, places) if bid else "",
        "ask1Price": fixed(ask.price, scale) if ask else "",
        "ask1Size": fixed(ask.quantity, places) if ask else "",
    }
    if spec.kind is Kind.SPOT:
        return row
    state = market.source.funding_state(spec.symbol, now)
    interest = market.source.open_interest(spec.symbol, now)
    return {
        **row,
        "prevPrice1h": fixed(day.open, scale),
        "markPrice": fixed(state.mark_price, scale),
        "indexPrice": fixed(state.index_price, scale),
        "openInterest": fixed(interest, places),
        "openInterestValue": fixed(interest * state.mark_price, 2),
        "fundingRate": plain(state.last_rate),
        "nextFundingTime": str(millis(state.next_time)) if state.next_time else "",
        "fundingIntervalHour": str(state.interval // timedelta(hours=1)),
        "fundingCap": plain(spec.funding_cap),
        "deliveryTime": "0",
    }


def tickers(context: Context) -> object:
    """Answer one ticker or all of a category."""
    product, simulation = product_of(context), context.simulation
    if context.params.text("symbol"):
        specs = [spec_of(context, product)]
    else:
        rows = simulation.market.instruments(product.kind).values()
        specs = [spec for spec in rows if spec.status == "TRADING"]
    return {
        "category": CATEGORIES[product],
        "list": [ticker_row(simulation, spec) for spec in specs],
    }


def level_texts(rows: tuple[BookLevel, ...], spec: InstrumentSpec) -> list[list[str]]:
    """Return one side of a book as pairs of texts."""
    return [
        [fixed(row.price, spec.price_precision), fixed(row.quantity, spec.quantity_precision)]
        for row in rows
    ]


def book_row(simulation: Simulation, spec: InstrumentSpec, depth: int) -> dict[str, object]:
    """Return the first levels of a book."""
    market = simulation.market
    book = market.liquidity.book(spec.kind, spec.symbol, market.now(), depth)
    update = simulation.next_update_id()
    return {
        "s": spec.symbol,
        "b": level_texts(book.bids, spec),
        "a": level_texts(book.asks, spec),
        "u": update,
        "seq": update,
    }


def order_book(context: Context) -> object:
    """Answer a book snapshot."""
    spec = spec_of(context, product_of(context))
    now = millis(context.simulation.market.now())
    row = book_row(context.simulation, spec, context.params.limit(25, 500))
    return {**row, "ts": now, "cts": now}


def candle_row(row: Candle) -> list[str]:
    """Return one candle as the venue's array of texts."""
    prices = (row.open, row.high, row.low, row.close, row.volume, row.quote_volume)
    return [str(millis(row.open_time)), *(plain(value) for value in prices)]


def klines(context: Context) -> object:
    """Answer candles, newest first."""
    product, params = product_of(context), context.params
    spec, market = spec_of(context, product), context.simulation.market
    interval = INTERVALS.get(params.text("interval") or "")
    if interval is None:
        raise VenueError(10001, "params error: Invalid period!", 200)
    rows = market.source.candles(
        product.kind,
        spec.symbol,
        interval,
        params.time("start"),
        params.time("end"),
        params.limit(200, 1000),
        market.now(),
    )
    return {
        "category": CATEGORIES[product],
        "symbol": spec.symbol,
        "list": [candle_row(row) for row in reversed(rows)],
    }


def funding_history(context: Context) -> object:
    """Answer settled rates of one symbol, newest first; a start needs an end, as on the venue."""
    product, params = product_of(context), context.params
    if product is not Product.PERPETUAL:
        raise VenueError(10001, "params error: category invalid", 200)
    spec, market = spec_of(context, product), context.simulation.market
    start, end = params.time("startTime"), params.time("endTime")
    if start is not None and end is None:
        raise VenueError(10001, "params error: startTime without endTime", 200)
    limit = params.limit(200, 200)
    rows = list(market.source.settlements(spec.symbol, start, end, 100_000, market.now()))
    return {
        "category": "linear",
        "list": [
            {
                "symbol": row.symbol,
                "fundingRate": plain(row.rate),
                "fundingRateTimestamp": str(millis(row.time)),
            }
            # Of a range that holds more than a page the venue gives the newest.
            for row in reversed(rows[-limit:])
        ],
    }


def open_interest(context: Context) -> object:
    """Answer open interest at the ends of the last intervals, newest first."""
    spec, params = spec_of(context, Product.PERPETUAL), context.params
    span = _INTEREST_SPANS.get(params.text("intervalTime") or "")
    if span is None:
        raise VenueError(10001, "params error: intervalTime invalid", 200)
    market = context.simulation.market
    last = _floor(market.now(), span)
    times = [last - span * number for number in range(params.limit(50, 200))]
    return {
        "symbol": spec.symbol,
        "category": "linear",
        "list": [
            {
                "openInterest": fixed(
                    market.source.open_interest(spec.symbol, time), spec.quantity_precision
                ),
                "timestamp": str(millis(time)),
            }
            for time in times
        ],
        "nextPageCursor": "",
    }


def _floor(instant: datetime, span: timedelta) -> datetime:
    return instant - timedelta(milliseconds=millis(instant) % (span // timedelta(milliseconds=1)))


def cached_instruments(context: Context) -> object:
    """Answer the instruments from bytes kept while the list does not change."""
    product, simulation = product_of(context), context.simulation
    if context.params.text("symbol"):
        return instruments(context)
    specs = simulation.market.instruments(product.kind)
    return simulation.cached(
        f"bybit.{CATEGORIES[product]}", specs, lambda: encode(instruments(context))
    )


def _public(handler: Handler, operation: str) -> Endpoint:
    return Endpoint(handler, operation)


ROUTES: Routes = {
    ("GET", "/v5/market/time"): _public(server_time, "get_time"),
    ("GET", "/v5/market/instruments-info"): _public(cached_instruments, "get_instruments"),
    ("GET", "/v5/market/tickers"): _public(tickers, "get_tickers"),
    ("GET", "/v5/market/orderbook"): _public(order_book, "get_order_book"),
    ("GET", "/v5/market/kline"): _public(klines, "get_klines"),
    ("GET", "/v5/market/funding/history"): _public(funding_history, "get_funding_history"),
    ("GET", "/v5/market/open-interest"): _public(open_interest, "get_open_interest"),
}
