"""Generated prices: an index that wanders, a perpetual that stands off it by its funding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from services.simulator.market.instants import HOUR_MS, MINUTE_MS, SECOND_MS
from services.simulator.market.noise import Wave, Waves, between

if TYPE_CHECKING:
    from services.simulator.market.generated_funding import FundingCurve

# Amplitudes grow with the root of the period, as the spread of a random walk does.
_PERIODS_HOURS: Final = (1, 6, 36, 216, 1296)
_BASIS_NOISE: Final = 0.00004


class IndexPath:
    """The price of one coin: a sum of waves from five seconds to two months long."""

    __slots__ = ("_base", "_waves")

    def __init__(self, base: float, hour_spread: float, key: int) -> None:
        self._base = base
        coarse = tuple(
            (hours * HOUR_MS, hour_spread * math.sqrt(hours)) for hours in _PERIODS_HOURS
        )
        fine = ((MINUTE_MS, 0.06 * hour_spread), (5 * SECOND_MS, 0.02 * hour_spread))
        self._waves = Waves(key, coarse + fine)

    def price(self, at: int) -> float:
        """Return the price at ``at`` milliseconds."""
        return self._base * math.exp(self._waves.at(at))


class PerpetualPath:
    """The price of a perpetual on ``multiplier`` coins: index times one plus basis."""

    __slots__ = ("_curve", "_index", "_multiplier", "_noise")

    def __init__(self, index: IndexPath, multiplier: int, curve: FundingCurve, key: int) -> None:
        self._index = index
        self._multiplier = multiplier
        self._curve = curve
        self._noise = Wave(key, 20 * SECOND_MS)

    def price(self, at: int) -> float:
        """Return the price at ``at`` milliseconds."""
        basis = self._curve.basis(at) + _BASIS_NOISE * self._noise.at(at)
        return self.index(at) * (1.0 + basis)

    def index(self, at: int) -> float:
        """Return the index price per unit of the perpetual's symbol."""
        return self._index.price(at) * self._multiplier


def hour_spread(day_turnover: float, key: int) -> float:
    """Return how far a price moves in an hour, as a fraction; small markets move more."""
    calm = min(max(math.pow(1e7 / day_turnover, 0.15), 0.35), 1.3)
    return 0.006 * calm * between(key, 0, 0.7, 1.4)
