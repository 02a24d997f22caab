"""Recorded candles of one instrument, and the price path that runs through them and beyond."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

from services.simulator.market.instants import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from services.simulator.market.listing import Bar
from services.simulator.market.noise import Waves
from services.simulator.market.recordings import RecordingsError, Table, check_numbers, millis_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PRICES: Final = ("timestamp", "open", "high", "low", "close", "volume")
_BEYOND: Final = (
    (6 * HOUR_MS, 0.0015),
    (HOUR_MS, 0.0008),
    (MINUTE_MS, 0.0001),
    (5 * SECOND_MS, 0.00003),
)
_TREMOR: Final = ((20 * SECOND_MS, 0.00003),)


class RecordedBars:
    """The day and hour candles of one symbol that ended by ``end``, read when asked for.

    Without ``end`` the hour candles set it: the last of a capture is unfinished, so the record
    ends where that one opens; a symbol with day candles only is known to the end of the last.
    """

    def __init__(
        self,
        symbol: str,
        days: Callable[[], Table],
        hours: Callable[[], Table],
        end: Callable[[], int] | None = None,
    ) -> None:
        self._symbol = symbol
        self._read_days = days
        self._read_hours = hours
        self._bound = end

    def bars(self, interval: int) -> Mapping[int, Bar]:
        """Return the candles of a day or an hour by open time; empty for other intervals."""
        return {DAY_MS: self._days, HOUR_MS: self._hours}.get(interval, {})

    @cached_property
    def end(self) -> int:
        """Return where the record ends, in ms; 0 when there is none."""
        if self._bound is not None:
            return self._bound()
        if self._all_hours:
            return max(self._all_hours)
        return max(self._all_days, default=-DAY_MS) + DAY_MS

    @cached_property
    def path_bars(self) -> list[tuple[int, int, Bar]]:
        """Return (open time, width, bar) ascending: days up to the first hour, then hours."""
        first = min(self._hours, default=self.end)
        # A day that overlaps the hours would tell the same time twice.
        days = [(at, DAY_MS, bar) for at, bar in self._days.items() if at + DAY_MS <= first]
        hours = [(at, HOUR_MS, bar) for at, bar in self._hours.items()]
        return sorted(days + hours, key=lambda item: item[0])

    @cached_property
    def _all_days(self) -> dict[int, Bar]:
        return _bars(self._read_days(), self._symbol)

    @cached_property
    def _all_hours(self) -> dict[int, Bar]:
        return _bars(self._read_hours(), self._symbol)

    @cached_property
    def _days(self) -> dict[int, Bar]:
        return {at: bar for at, bar in self._all_days.items() if at + DAY_MS <= self.end}

    @cached_property
    def _hours(self) -> dict[int, Bar]:
        return {at: bar for at, bar in self._all_hours.items() if at + HOUR_MS <= self.end}


def _bars(table: Table, symbol: str) -> dict[int, Bar]:
    is_full = table.has("quote_volume") and table.has("trades")
    rows = table.rows(symbol, *_PRICES, *(("quote_volume", "trades") if is_full else ()))
    check_numbers(rows)
    bars: dict[int, Bar] = {}
    for time, opened, high, low, close, volume, *rest in rows:
        turnover, trades = (rest[0], int(rest[1])) if is_full else (None, None)
        bars[millis_of(time)] = Bar(opened, high, low, close, volume, turnover, trades)
    # Refused at the load: later a zero would divide something far from here.
    if any(float(bar.low) <= 0 for bar in bars.values()):
        raise RecordingsError(f"a candle of {symbol} without a price")
    return bars


class KnownPath(Protocol):
    """A price path that is recorded up to an instant."""

    @property
    def end(self) -> int:
        """Return the instant after which the path is made up, in ms."""
        ...

    def price(self, at: int) -> float:
        """Return the price at ``at`` milliseconds."""
        ...


class RecordedPath:
    """The price along recorded candles; after the last, its close with a little noise.

    Within a candle the price goes from open to close by way of its low and high, the nearer one
    first. Paths of one coin share ``key``, so that they move together after the record.
    """

    def __init__(self, bars: RecordedBars, key: int, tremor_key: int, fallback: float) -> None:
        self._bars = bars
        self._beyond = Waves(key, _BEYOND)
        self._tremor = Waves(tremor_key, _TREMOR)
        self._fallback = fallback

    @property
    def end(self) -> int:
        """Return the instant after which the path is made up, in ms."""
        return self._bars.end

    def price(self, at: int) -> float:
        """Return the price at ``at`` milliseconds."""
        opens, corners = self._corners
        if not opens:
            return self._fallback * self._noise(at, 0)
        place = bisect_right(opens, at) - 1
        if place < 0:
            return corners[0][1][0]
        width, prices = corners[place]
        position = 3 * (at - opens[place]) / width
        if position < 3:
            leg = int(position)
            return prices[leg] + (prices[leg + 1] - prices[leg]) * (position - leg)
        return prices[3] * (self._noise(at, self.end) if at > self.end else 1.0)

    def prices(self, times: Sequence[int]) -> list[float]:
        """Return ``price`` of each of ``times``."""
        # One by one: most candles of a record are served as recorded, without a price.
        return [self.price(at) for at in times]

    def _noise(self, at: int, since: int) -> float:
        # Grows within an hour, so that the path does not jump where the record ends.
        share = min(1.0, (at - since) / HOUR_MS)
        return 1.0 + share * (self._beyond.at(at) + self._tremor.at(at))

    @cached_property
    def _corners(self) -> tuple[list[int], list[tuple[int, tuple[float, float, float, float]]]]:
        opens: list[int] = []
        corners: list[tuple[int, tuple[float, float, float, float]]] = []
        for at, width, bar in self._bars.path_bars:
            opened, high, low, close = (
                float(text) for text in (bar.open, bar.high, bar.low, bar.close)
            )
            middle = (low, high) if close >= opened else (high, low)
            opens.append(at)
            corners.append((width, (opened, *middle, close)))
        return opens, corners


class DerivedPath:
    """A spot price where only the perpetual was recorded: perpetual less basis, per coin."""

    def __init__(self, perpetual: KnownPath, multiplier: int, basis: float) -> None:
        self._perpetual = perpetual
        self._divisor = multiplier * (1.0 + basis)

    @property
    def end(self) -> int:
        """Return the instant after which the path is made up, in ms."""
        return self._perpetual.end

    def price(self, at: int) -> float:
        """Return the price at ``at`` milliseconds."""
        return self._perpetual.price(at) / self._divisor

    def prices(self, times: Sequence[int]) -> list[float]:
        """Return ``price`` of each of ``times``."""
        return [self.price(at) for at in times]
