"""The book a market makes by itself: spread, level spacing and depth follow from daily turnover."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from services.simulator.market.noise import many_between
from services.simulator.market.source import Book, BookLevel

if TYPE_CHECKING:
    from services.simulator.market.source import InstrumentSpec

BOOK_PERIOD_MS: Final = 250
EMPTY_BOOK: Final = Book(bids=(), asks=(), update_id=0)

_BASIS_POINT: Final = 1e-4
_DEPTH_SHARE_WITHIN_TEN_BPS: Final = 0.0008
# Depth outlives the price's beat: an order sized by a quote meets about what it saw.
_QUANTITY_PERIODS: Final = 8
_MAX_DEPTH: Final = 1000


@dataclass(frozen=True, slots=True)
class Liquidity:
    """How a market of some daily turnover is quoted: fractions of the price, depth in quote."""

    half_spread: float
    spacing: float
    level_notional: float


def liquidity_of(day_turnover: float) -> Liquidity:
    """Return the liquidity of a market that turns over ``day_turnover`` in quote a day.

    The curves pass near what Binance shows: 0.1 bp and tens of millions within 10 bps for the
    largest market; 3 bps and about ten thousand within 10 bps at ten million a day.
    """
    size = 1e7 / max(day_turnover, 1e5)
    spacing = min(max(2.0 * size**0.4, 0.1), 4.0) * _BASIS_POINT
    depth = _DEPTH_SHARE_WITHIN_TEN_BPS * day_turnover
    return Liquidity(
        half_spread=0.5 * min(max(3.0 * math.sqrt(size), 0.05), 12.0) * _BASIS_POINT,
        spacing=spacing,
        level_notional=depth * spacing / (10.0 * _BASIS_POINT),
    )


def make_book(
    spec: InstrumentSpec, middle: float, liquidity: Liquidity, key: int, at: int, depth: int
) -> Book:
    """Return ``depth`` levels (1 to 1000) of each side around ``middle`` at ``at`` ms."""
    period = at // BOOK_PERIOD_MS
    tick = float(spec.tick_size)
    width = max(1, round(2.0 * middle * liquidity.half_spread / tick))
    best_bid = max(1, math.floor(middle / tick - (width - 1) / 2))
    best_ask = best_bid + width
    step = max(1, round(middle * liquidity.spacing / tick))
    # A coarse tick makes each level worth several spacings of depth.
    notional = liquidity.level_notional * max(1.0, step * tick / (middle * liquidity.spacing))
    count = min(max(depth, 1), _MAX_DEPTH)
    bids = _side(spec, best_bid, -step, notional, key, period // _QUANTITY_PERIODS, count)
    asks = _side(spec, best_ask, step, notional, ~key, period // _QUANTITY_PERIODS, count)
    return Book(bids=bids, asks=asks, update_id=period)


def _side(
    spec: InstrumentSpec, best: int, step: int, notional: float, key: int, period: int, count: int
) -> tuple[BookLevel, ...]:
    tick, lot = spec.tick_size, spec.lot_size
    tick_size, lot_size = float(tick), float(lot)
    # A level draws the same number whatever depth is asked for.
    first = period * _MAX_DEPTH
    levels: list[BookLevel] = []
    for level, part in enumerate(many_between(key, first, count, 0.4, 1.6)):
        ticks = best + level * step
        # Where a tick is a large part of the price, bids run out before the depth does.
        if ticks <= 0:
            break
        worth = notional * part * (1.0 + 0.02 * min(level, 50))
        lots = max(1, math.floor(worth / (ticks * tick_size) / lot_size))
        levels.append(BookLevel(ticks * tick, lots * lot))
    return tuple(levels)
