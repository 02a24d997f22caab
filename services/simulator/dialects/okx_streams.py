"""OKX's public channels: tickers, order books, candles, funding, each at its own pace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from services.simulator.dialects.market_streams import MAX_CANDLES, Subscription
from services.simulator.dialects.okx_common import Row, name_of, product_of_name, symbol_of
from services.simulator.dialects.okx_funding import funding_row, interest_row, mark_row
from services.simulator.dialects.okx_market import BARS, book_row, candle_row, ticker_row
from services.simulator.market.source import Candle, InstrumentSpec
from services.simulator.simulation import Simulation

_PACE_SECONDS: Final = 0.1
_DEPTHS: Final = {"books": 200, "books5": 5, "bbo-tbt": 1}
_CANDLE: Final = "candle"


def subscription(simulation: Simulation, argument: Mapping[str, str]) -> Subscription | None:
    """Return the subscription of a channel's argument, None for one the simulator has not."""
    channel, name = argument.get("channel", ""), argument.get("instId", "")
    kind = product_of_name(name).kind
    spec = simulation.market.instruments(kind).get(symbol_of(name))
    if spec is None or name_of(spec) != name:
        return None
    rows: Mapping[str, Callable[[Simulation, InstrumentSpec], Row]] = {
        "tickers": ticker_row,
        "mark-price": mark_row,
        "funding-rate": funding_row,
        "open-interest": interest_row,
    }
    feed = _Feed(simulation, spec, argument)
    key = f"{channel}:{name}"
    if channel in rows:
        read = rows[channel]
        return Subscription(key, _PACE_SECONDS, _Changes(feed, lambda: read(simulation, spec)).poll)
    if channel in _DEPTHS:
        depth = _DEPTHS[channel]
        book = _Changes(feed, lambda: book_row(simulation, spec, depth), channel == "books")
        return Subscription(key, _PACE_SECONDS, book.poll)
    if channel.startswith(_CANDLE) and channel.removeprefix(_CANDLE) in BARS:
        return Subscription(key, 0.25, _Candles(feed, channel.removeprefix(_CANDLE)).poll)
    return None


@dataclass(frozen=True, slots=True)
class _Feed:
    simulation: Simulation
    spec: InstrumentSpec
    argument: Mapping[str, str]

    def message(self, row: object, *, is_book: bool = False) -> dict[str, object]:
        """Return a message; a book is always whole, so that a client replaces what it holds."""
        told: dict[str, object] = {"arg": dict(self.argument)}
        if is_book:
            told["action"] = "snapshot"
        return {**told, "data": [row]}

    def candles(self, bar: str, start: datetime | None, limit: int) -> list[Candle]:
        market, spec = self.simulation.market, self.spec
        rows = market.source.candles(
            spec.kind, spec.symbol, BARS[bar], start, None, limit, market.now()
        )
        return list(rows)


# Not frozen: remembers what it said last.
@dataclass(slots=True)
class _Changes:
    """Says a row again only when more of it differs than its stamp and number."""

    feed: _Feed
    read: Callable[[], Row]
    is_book: bool = False
    last: object = None

    def poll(self) -> list[Any]:
        row = self.read()
        said = {name: value for name, value in row.items() if name not in ("ts", "seqId")}
        if said == self.last:
            return []
        self.last = said
        if self.is_book:
            # -1: this is the first of a run, there is none before it.
            row = {**row, "prevSeqId": -1, "checksum": 0}
        return [self.feed.message(row, is_book=self.is_book)]


# Not frozen: remembers the candle it showed last.
@dataclass(slots=True)
class _Candles:
    feed: _Feed
    bar: str
    shown: datetime | None = None

    def poll(self) -> list[Any]:
        # After a jump of the market's clock many candles have ended at once.
        limit = 1 if self.shown is None else MAX_CANDLES
        *ended, running = self.feed.candles(self.bar, self.shown, limit)
        self.shown = running.open_time
        rows = [candle_row(row, self.feed.spec, final=True) for row in ended]
        rows.append(candle_row(running, self.feed.spec, final=False))
        return [self.feed.message(row) for row in rows]
