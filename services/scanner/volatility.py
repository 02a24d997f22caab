"""How much the price moves: the standard deviation of hourly log returns."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

HOUR_MS = 3_600_000


def hourly_volatility(candles: Iterable[tuple[int, float]]) -> float | None:
    """Return the population deviation of log returns of closed hourly candles (opening time in ms,
    close), or None for fewer than two returns.

    Candles come in any order; of one hour the last told stands. A return counts only between
    successive hours: over a missing candle it would be that of several.
    """
    closes = {time: close for time, close in candles if close > 0}
    returns = [
        math.log(closes[later] / closes[earlier])
        for earlier, later in pairwise(sorted(closes))
        if later - earlier == HOUR_MS
    ]
    if len(returns) < 2:
        return None
    mean = math.fsum(returns) / len(returns)
    return math.sqrt(math.fsum((each - mean) ** 2 for each in returns) / len(returns))
