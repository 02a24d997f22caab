"""Candles and 24-hour statistics of one listing: recorded where there are records, else made."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from services.simulator.market.instants import DAY_MS, HOUR_MS, floor_to_interval, instant
from services.simulator.market.rounding import eight_digits, nearest, whole_steps
from services.simulator.market.source import Candle, DayTicker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from services.simulator.market.listing import Bar, Listing
    from services.simulator.market.source import Kind

# The most that Binance gives of a perpetual in one call.
MAX_CANDLES: Final = 1500

_TRADE_NOTIONAL: Final = 700.0
# Bounds of the work: a request may ask for 1500 candles of a month each.
_SAMPLES_PER_CANDLE: Final = 12
_MAX_SAMPLES: Final = 48
# About 30 MB: what a scanner reads of some fifty candidates, a month of hours of both legs each.
_CACHED_CANDLES: Final = 36_000


class CandleCache:
    """Finished candles by series; a finished candle never changes, so none is made twice."""

    def __init__(self) -> None:
        self._series: dict[tuple[Kind, str, int], dict[int, Candle]] = {}

    def series(self, listing: Listing, interval: int) -> dict[int, Candle]:
        """Return the finished candles kept of ``interval`` ms by open time, to be added to."""
        key = (listing.spec.kind, listing.spec.symbol, interval)
        # Put in anew: a dict keeps the order of insertion, so the first is the longest unasked.
        self._series[key] = found = self._series.pop(key, {})
        kept = sum(map(len, self._series.values()))
        while kept > _CACHED_CANDLES:
            kept -= len(self._series.pop(next(iter(self._series))))
        return found


def make_candles(
    listing: Listing,
    interval: int,
    start: int | None,
    end: int | None,
    limit: int,
    now: int,
    finished: dict[int, Candle],
) -> list[Candle]:
    """Return at most ``limit`` candles of ``interval`` ms, ascending, none opened after ``now``.

    With ``start`` the first ones opened at or after it, else the last ones up to ``end``.
    ``finished`` has the finished ones made before, by open time, and takes those made now.
    """
    until = now if end is None else min(end, now)
    if listing.end is not None:
        # Nothing trades from the end on: a candle opened there would hold no trade.
        until = min(until, listing.end - 1)
    last = floor_to_interval(until, interval)
    first = floor_to_interval(max(listing.begin, listing.known_since or 0), interval)
    count = min(max(limit, 0), MAX_CANDLES)
    if start is None:
        first = max(first, last - (count - 1) * interval)
    else:
        first = max(first, floor_to_interval(start + interval - 1, interval))
        last = min(last, first + (count - 1) * interval)
    candles: dict[int, Candle] = {}
    unmade: list[int] = []
    for opened in range(first, last + 1, interval):
        # A kept one or a recorded bar knows the close: of no use where that is still to come.
        is_finished = opened + interval <= now
        known = finished.get(opened) if is_finished else None
        bars = _recorded_bars(listing, opened, interval) if is_finished and known is None else []
        if known is not None:
            candles[opened] = known
        elif bars:
            candles[opened] = _merge(listing, bars, opened, interval)
        else:
            unmade.append(opened)
    candles.update(_make_from_prices(listing, unmade, interval, now))
    finished.update((at, row) for at, row in candles.items() if at + interval <= now)
    return [candles[opened] for opened in range(first, last + 1, interval)]


def _make_from_prices(
    listing: Listing, opens: Sequence[int], interval: int, now: int
) -> Iterator[tuple[int, Candle]]:
    """Yield each open time with its candle, made of samples of the price."""
    step = max(interval // _MAX_SAMPLES, min(interval // _SAMPLES_PER_CANDLE, HOUR_MS), 1)
    times: list[int] = []
    ends: list[int] = []
    for opened in opens:
        closed = min(opened + interval, now)
        # Both ends included, so that a candle opens at the price the one before closed at.
        times += range(opened, closed, step)
        times.append(closed)
        ends.append(len(times))
    # All candles at once: a price asked for alone costs several times as much.
    prices = listing.prices(times)
    begin = 0
    for opened, end in zip(opens, ends, strict=True):
        closed = min(opened + interval, now)
        yield opened, _candle(listing, opened, closed, interval, prices[begin:end])
        begin = end


def _candle(
    listing: Listing, opened: int, closed: int, interval: int, samples: Sequence[float]
) -> Candle:
    tick = listing.spec.tick_size
    volume, turnover, trades = _traded(listing, opened, closed, sum(samples) / len(samples))
    return Candle(
        open_time=instant(opened),
        close_time=instant(opened + interval - 1),
        open=nearest(samples[0], tick),
        # Rounding keeps order: the nearest tick of the highest is the highest tick.
        high=nearest(max(samples), tick),
        low=nearest(min(samples), tick),
        close=nearest(samples[-1], tick),
        volume=volume,
        quote_volume=turnover,
        trade_count=trades,
    )


def _traded(listing: Listing, since: int, until: int, price: float) -> tuple[Decimal, Decimal, int]:
    turnover = listing.turnover(since, until)
    volume = whole_steps(turnover / price, listing.spec.lot_size)
    return volume, eight_digits(float(volume) * price), round(turnover / _TRADE_NOTIONAL)


def _recorded_bars(listing: Listing, opened: int, interval: int) -> list[Bar]:
    """Return the recorded bars that fill the candle completely, coarsest first; else nothing."""
    if listing.recorded is None:
        return []
    for width in (DAY_MS, HOUR_MS):
        if interval % width:
            continue
        known = listing.recorded.bars(width)
        bars = [known.get(at) for at in range(opened, opened + interval, width)]
        found = [bar for bar in bars if bar is not None]
        if len(found) == len(bars):
            return found
    return []


def _merge(listing: Listing, bars: Sequence[Bar], opened: int, interval: int) -> Candle:
    volume = sum((Decimal(bar.volume) for bar in bars), Decimal(0))
    middle = sum(float(bar.close) for bar in bars) / len(bars)
    turnovers = [bar.turnover for bar in bars if bar.turnover is not None]
    if len(turnovers) == len(bars):
        turnover = sum((Decimal(part) for part in turnovers), Decimal(0))
    else:
        # Some captures lack the turnover; the mean close stands in for the average price.
        turnover = eight_digits(float(volume) * middle)
    counts = [bar.trade_count for bar in bars if bar.trade_count is not None]
    return Candle(
        open_time=instant(opened),
        close_time=instant(opened + interval - 1),
        open=Decimal(bars[0].open),
        high=max(Decimal(bar.high) for bar in bars),
        low=min(Decimal(bar.low) for bar in bars),
        close=Decimal(bars[-1].close),
        volume=nearest(float(volume), listing.spec.lot_size) if volume else volume,
        quote_volume=turnover,
        trade_count=sum(counts)
        if len(counts) == len(bars)
        else round(float(turnover) / _TRADE_NOTIONAL),
    )


def make_day_ticker(listing: Listing, now: int) -> DayTicker:
    """Return the statistics of the 24 hours up to ``now``."""
    tick = listing.spec.tick_size
    since = max(now - DAY_MS, min(listing.begin, now))
    # Whole hours, which are cached: the tickers of all symbols are asked for at once.
    inner = map(listing.hour_price, range(since // HOUR_MS + 1, now // HOUR_MS + 1))
    samples = [listing.price(since), *inner, listing.price(now)]
    opened, last = nearest(samples[0], tick), nearest(samples[-1], tick)
    volume, turnover, trades = _traded(listing, since, now, sum(samples) / len(samples))
    return DayTicker(
        symbol=listing.spec.symbol,
        open=opened,
        high=nearest(max(samples), tick),
        low=nearest(min(samples), tick),
        last=last,
        volume=volume,
        quote_volume=turnover,
        price_change=last - opened,
        price_change_ratio=eight_digits(float((last - opened) / opened)),
        open_time=instant(now - DAY_MS),
        close_time=instant(now),
        trade_count=trades,
    )
