"""Market data of OKX v5: instruments, tickers, books, candles.

Source: OKX API v5 "Market Data" and "Public Data". Sizes of swaps are contracts.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from services.simulator.core.clock import from_millis, millis
from services.simulator.core.money import fixed, plain
from services.simulator.dialects.binance_common import encode
from services.simulator.dialects.context import Context, Endpoint, Handler, Routes
from services.simulator.dialects.okx_common import (
    TYPES,
    Row,
    contract_of,
    done,
    find_spec,
    name_of,
    parameter_error,
    required,
    spec_of,
    specs_of,
)
from services.simulator.market.source import (
    BookLevel,
    Candle,
    InstrumentSpec,
    Kind,
)
from services.simulator.simulation import Simulation

BARS: Final = {
    "1m": timedelta(minutes=1),
    "3m": timedelta(minutes=3),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "30m": timedelta(minutes=30),
    "1H": timedelta(hours=1),
    "2H": timedelta(hours=2),
    "4H": timedelta(hours=4),
    "6Hutc": timedelta(hours=6),
    "12Hutc": timedelta(hours=12),
    "1Dutc": timedelta(days=1),
    "1Wutc": timedelta(weeks=1),
}
_STATES: Final = {"TRADING": "live", "BREAK": "suspend", "SETTLING": "suspend"}
_LEVERAGE_OF_SPOT: Final = "10"
_MOST_LEVELS: Final = 400


def server_time(context: Context) -> object:
    """Answer the venue's clock."""
    return done([{"ts": str(millis(context.simulation.wire.now()))}])


def instrument_row(spec: InstrumentSpec) -> Row:
    """Return one instrument with its limits."""
    contract, is_swap = contract_of(spec), spec.kind is Kind.PERPETUAL
    pair = f"{spec.base_asset}-{spec.quote_asset}"
    least = max(contract.lot, spec.min_quantity / contract.size)
    return {
        "instType": TYPES[spec.kind],
        "instId": name_of(spec),
        "instFamily": pair if is_swap else "",
        "uly": pair if is_swap else "",
        "baseCcy": "" if is_swap else spec.base_asset,
        "quoteCcy": "" if is_swap else spec.quote_asset,
        "settleCcy": (spec.settle_asset or spec.quote_asset) if is_swap else "",
        "ctType": "linear" if is_swap else "",
        "ctVal": plain(contract.size) if is_swap else "",
        "ctMult": "1" if is_swap else "",
        "ctValCcy": spec.base_asset if is_swap else "",
        "lever": str(spec.max_leverage) if is_swap else _margin_leverage(spec),
        "lotSz": plain(contract.lot),
        "minSz": plain(least),
        "tickSz": fixed(spec.tick_size, spec.price_precision),
        "maxLmtSz": contract.to_venue(spec.max_quantity),
        "maxMktSz": contract.to_venue(spec.market_max_quantity),
        "state": _STATES.get(spec.status, "suspend"),
        "listTime": str(millis(spec.onboard_time)),
        "expTime": "" if spec.delivery_time is None else str(millis(spec.delivery_time)),
        "alias": "",
        "category": "1",
        "optType": "",
        "stk": "",
    }


def _margin_leverage(spec: InstrumentSpec) -> str:
    return _LEVERAGE_OF_SPOT if spec.margin_allowed else ""


def instruments(context: Context) -> object:
    """Answer one instrument, or all of a kind from bytes kept while the list does not change."""
    simulation, name = context.simulation, context.params.text("instId")
    if name is not None:
        return done([instrument_row(find_spec(context, name))])
    word = required(context, "instType")
    specs = specs_of(context)
    # Told apart by the table of the market itself, which is another object when it changes.
    kinds = [kind for kind, known in TYPES.items() if known == word]
    key = simulation.market.instruments(kinds[0]) if kinds else None
    return simulation.cached(
        f"okx.{word}", key, lambda: encode(done([instrument_row(spec) for spec in specs]))
    )


def ticker_row(simulation: Simulation, spec: InstrumentSpec) -> Row:
    """Return last price, book top and the day's statistics."""
    market, now, scale = simulation.market, simulation.market.now(), spec.price_precision
    day = market.source.day_ticker(spec.kind, spec.symbol, now)
    bid, ask = market.liquidity.best(spec.kind, spec.symbol, now)
    contract, is_swap = contract_of(spec), spec.kind is Kind.PERPETUAL
    return {
        "instType": TYPES[spec.kind],
        "instId": name_of(spec),
        "last": fixed(day.last, scale),
        "lastSz": "0",
        "bidPx": fixed(bid.price, scale) if bid else "",
        "bidSz": contract.to_venue(bid.quantity) if bid else "0",
        "askPx": fixed(ask.price, scale) if ask else "",
        "askSz": contract.to_venue(ask.quantity) if ask else "0",
        "open24h": fixed(day.open, scale),
        "high24h": fixed(day.high, scale),
        "low24h": fixed(day.low, scale),
        "vol24h": contract.to_venue(day.volume),
        # Base of a swap, quote of spot.
        "volCcy24h": plain(day.volume if is_swap else day.quote_volume),
        "sodUtc0": fixed(day.open, scale),
        "sodUtc8": fixed(day.open, scale),
        "ts": str(millis(now)),
    }


def ticker(context: Context) -> object:
    """Answer the ticker of one instrument."""
    return done([ticker_row(context.simulation, spec_of(context))])


def all_of(kind_name: str, row: Callable[[Simulation, InstrumentSpec], Row]) -> Handler:
    """Answer the rows of all instruments of a kind that trade; of one where it is named."""

    def answer(context: Context) -> object:
        simulation, name = context.simulation, context.params.text("instId")
        if name not in (None, "ANY"):
            return done([row(simulation, spec_of(context))])
        word = context.params.text("instType") or "SWAP"
        return simulation.cached(
            f"okx.{kind_name}.{word}",
            simulation.market_second(),
            lambda: encode(done([row(simulation, spec) for spec in _trading(simulation, word)])),
        )

    return answer


def _trading(simulation: Simulation, word: str) -> list[InstrumentSpec]:
    kinds = [kind for kind, known in TYPES.items() if known == word]
    return [
        spec
        for kind in kinds
        for spec in simulation.market.instruments(kind).values()
        if spec.status == "TRADING"
    ]


def levels(rows: tuple[BookLevel, ...], spec: InstrumentSpec) -> list[list[str]]:
    """Return one side of a book: price, size, a field that is always zero, number of orders."""
    contract, scale = contract_of(spec), spec.price_precision
    return [[fixed(r.price, scale), contract.to_venue(r.quantity), "0", "1"] for r in rows]


def book_row(simulation: Simulation, spec: InstrumentSpec, depth: int) -> Row:
    """Return the first levels of a book."""
    market = simulation.market
    book = market.liquidity.book(spec.kind, spec.symbol, market.now(), depth)
    return {
        "asks": levels(book.asks, spec),
        "bids": levels(book.bids, spec),
        "ts": str(millis(market.now())),
        "seqId": simulation.next_update_id(),
    }


def books(context: Context) -> object:
    """Answer a book snapshot of `sz` levels, one where it is not sent."""
    depth = max(1, min(context.params.integer("sz") or 1, _MOST_LEVELS))
    return done([book_row(context.simulation, spec_of(context), depth)])


def candle_row(row: Candle, spec: InstrumentSpec, *, final: bool) -> list[str]:
    """Return one candle: times, prices, volume in contracts, base and quote, and if it is over."""
    prices = (plain(value) for value in (row.open, row.high, row.low, row.close))
    volumes = (contract_of(spec).to_venue(row.volume), plain(row.volume), plain(row.quote_volume))
    if spec.kind is Kind.SPOT:
        volumes = (plain(row.volume), plain(row.quote_volume), plain(row.quote_volume))
    return [str(millis(row.open_time)), *prices, *volumes, "1" if final else "0"]


def candles(context: Context) -> object:
    """Answer candles newest first: those older than `after` and newer than `before`."""
    spec, params, market = spec_of(context), context.params, context.simulation.market
    bar = BARS.get(params.text("bar") or "1m")
    if bar is None:
        raise parameter_error("bar")
    after, before = params.integer("after"), params.integer("before")
    rows = market.source.candles(
        spec.kind,
        spec.symbol,
        bar,
        None if before is None else from_millis(before + 1),
        None if after is None else from_millis(after - 1),
        params.limit(100, 300),
        market.now(),
    )
    now = market.now()
    return done([candle_row(row, spec, final=row.close_time < now) for row in reversed(rows)])


def public(handler: Handler, operation: str, limit: int = 20) -> Endpoint:
    """Return a public endpoint; `limit` is the venue's: requests in two seconds."""
    return Endpoint(handler, operation, limit)


# The weight is the venue's limit: requests in two seconds.
ROUTES: Routes = {
    ("GET", "/api/v5/public/time"): public(server_time, "get_time", 10),
    ("GET", "/api/v5/public/instruments"): public(instruments, "get_instruments"),
    ("GET", "/api/v5/market/ticker"): public(ticker, "get_tickers"),
    ("GET", "/api/v5/market/tickers"): public(all_of("tickers", ticker_row), "get_tickers"),
    ("GET", "/api/v5/market/books"): public(books, "get_order_book", 40),
    ("GET", "/api/v5/market/candles"): public(candles, "get_klines", 40),
    ("GET", "/api/v5/market/history-candles"): public(candles, "get_klines"),
}
