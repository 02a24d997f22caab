"""Market data streams: each subscription is asked at its own pace and answers what is new."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.simulator.core.clock import millis
from services.simulator.core.errors import VenueError
from services.simulator.core.money import ZERO, fixed, plain, text8
from services.simulator.dialects import binance_spot_market, binance_usdm_market
from services.simulator.dialects.binance_common import INTERVALS
from services.simulator.dialects.context import SPOT_VENUE, USDM_VENUE, Context
from services.simulator.dialects.params import Params
from services.simulator.market.source import BookLevel, Candle, InstrumentSpec, Kind
from services.simulator.simulation import Simulation

DEPTH_LEVELS = 100
MAX_CANDLES = 1000
Message = dict[str, object]


# Not frozen: knows when it was last asked and what it last said.
@dataclass(slots=True)
class Subscription:
    """One stream of one connection; `seconds` is its pace on the wire clock."""

    name: str
    seconds: float
    make: Callable[[], list[Any]]
    next_time: float = 0.0

    def poll(self, now: float) -> list[Any]:
        """Return what there is to send at `now`, nothing before the pace allows."""
        if now < self.next_time:
            return []
        self.next_time = now + self.seconds
        return self.make()


def subscription(simulation: Simulation, kind: Kind, name: str) -> Subscription | None:
    """Return the subscription of a stream name, None for one the simulator does not have."""
    feed = Feed(simulation, kind)
    if name.startswith("!"):
        return _bulk(feed, name)
    symbol, _, channel = name.partition("@")
    try:
        spec = simulation.market.spec(kind, symbol.upper())
    except VenueError:
        return None
    base, _, rate = channel.partition("@")
    if base == "bookTicker":
        return Subscription(name, 0.0, _Changes(lambda: feed.book_ticker(spec)).poll)
    if base in {"ticker", "miniTicker"}:
        read = feed.ticker if base == "ticker" else feed.mini_ticker
        return Subscription(name, 1.0, lambda: [read(spec)])
    if base == "markPrice" and kind is Kind.PERPETUAL:
        return Subscription(name, 1.0 if rate == "1s" else 3.0, lambda: [feed.mark_price(spec)])
    if base.startswith("kline_") and base[6:] in INTERVALS:
        return Subscription(name, 0.25, _Klines(feed, spec, base[6:]).poll)
    if base == "depth":
        seconds = 0.1 if rate == "100ms" else 0.25 if kind is Kind.PERPETUAL else 1.0
        # counted from now on, so that a snapshot taken after this joins the first message
        return Subscription(name, seconds, _DepthDiff(feed, spec, simulation.next_update_id()).poll)
    if base.startswith("depth") and base[5:] in {"5", "10", "20"}:
        levels = int(base[5:])
        return Subscription(name, 0.1, lambda: [feed.partial_depth(spec, levels)])
    return None


def _bulk(feed: Feed, name: str) -> Subscription | None:
    is_perpetual = feed.kind is Kind.PERPETUAL
    if name in {"!ticker@arr", "!miniTicker@arr"}:
        read = feed.ticker if name == "!ticker@arr" else feed.mini_ticker
        return Subscription(name, 1.0, lambda: [[read(spec) for spec in feed.specs()]])
    if name.startswith("!markPrice@arr") and is_perpetual:
        pace = 1.0 if name.endswith("@1s") else 3.0
        return Subscription(name, pace, lambda: [[feed.mark_price(spec) for spec in feed.specs()]])
    if name == "!bookTicker" and is_perpetual:
        # the venue slows this one down to 5 s
        return Subscription(name, 5.0, lambda: [feed.book_ticker(s) for s in feed.specs()])
    return None


@dataclass(frozen=True, slots=True)
class Feed:
    """Messages of one kind of instrument at the present market instant."""

    simulation: Simulation
    kind: Kind

    def specs(self) -> list[InstrumentSpec]:
        """Return the symbols that trade."""
        rows = self.simulation.market.instruments(self.kind).values()
        return [spec for spec in rows if spec.status == "TRADING"]

    def now(self) -> int:
        """Return market time in milliseconds."""
        return millis(self.simulation.market.now())

    def _context(self) -> Context:
        return Context(self.simulation, Params({}), None)

    def texts(self, level: BookLevel, spec: InstrumentSpec) -> list[str]:
        """Return one level as the venue writes it."""
        if self.kind is Kind.SPOT:
            return [text8(level.price), text8(level.quantity)]
        return [
            fixed(level.price, spec.price_precision),
            fixed(level.quantity, spec.quantity_precision),
        ]

    def book_ticker(self, spec: InstrumentSpec) -> Message:
        """Return bookTicker."""
        market = self.simulation.market
        best = market.liquidity.best(self.kind, spec.symbol, market.now())
        bid, ask = (self.texts(level or BookLevel(ZERO, ZERO), spec) for level in best)
        row: Message = {
            "u": 0,
            "s": spec.symbol,
            "b": bid[0],
            "B": bid[1],
            "a": ask[0],
            "A": ask[1],
        }
        row["u"] = self.simulation.next_update_id()
        if self.kind is Kind.PERPETUAL:
            row = {"e": "bookTicker", "E": self.now(), "T": self.now(), **row}
        return row

    def ticker(self, spec: InstrumentSpec) -> Message:
        """Return 24hrTicker."""
        if self.kind is Kind.SPOT:
            row = binance_spot_market.ticker_row(self._context(), spec.symbol)
        else:
            row = binance_usdm_market.ticker_row(self._context(), spec)
        message: Message = {
            "e": "24hrTicker",
            "E": self.now(),
            "s": spec.symbol,
            "p": row["priceChange"],
            "P": row["priceChangePercent"],
            "w": row["weightedAvgPrice"],
            "c": row["lastPrice"],
            "Q": row["lastQty"],
            "o": row["openPrice"],
            "h": row["highPrice"],
            "l": row["lowPrice"],
            "v": row["volume"],
            "q": row["quoteVolume"],
            "O": row["openTime"],
            "C": row["closeTime"],
            "F": row["firstId"],
            "L": row["lastId"],
            "n": row["count"],
        }
        if self.kind is Kind.SPOT:
            message |= {"x": row["prevClosePrice"], "b": row["bidPrice"], "B": row["bidQty"]}
            message |= {"a": row["askPrice"], "A": row["askQty"]}
        return message

    def mini_ticker(self, spec: InstrumentSpec) -> Message:
        """Return 24hrMiniTicker."""
        full = self.ticker(spec)
        kept = {name: full[name] for name in ("E", "s", "c", "o", "h", "l", "v", "q")}
        return {"e": "24hrMiniTicker", **kept}

    def mark_price(self, spec: InstrumentSpec) -> Message:
        """Return markPriceUpdate."""
        row = binance_usdm_market.premium_row(self._context(), spec)
        return {
            "e": "markPriceUpdate",
            "E": self.now(),
            "s": spec.symbol,
            "p": row["markPrice"],
            "i": row["indexPrice"],
            "P": row["estimatedSettlePrice"],
            "r": row["lastFundingRate"],
            "T": row["nextFundingTime"],
        }

    def candles(
        self, spec: InstrumentSpec, interval: str, start: datetime | None, limit: int
    ) -> Sequence[Candle]:
        """Return candles up to the running one: from `start` on, or the last `limit`."""
        market = self.simulation.market
        return market.source.candles(
            self.kind, spec.symbol, INTERVALS[interval], start, None, limit, market.now()
        )

    def kline(self, spec: InstrumentSpec, interval: str, row: Candle, *, final: bool) -> Message:
        """Return kline of a candle; `final` when it is over."""
        return {
            "e": "kline",
            "E": self.now(),
            "s": spec.symbol,
            "k": {
                "t": millis(row.open_time),
                "T": millis(row.close_time),
                "s": spec.symbol,
                "i": interval,
                "f": 0,
                "L": row.trade_count,
                "o": plain(row.open),
                "c": plain(row.close),
                "h": plain(row.high),
                "l": plain(row.low),
                "v": plain(row.volume),
                "n": row.trade_count,
                "x": final,
                "q": plain(row.quote_volume),
                "V": plain(row.volume / 2),
                "Q": plain(row.quote_volume / 2),
                "B": "0",
            },
        }

    def partial_depth(self, spec: InstrumentSpec, levels: int) -> Message:
        """Return the first levels of the book."""
        market = self.simulation.market
        book = market.liquidity.book(self.kind, spec.symbol, market.now(), levels)
        bids = [self.texts(row, spec) for row in book.bids]
        asks = [self.texts(row, spec) for row in book.asks]
        update = self.simulation.next_update_id()
        if self.kind is Kind.SPOT:
            return {"lastUpdateId": update, "bids": bids, "asks": asks}
        head = {"e": "depthUpdate", "E": self.now(), "T": self.now(), "s": spec.symbol}
        return {**head, "U": update, "u": update, "pu": update - 1, "b": bids, "a": asks}


# Not frozen: remembers what it said last.
@dataclass(slots=True)
class _Changes:
    """Says a row again only when it differs from the last one said."""

    read: Callable[[], Message]
    last: tuple[object, ...] = ()

    def poll(self) -> list[Any]:
        row = self.read()
        # the update id alone is no news
        said = (row["b"], row["B"], row["a"], row["A"])
        if said == self.last:
            return []
        self.last = said
        return [row]


# Not frozen: remembers the candle it showed last.
@dataclass(slots=True)
class _Klines:
    """The running candle, and each one that ended since the last message, once, as final."""

    feed: Feed
    spec: InstrumentSpec
    interval: str
    shown: datetime | None = None

    def poll(self) -> list[Any]:
        feed, spec, interval = self.feed, self.spec, self.interval
        # After a jump of the market's clock many candles have ended at once.
        limit = 1 if self.shown is None else MAX_CANDLES
        *ended, running = feed.candles(spec, interval, self.shown, limit)
        self.shown = running.open_time
        return [
            *(feed.kline(spec, interval, row, final=True) for row in ended),
            feed.kline(spec, interval, running, final=False),
        ]


# Not frozen: remembers which prices it has shown.
@dataclass(slots=True)
class _DepthDiff:
    """The diff stream: every level shown now, and zero for each that is gone.

    Prices that a REST snapshot has shown meanwhile are cleared too, so that a client that joins
    snapshot and stream never keeps a level that lived only between two messages.
    """

    feed: Feed
    spec: InstrumentSpec
    last_id: int
    sent: frozenset[Decimal] = frozenset()

    def poll(self) -> list[Any]:
        simulation, spec = self.feed.simulation, self.spec
        market = simulation.market
        book = market.liquidity.book(self.feed.kind, spec.symbol, market.now(), DEPTH_LEVELS)
        venue = SPOT_VENUE if self.feed.kind is Kind.SPOT else USDM_VENUE
        shown = frozenset(row.price for row in (*book.bids, *book.asks))
        gone = (self.sent | simulation.served_prices(venue, spec.symbol)) - shown
        self.sent = shown
        zeros = [self.feed.texts(BookLevel(price, ZERO), spec) for price in sorted(gone)]
        bids = [self.feed.texts(row, spec) for row in book.bids]
        asks = [self.feed.texts(row, spec) for row in book.asks]
        # a level that changed sides must leave the side it was on
        bids += [self.feed.texts(BookLevel(row.price, ZERO), spec) for row in book.asks[:5]]
        asks += [self.feed.texts(BookLevel(row.price, ZERO), spec) for row in book.bids[:5]]
        update = simulation.next_update_id()
        message: Message = {
            "e": "depthUpdate",
            "E": self.feed.now(),
            "s": spec.symbol,
            "U": self.last_id + 1,
            "u": update,
            "b": bids + zeros,
            "a": asks + zeros,
        }
        if self.feed.kind is Kind.PERPETUAL:
            message |= {"T": self.feed.now(), "pu": self.last_id}
        self.last_id = update
        return [message]
