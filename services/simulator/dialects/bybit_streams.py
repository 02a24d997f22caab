"""Bybit's public topics: tickers, order books, candles, each at its own pace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.simulator.core.clock import millis
from services.simulator.core.errors import VenueError
from services.simulator.dialects.bybit_market import INTERVALS, book_row, candle_row, ticker_row
from services.simulator.dialects.market_streams import MAX_CANDLES, Subscription
from services.simulator.market.source import Candle, InstrumentSpec, Kind
from services.simulator.simulation import Simulation

DEPTHS = frozenset({"1", "50", "200", "500", "1000"})
_PACE_SECONDS = 0.1
_SERVED_DEPTH = 200


def subscription(simulation: Simulation, kind: Kind, topic: str) -> Subscription | None:
    """Return the subscription of a topic, None for one the simulator does not have."""
    name, _, symbol = topic.rpartition(".")
    try:
        spec = simulation.market.spec(kind, symbol)
    except VenueError:
        return None
    channel, _, detail = name.partition(".")
    feed = _Feed(simulation, spec, topic)
    if channel == "tickers" and not detail:
        return Subscription(topic, _PACE_SECONDS, _Changes(feed, feed.ticker).poll)
    if channel == "orderbook" and detail in DEPTHS:
        depth = min(int(detail), _SERVED_DEPTH)
        return Subscription(topic, _PACE_SECONDS, _Changes(feed, lambda: feed.book(depth)).poll)
    if channel == "kline" and detail in INTERVALS:
        return Subscription(topic, 0.25, _Candles(feed, detail).poll)
    return None


@dataclass(frozen=True, slots=True)
class _Feed:
    simulation: Simulation
    spec: InstrumentSpec
    topic: str

    def message(self, data: object) -> dict[str, object]:
        """Return a snapshot message; a client replaces what it holds by it."""
        now = millis(self.simulation.market.now())
        return {"topic": self.topic, "type": "snapshot", "ts": now, "cts": now, "data": data}

    def ticker(self) -> dict[str, object]:
        return ticker_row(self.simulation, self.spec)

    def book(self, depth: int) -> dict[str, object]:
        return book_row(self.simulation, self.spec, depth)

    def candles(self, interval: str, start: datetime | None, limit: int) -> list[Candle]:
        market = self.simulation.market
        span, kind = INTERVALS[interval], self.spec.kind
        rows = market.source.candles(kind, self.spec.symbol, span, start, None, limit, market.now())
        return list(rows)


# Not frozen: remembers what it said last.
@dataclass(slots=True)
class _Changes:
    """Says a row again only when more of it differs than its update numbers."""

    feed: _Feed
    read: Callable[[], dict[str, object]]
    last: object = None

    def poll(self) -> list[Any]:
        row = self.read()
        said = {name: value for name, value in row.items() if name not in ("u", "seq")}
        if said == self.last:
            return []
        self.last = said
        return [self.feed.message(row)]


# Not frozen: remembers the candle it showed last.
@dataclass(slots=True)
class _Candles:
    feed: _Feed
    interval: str
    shown: datetime | None = None

    def poll(self) -> list[Any]:
        # After a jump of the market's clock many candles have ended at once.
        limit = 1 if self.shown is None else MAX_CANDLES
        *ended, running = self.feed.candles(self.interval, self.shown, limit)
        self.shown = running.open_time
        return [
            *(self._message(row, final=True) for row in ended),
            self._message(running, final=False),
        ]

    def _message(self, row: Candle, *, final: bool) -> dict[str, object]:
        start, first, high, low, last, volume, turnover = candle_row(row)
        data = {
            "start": int(start),
            "end": millis(row.close_time),
            "interval": self.interval,
            "open": first,
            "close": last,
            "high": high,
            "low": low,
            "volume": volume,
            "turnover": turnover,
            "confirm": final,
            "timestamp": millis(self.feed.simulation.market.now()),
        }
        return self.feed.message([data])
